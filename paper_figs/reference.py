"""`python -m paper_figs.reference RUN_DIR …`: keep runs as the reference that the docs show, and write their page.

What is kept of a run is its picture, records, claims, settings and origin. Without arguments only the page is written.
"""

import argparse
import importlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).parent / "reference"
PAGE = Path(__file__).parent.parent / "docs" / "figures.md"

_KEPT = ("settings.json", "origin.json", "records.parquet")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; **returns** its exit status: 2 for a folder that holds no finished run."""
    parser = argparse.ArgumentParser(prog="python -m paper_figs.reference", description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN_DIR")
    for run in parser.parse_args(arguments).runs:
        try:
            keep(run)
        except OSError as error:
            print(f"{run} holds no finished run: {error}", file=sys.stderr)
            return 2
    PAGE.write_text(page())
    return 0


def keep(run: Path) -> None:
    """Copy what is kept of a run."""
    figure = json.loads((run / "settings.json").read_text())["figure"]
    folder = REFERENCE / figure
    tables = [f"{figure}.md"] if (run / f"{figure}.md").exists() else []
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*_KEPT, f"{figure}.json", f"{figure}.png", *tables):
        shutil.copyfile(run / name, folder / name)


def page() -> str:
    """The page of all figures, from what is kept, in the order of the experiments' list."""
    figures = importlib.import_module("experiments.__main__").FIGURES
    kept = [name for name in figures if (REFERENCE / name / "origin.json").exists()]
    head = (
        "# Figures\n\n"
        "Every figure with the claims that it is judged by: what was measured, the threshold, and whether the claim "
        "holds. Made by the\ncommand below it, and written here by `python -m paper_figs.reference`; records and "
        "settings lie beside the pictures.\n"
    )
    return "\n".join([head, *(_section(name, figures[name]) for name in kept)])


def _section(figure: str, module: str) -> str:
    folder = REFERENCE / figure
    claims = json.loads((folder / f"{figure}.json").read_text())
    title, _, rest = (importlib.import_module(f"experiments.{module}").__doc__ or "").partition("\n")
    drawing = (importlib.import_module(f"paper_figs.{module}").draw.__doc__ or "").strip()
    caption = " ".join(part for part in (rest.strip(), drawing) if part)
    rows = [
        f"| {claim['claim']} | {_number(claim['measured'])} | {claim['relation']} {claim['threshold']:g} "
        f"| {'yes' if claim['holds'] else '**no**'} |"
        for claim in claims
    ]
    return "\n".join(
        [
            f"## {title.rstrip('.')}\n",
            f"{caption}\n",
            f"![{title}](../paper_figs/reference/{figure}/{figure}.png)\n",
            "| claim | measured | threshold | holds |",
            "| --- | ---: | ---: | --- |",
            *rows,
            "",
            *(_made_by(entry) for entry in json.loads((folder / "origin.json").read_text())),
            "",
        ]
    )


def _number(value: float) -> str:
    return f"{value:.3g}" if value else "0"


def _made_by(origin: dict[str, Any]) -> str:
    took = f"{origin['seconds'] / 60:.1f} minutes" if "seconds" in origin else "interrupted"
    return (
        f"`{origin['command']}`: {took} on {origin['machine']}; {origin['date']}, version {origin['version']}, commit "
        f"{origin['commit']}, Python {origin['python']}, JAX {origin['jax']}."
    )


if __name__ == "__main__":
    sys.exit(main())
