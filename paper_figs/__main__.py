"""`python -m paper_figs`: draw all figures from stored records, those in `runs/` or else the kept ones."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

REFERENCE = Path(__file__).parent / "reference"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. **Returns** its exit status: 2 if nothing can be drawn, or if the records of a figure cannot be
    read.
    """
    parser = argparse.ArgumentParser(prog="python -m paper_figs", description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of run directories; default: runs")
    parser.add_argument("--figures", type=Path, default=Path("figures"), help="folder to write to; default: figures")
    options = parser.parse_args(arguments)
    console, status = Console(), 0
    try:
        importlib.import_module("matplotlib")
        options.figures.mkdir(parents=True, exist_ok=True)
    except ImportError:
        print("paper_figs: figures need matplotlib, which is not installed: pip install matplotlib", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"paper_figs: --figures must be a folder that can be written: {error}", file=sys.stderr)
        return 2
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
            console.print(f"{figure}: no records yet; make them with `python -m experiments {figure}`", soft_wrap=True)
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
