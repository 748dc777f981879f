"""`python -m experiments FIGURE`: run or resume an experiment, judge its claims, draw its figure."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
from rich.console import Console
from rich.progress import track
from rich.table import Table

from experiments import bias_variance
from experiments.records import RunDirectory
from paper_figs import bias_variance as bias_variance_figure

FIGURES = ("bias-variance",)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; **returns** its exit status: 0 (claims that fail are in `FIGURE.json`), 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("figure", choices=FIGURES, metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("--preset", choices=bias_variance.PRESETS, default="cpu", help="smoke, cpu (default) or paper")
    parser.add_argument("--run-dir", type=Path, help="default: runs/FIGURE")
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    try:
        run(options.run_dir or Path("runs") / options.figure, bias_variance.PRESETS[options.preset])
    except ValueError as error:
        print(f"experiments: {error}", file=sys.stderr)
        return 2
    return 0


def run(path: Path, settings: bias_variance.Settings) -> None:
    """Enumerate what is still missing in the run directory, then judge the claims and draw."""
    console, directory = Console(), RunDirectory(path, "bias-variance", settings)
    records = directory.load()
    done = {(r["axis"], r["ego"], r["batch"], r["episodes"], r["steps"]) for r in records}
    left = [
        point
        for point in bias_variance.points(settings)
        if (point.axis, point.ego, point.batch, point.episodes, point.steps) not in done
    ]
    for point in track(left, "Enumerating", console=console, disable=not console.is_terminal):
        records.extend(bias_variance.measure(point, settings.seed))
        directory.save(records)
    claims = bias_variance.claims(records)
    directory.save_claims(claims)
    bias_variance_figure.draw(path / "records.parquet", path / "bias-variance.png")
    bias_variance_figure.write_table(path / "records.parquet", path / "bias-variance.md")
    table = Table("claim", "measured", "threshold", "holds")
    for claim in claims:
        threshold = f"{claim['relation']} {claim['threshold']:g}"
        table.add_row(claim["claim"], f"{claim['measured']:.3g}", threshold, "yes" if claim["holds"] else "no")
    console.print(table)
    console.print("Written:", *sorted(str(file) for file in path.glob("*.*")), sep="\n  ")


if __name__ == "__main__":
    sys.exit(main())
