"""`python -m paper_figs.reference RUN_DIR …`: keep runs as the reference that the docs show, and write their page.

What is kept of a run is its picture (in 256 colours), records (in single precision), claims, settings and origin.
Without arguments only the page is written.
"""

import argparse
import dataclasses
import importlib
import inspect
import itertools
import json
import shlex
import shutil
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs
from PIL import Image

from experiments.records import DILEMMA, in_words, verdict

REFERENCE = Path(__file__).parent / "reference"
PAGE = Path(__file__).parent.parent / "docs" / "figures.md"

RECORDS = "records.parquet"

_KEPT = ("settings.json", "origin.json", RECORDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; **returns** its exit status: 2 for a folder that holds no finished run."""
    parser = argparse.ArgumentParser(prog="python -m paper_figs.reference", description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN_DIR")
    for run in parser.parse_args(arguments).runs:
        try:
            keep(run)
        except (OSError, ValueError) as error:
            print(f"{run} cannot be kept: {error}", file=sys.stderr)
            return 2
    PAGE.write_text(page())
    return 0


def keep(run: Path) -> None:
    """Copy what is kept of a run; raises `OSError` or `ValueError`, and copies nothing, unless it is finished."""
    made_by = json.loads((run / "settings.json").read_text())
    figure, game = made_by["figure"], made_by["settings"].get("payoffs", DILEMMA)
    if any("--preset smoke" in entry["command"] for entry in json.loads((run / "origin.json").read_text())):
        raise ValueError("a run of the smoke preset only shows that the path works.")
    tables = [f"{figure}.md"] if (run / f"{figure}.md").exists() else []
    names = [*_KEPT, f"{figure}.json", f"{figure}.png", *tables]
    if missing := [name for name in names if not (run / name).exists()]:
        raise ValueError(f"it has no {missing[0]}, so that it is not finished.")
    folder = REFERENCE / (figure if game == DILEMMA else f"{figure}-{Path(game).stem}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name == RECORDS:
            records = pl.read_parquet(run / name)
            records.with_columns(cs.float().cast(pl.Float32)).write_parquet(folder / name, compression_level=19)
        elif name.endswith(".png"):
            with Image.open(run / name) as picture:
                few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
            few.save(folder / name, optimize=True)
        else:
            shutil.copyfile(run / name, folder / name)


def page() -> str:
    """The page of all figures, from what is kept, in the order of the experiments' list; other games come last."""
    figures = list(importlib.import_module("experiments.__main__").FIGURES)
    folders = [(_made(folder)["figure"], folder) for folder in REFERENCE.iterdir() if (folder / "origin.json").exists()]
    folders.sort(key=lambda entry: (_game(entry[1]) != DILEMMA, figures.index(entry[0]), entry[1].name))
    head = (
        "# Figures\n\n"
        "Every figure with the claims that it is judged by: what was measured, the threshold, and whether the claim "
        "holds. Means over\nseeds, and differences of them, have their standard errors, by how seeds differ; in "
        "differences seeds are pairs, as all parts of a run\nstart from the same policies. With two or three seeds "
        "errors are rough, and what is held against the best of several is not corrected\nfor the choice. A claim is "
        "judged by the mean alone; where two errors could make it otherwise, the table says so.\n\n"
        "Made by the command below each, and written here by `python -m paper_figs.reference`; settings, and records "
        "in single precision, lie\nbeside the pictures.\n"
    )
    return "\n".join([head, *(_section(figure, folder) for figure, folder in folders)])


def _made(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "settings.json").read_text())


def _game(folder: Path) -> str:
    return _made(folder)["settings"].get("payoffs", DILEMMA)


def _section(figure: str, folder: Path) -> str:
    """One figure."""
    module, game = figure.replace("-", "_"), _game(folder)
    claims = json.loads((folder / f"{figure}.json").read_text())
    title, _, rest = (importlib.import_module(f"experiments.{module}").__doc__ or "").partition("\n")
    name = title.partition(":")[0]
    heading = title.rstrip(".") if game == DILEMMA else f"{name} in another game: {Path(game).stem}"
    drawing = inspect.getdoc(importlib.import_module(f"paper_figs.{module}").draw) or ""
    caption = " ".join(part for part in (rest.strip(), drawing) if part)
    rows = [
        f"| {claim['claim']} | {in_words(claim)} | {claim['relation']} {claim['threshold']:g} "
        f"| {verdict(claim).replace('no', '**no**', 1)} |"
        for claim in claims
    ]
    return "\n".join(
        [
            f"## {heading}\n",
            f"{caption}\n",
            f"![{title}](../paper_figs/reference/{folder.name}/{figure}.png)\n",
            "| claim | measured | threshold | holds |",
            "| --- | ---: | ---: | --- |",
            *rows,
            "",
            *_made_by(figure, json.loads((folder / "origin.json").read_text())),
            "",
            *_other_settings(folder, module),
        ]
    )


def _made_by(figure: str, origins: list[dict[str, Any]]) -> list[str]:
    """A line for each way in which records were made. All but the last were interrupted."""
    pieces: dict[str, list[float | None]] = {}
    latest = ""
    for origin in origins:
        how = (
            f"on {origin['machine']}; {origin['date']}, version {origin['version']}, commit {origin['commit']}, "
            f"Python {origin['python']}, JAX {origin['jax']}"
        )
        latest = f"`{origin['command']}` {how}"
        pieces.setdefault(latest, []).append(origin.get("seconds"))
    lines = [f"{text}: {_took(seconds, len(seconds) - (text == latest))}." for text, seconds in pieces.items()]
    if not all(figure in shlex.split(origin["command"]) for origin in origins):
        lines.append(f"`python -m experiments {figure}` takes these records, and draws other columns of them.")
    return lines


def _took(seconds: list[float | None], stops: int) -> str:
    """Of runs that went on with each other; those that were killed have no time."""
    known = [number for number in seconds if number is not None]
    told = [f"{sum(known) / 60:.1f} minutes"] if known else []
    told += ["interrupted once" if stops == 1 else f"interrupted {stops} times"] if stops else []
    return ", ".join(told) + (", not all of which is timed" if known and len(known) < len(seconds) else "")


def _other_settings(folder: Path, module: str) -> list[str]:
    """A line with settings of a run that differ from the preset `paper`, and, if it is one of `cpu`, one for that."""
    presets = importlib.import_module(f"experiments.{module}").PRESETS
    kind = type(presets["paper"])
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    told = [name for name in defaults if name not in getattr(kind, "LAYOUT", ())]
    made = {name: default for name, default in defaults.items() if default is not dataclasses.MISSING}
    made = json.loads(json.dumps(made)) | _made(folder)["settings"]

    def differing(preset: str, leave: Collection[str] = ()) -> str:
        theirs = json.loads(json.dumps(dataclasses.asdict(presets[preset])))
        names = [name for name in told if made[name] != theirs[name] and name not in leave]
        return ", ".join(f"{name} {made[name]} ({theirs[name]})" for name in names)

    lines = {"Settings, and those of the preset `paper` in brackets where they differ": differing("paper")}
    commands = [shlex.split(origin["command"]) for origin in json.loads((folder / "origin.json").read_text())]
    if all("cpu" in words for words in commands):
        lines["Today's preset `cpu` has other ones, in brackets"] = differing("cpu", leave=_given(commands))
    return [line for head, text in lines.items() if text for line in (f"{head}: {text}.", "")]


def _given(commands: Sequence[Sequence[str]]) -> set[str]:
    """Settings that commands name: `--seeds 3`, `--set seeds=3`."""
    pairs = [pair for words in commands for pair in itertools.pairwise(words)]
    return {value.partition("=")[0] if word == "--set" else word.removeprefix("--") for word, value in pairs}


if __name__ == "__main__":
    sys.exit(main())
