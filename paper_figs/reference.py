"""`python -m paper_figs.reference RUN_DIR …`: keep runs as the reference that the docs show, and write their pages.

A kept run consists of its picture (in 256 colours), records (in single precision), claims, settings and origin. Without
arguments only the pages are written.
"""

import argparse
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

from coala_eqx.runs.settings import defaults, layout_names, named
from experiments.claims import DILEMMA
from experiments.rewards import as_markdown, final_rewards
from experiments.settings import renamed
from paper_figs import claims_page
from paper_figs.kept import (
    AGAIN,
    RECORDS,
    again,
    claims_of,
    document,
    game_of,
    heading,
    kept_folders,
    made,
    origins,
    records_of,
)

REFERENCE = Path(__file__).parent / "reference"
PAGE = Path(__file__).parent.parent / "docs" / "figures.md"

_HEAD = """# Figures

This page shows every figure with its claims: the measured number, the number of seeds, the threshold, and whether the
claim holds ([all of the paper's claims on one page](claims.md)).

Means over seeds, and their differences, have standard errors over seeds. In differences seeds are paired, because all
parts of a run start from the same policies. Errors of ratios come from the jackknife and errors of medians from the
bootstrap, both over seeds (in phase portraits over paths). Enumerated and solved numbers have no error. With two or
three seeds the errors are rough. Comparisons with the best of several are not corrected for the choice. The measured
number alone decides whether a claim holds. The table says where two errors could change the result.

The command below each figure makes it, and `python -m paper_figs.reference` writes this page. Settings, and records in
single precision, are stored beside the pictures.
"""

_KEPT = ("settings.json", "origin.json", RECORDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. **Returns** its exit status: 2 for a folder that holds no finished run."""
    parser = argparse.ArgumentParser(prog="python -m paper_figs.reference", description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN_DIR")
    parser.add_argument("--judge", action="store_true", help="judge the claims of all kept runs anew, by their records")
    parser.add_argument(
        "--draw", nargs="+", default=[], metavar="NAME", help="draw the pictures of these kept runs anew"
    )
    options = parser.parse_args(arguments)
    for run in options.runs:
        try:
            keep(run)
        except (OSError, ValueError) as error:
            print(f"{run} cannot be kept: {error}", file=sys.stderr)
            return 2
    for folder in kept_folders(REFERENCE) if options.judge else ():
        judge(folder)
    for name in options.draw:
        draw(REFERENCE / name)
    _write(PAGE, page())
    _write(PAGE.with_name("claims.md"), claims_page.page(kept_folders(REFERENCE)))
    return 0


def keep(run: Path) -> None:
    """Copy a run to the reference.

    **Raises** `OSError` or `ValueError`, and copies nothing, if the run is not finished, or has fewer seeds than are
    known at its settings.
    """
    made_by = made(run)
    figure, game = made_by["figure"], game_of(run)
    if any("--preset smoke" in entry["command"] for entry in origins(run)):
        raise ValueError("a smoke run is not kept; run the preset cpu or paper.")
    tables = [f"{figure}.md"] if (run / f"{figure}.md").exists() else []
    names = [*_KEPT, f"{figure}.json", f"{figure}.png", *tables]
    if missing := [name for name in names if not (run / name).exists()]:
        raise ValueError(f"it has no {missing[0]}, so it is not finished; run its command again.")
    folder = REFERENCE / (figure if game == DILEMMA else f"{figure}-{Path(game).stem}")
    _check_seeds(run, folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if name == RECORDS:
            records = pl.read_parquet(run / name)
            records.with_columns(cs.float().cast(pl.Float32)).write_parquet(folder / name, compression_level=19)
        elif name.endswith(".png"):
            _in_few_colours(run / name, folder / name)
        else:
            shutil.copyfile(run / name, folder / name)
    (folder / AGAIN).unlink(missing_ok=True)  # the run stands for these seeds, too


def _check_seeds(run: Path, folder: Path) -> None:
    """**Raises** `ValueError` for a run that would hide seeds of which only final rewards are kept."""
    if not (folder / AGAIN).exists():
        return
    free = {"seeds", "seed", "devices", "chunk", "group"}
    kind = importlib.import_module(f"experiments.{made(run)['figure'].replace('-', '_')}").PRESETS["cpu"]
    ours, theirs = ({k: v for k, v in _settings(one, kind).items() if k not in free} for one in (run, folder))
    new = len(pl.read_parquet(run / RECORDS)["seed"].unique())
    known = len({record["seed"] for record in records_of(folder)})
    if ours == theirs and new < known:
        raise ValueError(
            f"it has {new} seeds, but {known} are known at its settings, by {folder / AGAIN}; run at least as many."
        )


def _in_few_colours(picture: Path, kept: Path) -> None:
    with Image.open(picture) as drawn:
        few = drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(kept, optimize=True)


def judge(folder: Path) -> None:
    """Write the claims of a kept run anew, judged by today's code."""
    figure = made(folder)["figure"]
    claims = importlib.import_module("experiments.__main__").judged(figure, records_of(folder), game_of(folder))
    _write(folder / f"{figure}.json", json.dumps(claims, indent=2, allow_nan=False) + "\n")


def draw(folder: Path) -> None:
    """Draw a kept run anew, by today's code."""
    figure = made(folder)["figure"]
    drawing = importlib.import_module(f"paper_figs.{figure.replace('-', '_')}")
    picture = folder / f"{figure}.png"
    drawing.draw(folder / RECORDS, picture)
    _in_few_colours(picture, picture)


def page() -> str:
    """The page of all figures, from the kept runs."""
    return "\n".join([_HEAD, *map(_section, kept_folders(REFERENCE))])


def _section(folder: Path) -> str:
    """The section of one figure."""
    figure = made(folder)["figure"]
    module = figure.replace("-", "_")
    title, _, rest = document(folder).partition("\n")
    drawing = inspect.getdoc(importlib.import_module(f"paper_figs.{module}").draw) or ""
    caption = " ".join(part for part in (rest.strip(), drawing) if part)
    lent = hasattr(importlib.import_module(f"experiments.{module}"), "RECORDS_OF")
    records = [] if lent else records_of(folder)
    return "\n".join(
        [
            f"## {heading(folder)}\n",
            f"{caption}\n",
            f"![{title}](../paper_figs/reference/{folder.name}/{figure}.png)\n",
            "| claim | measured | seeds | threshold | holds |",
            "| --- | ---: | ---: | ---: | --- |",
            *map(claims_page.row, claims_of(folder)),
            "",
            *([as_markdown(records)] if records and final_rewards(records) else []),
            *_again_in_words(folder),
            *_made_by(figure, origins(folder)),
            "",
            *_other_settings(folder, module),
        ]
    )


def _again_in_words(folder: Path) -> list[str]:
    """A paragraph on further seeds at the same settings, if there are any."""
    if not (records := again(folder)):
        return []
    table = pl.read_csv(folder / AGAIN, comment_prefix="#")
    names = sorted({record["estimator"] for record in records})
    link = f"../paper_figs/reference/{folder.name}/{AGAIN}"
    text = (
        f"{' and '.join(names)} were also trained from {len(records) // len(names)} more seeds at the same settings "
        f"(`{table['command'][0]}`, commit {table['commit'][0]}). Only their [final rewards]({link}) are kept, to "
        f"three digits. They count in the lead. Everything else, such as the picture, shows "
        f"{made(folder)['settings']['seeds']} seeds."
    )
    return [text, ""]


def _made_by(figure: str, origins: list[dict[str, Any]]) -> list[str]:
    """One line for each origin of the records. All but the last were interrupted."""
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
        lines.append(f"`python -m experiments {figure}` draws other columns of these records.")
    return lines


def _took(seconds: list[float | None], stops: int) -> str:
    """Minutes of runs that continued each other, and the number of interruptions. A run that was killed has no time."""
    known = [number for number in seconds if number is not None]
    told = [f"{sum(known) / 60:.1f} minutes"] if known else []
    told += ["interrupted once" if stops == 1 else f"interrupted {stops} times"] if stops else []
    return ", ".join(told) + (", not timed completely" if known and len(known) < len(seconds) else "")


def _other_settings(folder: Path, module: str) -> list[str]:
    """A line with the settings that differ from the preset `paper`, and, for a `cpu` run, one with those that differ
    from today's preset `cpu`.
    """
    presets = importlib.import_module(f"experiments.{module}").PRESETS
    names, unseen = named(presets["paper"]), layout_names(presets["paper"])
    told = [name for name in names if name not in unseen]
    given = _settings(folder, presets["paper"])

    def differing(preset: str, leave: Collection[str] = ()) -> str:
        theirs = json.loads(json.dumps(named(presets[preset])))
        names = [name for name in told if given[name] != theirs[name] and name not in leave]
        return ", ".join(f"{name} {given[name]} ({theirs[name]})" for name in names)

    lines = {"Settings that differ from the preset `paper`, with its values in brackets": differing("paper")}
    if _looks_through_adam(folder, given):
        what = "LOLA-DiCE differentiates through its learners' Adam, which is therefore smoothed"
        lines[what] = f"{given['learner.smoothing']:g} (`learner.smoothing`) is added under its root"
    commands = [shlex.split(origin["command"]) for origin in origins(folder)]
    if all("cpu" in words for words in commands):
        lines["Settings that differ from today's preset `cpu`, with its values in brackets"] = differing(
            "cpu", leave=_given(commands, names)
        )
    return [line for head, text in lines.items() if text for line in (f"{head}: {text}.", "")]


def _looks_through_adam(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether there are LOLA-DiCE agents whose learners have an Adam of their own."""
    if settings.get("learner.optimiser") != "adam" or not settings.get("learner.smoothing"):
        return False
    records = folder / RECORDS
    columns = pl.read_parquet_schema(records) if records.exists() else {}
    return "estimator" in columns and "LolaDice" in set(pl.read_parquet(records, columns=["estimator"])["estimator"])


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")


def _settings(folder: Path, kind: Any) -> dict[str, Any]:
    """The settings of a run, by today's names. Those that are missing, as they are newer, had their defaults."""
    return json.loads(json.dumps(defaults(kind))) | renamed(made(folder)["settings"], named(kind))


def _given(commands: Sequence[Sequence[str]], names: Collection[str]) -> set[str]:
    """Settings that commands name: `--seeds 3`, and `--set seeds=3` in those of earlier versions."""
    pairs = [pair for words in commands for pair in itertools.pairwise(words)]
    given = {value.partition("=")[0] if word == "--set" else word.removeprefix("--") for word, value in pairs}
    given = {name.replace("-", "_").replace(".no_", ".") for name in given}
    return {*renamed(dict.fromkeys(given), names)}


if __name__ == "__main__":
    sys.exit(main())
