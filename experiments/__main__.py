"""`python -m experiments FIGURE`: run or resume an experiment, judge its claims, draw its figure."""

import argparse
import ast
import dataclasses
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from experiments.origin import origin
from experiments.records import RunDirectory, flagged

PAPER = ("fig3a", "fig3b", "fig3c", "fig4a", "fig4b", "fig4c", "fig8", "fig9", "fig10")
"""Figures of the paper: what `all` stands for."""

BEYOND = ("bias-variance", "continuous-time", "phase-portraits", "sensitivity")
"""Figures of this project's own."""

FIGURES = {name: name.replace("-", "_") for name in PAPER + BEYOND}
"""The module of each, in `experiments` and in `paper_figs`."""

PRESETS = ("smoke", "cpu", "paper")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; **returns** its exit status: 0 (claims that fail are in `FIGURE.json`), 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument(
        "figure", choices=[*FIGURES, "all"], metavar="FIGURE", help=f"{', '.join(FIGURES)}, or all of the paper's"
    )
    parser.add_argument("--preset", choices=PRESETS, default="cpu", help="smoke, cpu (default) or paper")
    parser.add_argument("--seeds", type=int, help="how many, in place of the preset's")
    parser.add_argument("--payoffs", help="of the analytic figures: a game by name, or a JSON or TOML file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="another setting, such as p_naive=0.5"
    )
    parser.add_argument("--run-dir", type=Path, help="default: runs/FIGURE; of all, the folder of these")
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    try:
        changes = {"seeds": options.seeds, "payoffs": options.payoffs, **dict(map(_assignment, options.set))}
        for figure in PAPER if options.figure == "all" else (options.figure,):
            settings = settings_of(figure, options.preset, changes, lenient=options.figure == "all")
            parent = options.run_dir or Path("runs")
            path = parent if options.run_dir and options.figure != "all" else parent / figure
            run(figure, path, settings, _command(figure, options))
    except ValueError as error:
        print(f"experiments: {error}", file=sys.stderr)
        return 2
    return 0


def _command(figure: str, options: argparse.Namespace) -> list[str]:
    """What makes one figure, but for where it is written."""
    given = [("--seeds", options.seeds), ("--payoffs", options.payoffs), *(("--set", text) for text in options.set)]
    words = [word for name, value in given if value is not None for word in (name, str(value))]
    return ["python", "-m", "experiments", figure, "--preset", options.preset, *words]


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set needs NAME=VALUE, such as p_naive=0.5, but is {text!r}.")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def settings_of(figure: str, preset: str, changes: dict[str, Any], *, lenient: bool = False) -> Any:
    """The settings of a preset with those changes that are given.

    **Raises** `ValueError` for a change of what the figure has not, unless `lenient`: then it is left out.
    """
    settings = _experiment(figure).PRESETS[preset]
    names = {field.name for field in dataclasses.fields(settings)}
    given = {name: value for name, value in changes.items() if value is not None}
    if unknown := sorted(set(given) - names):
        if not lenient:
            raise ValueError(f"{figure} has no setting {unknown[0]!r}; it has {', '.join(sorted(names))}.")
        given = {name: value for name, value in given.items() if name in names}
    for name, value in given.items():
        default = getattr(settings, name)
        fits = isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool)
        if not fits and not (isinstance(default, float) and type(value) is int):
            raise ValueError(f"{name!r} must be like {default!r}, but is {value!r}.")
    settings = dataclasses.replace(settings, **given)
    if hasattr(settings, "problem"):
        settings.problem()  # raises for payoffs that make none, before anything is written
    return settings


def run(figure: str, path: Path, settings: Any, command: Sequence[str] = ()) -> None:
    """Do what is still missing in the run directory, then judge the claims and draw.

    `command` is what is noted as the origin.
    """
    console, directory = Console(), RunDirectory(path, figure, settings)
    experiment = _experiment(figure)
    records = directory.load()
    done = {record["part"] for record in records}
    left = [part for part in experiment.parts(settings) if part.name not in done]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    start = time.perf_counter()
    if left:
        directory.begin(origin(command))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(figure, total=sum(part.work for part in left))
        for part in left:
            bar.update(task, description=f"{figure}: {part.name}")
            made = part.run(lambda done: bar.advance(task, done))
            records += [{"part": part.name, **record} for record in made]
            directory.save(records)
    if left:
        directory.end(time.perf_counter() - start)
    if seeds := flagged(records):
        console.print(f"Not finite, and left out of claims and figure: seeds {', '.join(map(str, seeds))}.")
    claims = experiment.claims(records)
    directory.save_claims(claims)
    drawing = importlib.import_module(f"paper_figs.{FIGURES[figure]}")
    drawing.draw(path / "records.parquet", path / f"{figure}.png")
    if hasattr(drawing, "write_table"):
        drawing.write_table(path / "records.parquet", path / f"{figure}.md")
    console.print(_table(claims))
    console.print("Written:", *sorted(str(file) for file in path.glob("*.*")), sep="\n  ")


def _experiment(figure: str) -> ModuleType:
    return importlib.import_module(f"experiments.{FIGURES[figure]}")


def _table(claims: Sequence[dict[str, Any]]) -> Table:
    table = Table("claim", "measured", "threshold", "holds")
    for claim in claims:
        threshold = f"{claim['relation']} {claim['threshold']:g}"
        table.add_row(claim["claim"], f"{claim['measured']:.3g}", threshold, "yes" if claim["holds"] else "no")
    return table


if __name__ == "__main__":
    sys.exit(main())
