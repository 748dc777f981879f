"""`python -m paper_figs`: draw all figures from stored records, those of `runs/` or else the committed ones."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from paper_figs.reference import REFERENCE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; **returns** its exit status: 2 if a figure's records cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m paper_figs", description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run directories are; default: runs")
    parser.add_argument("--figures", type=Path, default=Path("figures"), help="where to write; default: figures")
    options = parser.parse_args(arguments)
    console, status = Console(), 0
    options.figures.mkdir(parents=True, exist_ok=True)
    for module in sorted(Path(__file__).parent.glob("*.py")):
        if module.stem == "__main__":
            continue
        drawing = importlib.import_module(f"paper_figs.{module.stem}")
        if not hasattr(drawing, "draw"):
            continue
        figure = module.stem.replace("_", "-")
        found = [folder / figure / "records.parquet" for folder in (options.runs, REFERENCE)]
        records = next((file for file in found if file.exists()), None)
        if records is None:
            console.print(f"{figure}: no records yet; make them by `python -m experiments {figure}`", soft_wrap=True)
            continue
        picture = options.figures / f"{figure}.png"
        try:
            drawing.draw(records, picture)
        except Exception as error:
            console.print(f"{figure}: {records} cannot be drawn, and is kept as it is: {error}", soft_wrap=True)
            status = 2
        else:
            console.print(f"{picture} from {records}", soft_wrap=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
