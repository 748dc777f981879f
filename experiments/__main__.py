"""`python -m experiments FIGURE …`: run or resume experiments, judge their claims, draw their figures."""

import argparse
import ast
import dataclasses
import importlib
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
from rich.console import Console
from rich.table import Column, Table

from coala_eqx.runs.directory import Record
from coala_eqx.runs.display import Display
from coala_eqx.runs.processes import is_first, join, use_all_cores
from coala_eqx.runs.progress import INTERVAL
from coala_eqx.runs.run import Run
from coala_eqx.runs.stopping import Stopped
from coala_eqx.runs.writers import check_for_wandb
from coala_eqx.training.plan import plan as plan_of
from experiments import training
from experiments.claims import DILEMMA, flagged, in_words, verdict
from experiments.rewards import REWARDS, final_rewards

ANALYTIC = ("fig3a", "fig3b", "fig3c", "fig4a", "fig4b", "fig4c", "fig8", "fig9", "fig10")
"""Figures of the paper that are solved in closed form."""

SAMPLED = ("fig5a", "fig5b", "fig5c", "fig12", "table-h3", "fig6", "fig13", "fig7", "fig14")
"""Figures of the paper that are sampled."""

BEYOND = (
    "bias-variance",
    "coin-game",
    "continuous-time",
    "inner-batch",
    "memory",
    "noise",
    "noise-clean-up",
    "phase-portraits",
    "scripted",
    "sensitivity",
)
"""Figures of this project's own."""

TRAINED = (*SAMPLED, "coin-game", "inner-batch", "memory", "noise", "noise-clean-up")
"""Figures for which sequence models are trained."""

FIGURES = {name: name.replace("-", "_") for name in ANALYTIC + SAMPLED + BEYOND}
"""The module of each, in `experiments` and in `paper_figs`."""

GROUPS = {"all": ANALYTIC, "paper": ANALYTIC + SAMPLED}
"""Several figures, one after the other: all of the paper in closed form, and all of the paper."""

PRESETS = ("smoke", "cpu", "paper")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    **Returns** its exit status: 0 (claims that fail are in `FIGURE.json`), 2 on bad input, 128 + the signal's number
    if it was stopped by one.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument(
        "figures",
        nargs="+",
        choices=[*FIGURES, *GROUPS],
        metavar="FIGURE",
        help=f"one or more of {', '.join(FIGURES)}; all of the paper's in closed form; or paper, for these and those "
        "that are sampled",
    )
    parser.add_argument("--preset", choices=PRESETS, default="cpu", help="smoke, cpu (default) or paper")
    parser.add_argument("--seeds", type=int, help="how many, in place of the preset's")
    parser.add_argument("--devices", type=int, help="of the sampled figures: how many, in place of all")
    parser.add_argument("--payoffs", help="a game by name, or a JSON or TOML file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="another setting, such as p_naive=0.5"
    )
    parser.add_argument("--run-dir", type=Path, help="default: runs/FIGURE; of several figures, the folder of theirs")
    parser.add_argument(
        "--checkpoint-seconds",
        type=float,
        default=INTERVAL,
        metavar="S",
        help="between checkpoints; default: %(default)g",
    )
    parser.add_argument(
        "--plan",
        action="store_true",
        help="of the sampled figures: only try one iteration, and say what all would take",
    )
    parser.add_argument("--wandb", metavar="PROJECT", help="of Weights & Biases, where training is shown, too")
    several = parser.add_argument_group("several processes", "of the sampled figures, with the same --run-dir for all")
    several.add_argument(
        "--coordinator", metavar="HOST:PORT", help="where the first one is to be reached by the others"
    )
    several.add_argument("--processes", type=int, metavar="N", help="how many there are")
    several.add_argument("--process", type=int, metavar="I", help="which one this is, from 0 on")
    several.add_argument("--cluster", action="store_true", help="JAX finds all that out itself, as under Slurm")
    options, unknown = parser.parse_known_args(arguments)
    jax.config.update("jax_enable_x64", True)
    try:
        _refuse(unknown)
        asked = list(dict.fromkeys(figure for name in options.figures for figure in GROUPS.get(name, (name,))))
        _prepare(options, asked)
        changes = _changes(options)
        if len(asked) > 1:
            figures = all_settings(asked, options.preset, changes)
            paths = {figure: (options.run_dir or Path("runs")) / figure for figure in figures}
        else:
            figures = {figure: settings_of(figure, options.preset, changes) for figure in asked}
            paths = {figure: options.run_dir or Path("runs") / figure for figure in asked}
        if options.plan:
            for figure in _trained(figures):
                _print_plans(figure, figures[figure])
            return 0
        for figure in figures:
            _check_drawing(figure)
            _check_folder(paths[figure])
        for figure, settings in figures.items():
            keeping = {"interval": options.checkpoint_seconds, "wandb": options.wandb if figure in TRAINED else None}
            run(figure, paths[figure], settings, _command(figure, options), **keeping)
    except (ValueError, OSError) as error:
        print(f"experiments: {error}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        kept = "but what was done last could not be kept" if stopped.lost else "with all kept"
        name = stopped.signal.name
        print(f"experiments: stopped by {name}, {kept}; the same command goes on from there.", file=sys.stderr)
        return 128 + stopped.signal
    return 0


def _check_drawing(figure: str) -> None:
    """**Raises** `ValueError` if what draws it is not installed."""
    try:
        importlib.import_module(f"paper_figs.{FIGURES[figure]}")
    except ImportError as error:
        raise ValueError(f"Figures are drawn with matplotlib: pip install matplotlib. ({error})") from error


def _check_folder(path: Path) -> None:
    """**Raises** `ValueError` unless a run can be written there, as far as that is seen before; leaves nothing."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not there.is_dir():
        raise ValueError(f"--run-dir must be a folder, but {there} is a file, not a folder.")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(
            f"--run-dir must be a folder that can be written, but in {there}: {error.strerror}."
        ) from error


def _prepare(options: argparse.Namespace, figures: Sequence[str]) -> None:
    """Before JAX is used, which sees its devices then; **raises** `ValueError` for options that do not fit."""
    if not options.checkpoint_seconds >= 0:
        raise ValueError(f"--checkpoint-seconds must be at least 0, but is {options.checkpoint_seconds}.")
    trained = _trained(figures)
    if options.plan and not trained:
        raise ValueError(f"--plan is for figures that are trained: {', '.join(TRAINED)}.")
    if options.wandb is not None:
        if not trained:
            raise ValueError(f"--wandb is for figures that are trained: {', '.join(TRAINED)}.")
        check_for_wandb()
    given = options.coordinator, options.processes, options.process
    if options.cluster or given != (None,) * 3:
        if len(trained) < len(figures):  # before any process waits for another
            raise ValueError(
                f"{' '.join(options.figures)} runs in one process; several can share {', '.join(TRAINED)}."
            )
        join(*given, options.devices)
    elif trained:
        use_all_cores()


def _trained(figures: Iterable[str]) -> list[str]:
    return [figure for figure in figures if figure in TRAINED]


def _print_plans(figure: str, settings: Any) -> None:
    table = Table("part", "steps", "iteration", "all", "devices", "memory", "played")
    with jax.enable_x64(False):
        for name, (one, pool) in settings.trainings().items():
            plan = plan_of(training.training_of(one, pool))
            hours = plan.seconds * one.iterations / 3600
            times = f"{plan.seconds:.2g} s", f"{hours:.2g} h"
            memory = f"{plan.devices}", f"{plan.memory:.2g} GB", f"{plan.played:.2g} GB"
            table.add_row(name, f"{plan.steps:.2g}", *times, *memory)
    Console().print(f"{figure} on this machine, and the memory of each device:", table, sep="\n")


def _command(figure: str, options: argparse.Namespace) -> list[str]:
    """What makes one figure, but for folders."""
    payoffs = options.payoffs and Path(options.payoffs).name
    given = [
        ("--seeds", options.seeds),
        ("--devices", options.devices),
        ("--payoffs", payoffs),
        *(("--set", text) for text in options.set),
    ]
    words = [word for name, value in given if value is not None for word in (name, str(value))]
    return ["python", "-m", "experiments", figure, "--preset", options.preset, *words]


def _refuse(unknown: Sequence[str]) -> None:
    """**Raises** `ValueError` if there are arguments that nothing takes."""
    if unknown:
        settings = [f"--set {argument}" for argument in unknown if "=" in argument and not argument.startswith("-")]
        remedy = f" Each setting needs a --set of its own: {' '.join(settings)}." if settings else ""
        raise ValueError(f"There is no such argument as {' '.join(unknown)}.{remedy}")


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    """Settings that are given, with their values."""
    changes = {
        name: getattr(options, name) for name in ("seeds", "devices", "payoffs") if getattr(options, name) is not None
    }
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set needs NAME=VALUE, such as p_naive=0.5, but is {text!r}.")
        try:
            changes[name] = ast.literal_eval(value)
        except (SyntaxError, TypeError, ValueError):
            changes[name] = value
    return changes


def all_settings(group: Sequence[str], preset: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The settings of several figures: each has those changes that it knows.

    **Raises** `ValueError` for a change that none of them knows. A figure that refuses a value is left out, and named,
    unless all do.
    """
    settings, errors = {}, {}
    for figure in group:
        known = {field.name for field in dataclasses.fields(_experiment(figure).PRESETS[preset])}
        try:
            settings[figure] = settings_of(figure, preset, {name: changes[name] for name in changes if name in known})
        except ValueError as error:
            errors[figure] = error
    names = {field.name for figure in group for field in dataclasses.fields(_experiment(figure).PRESETS[preset])}
    if unknown := sorted(set(changes) - names):
        raise ValueError(f"None of the figures has a setting {unknown[0]!r}; there are {', '.join(sorted(names))}.")
    if not settings:
        raise next(iter(errors.values()))
    for figure, error in errors.items():
        print(f"experiments: {figure} is left out: {error}", file=sys.stderr)
    return settings


def settings_of(figure: str, preset: str, changes: dict[str, Any]) -> Any:
    """The settings of a preset with changes.

    **Raises** `ValueError` for a change of what the figure has not, or to a value of another type.
    """
    settings = _experiment(figure).PRESETS[preset]
    names = {field.name for field in dataclasses.fields(settings)}
    if unknown := sorted(set(changes) - names):
        raise ValueError(f"{figure} has no setting {unknown[0]!r}; it has {', '.join(sorted(names))}.")
    changes = {name: _like(name, value, getattr(settings, name)) for name, value in changes.items()}
    settings = dataclasses.replace(settings, **changes)
    for name in ("problem", "check"):
        if hasattr(settings, name):
            getattr(settings, name)()  # raises for what makes none, before anything is written
    return settings


def _like(name: str, value: Any, default: Any) -> Any:
    """The value with the type of the default; raises `ValueError` if it is of another one."""
    if isinstance(default, tuple) and isinstance(value, tuple | list) and default:
        return tuple(_like(name, entry, default[0]) for entry in value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise ValueError(f"{name!r} must be like {default!r}, but is {value!r}.")
    return value


def run(
    figure: str,
    path: Path,
    settings: Any,
    command: Sequence[str] = (),
    *,
    interval: float = INTERVAL,
    wandb: str | None = None,
) -> None:
    """Do what is still missing in the run directory, then judge the claims and draw.

    **Arguments:**

    - `figure`, `path`, `settings`: as of `RunDirectory`.
    - `command`: noted as what made the records.
    - `interval`: seconds between checkpoints.
    - `wandb`: a project of Weights & Biases, if training is to be shown there.

    **Raises** `Stopped` on SIGTERM and SIGINT, with everything kept, `ValueError` for parts whose files would have one
    name.
    """
    experiment = _experiment(figure)
    keeping = {"interval": interval, "wandb": wandb}
    with (
        jax.enable_x64(not getattr(experiment, "SINGLE", False)),
        Run(path, figure, settings, experiment.parts(settings), **keeping) as it,
    ):
        console = Console(quiet=not is_first())
        _borrow(it, getattr(experiment, "RECORDS_OF", None), console)
        layout = settings.in_words() if it.missing and hasattr(settings, "in_words") else None
        with Display(console, figure, sum(part.work for part in it.missing)) as display:
            it.work(display, command, layout)
        if is_first():
            _judge(it, settings, console)


def _borrow(it: Run, lender: str | None, console: Console) -> None:
    """Take the records of the figure of which this one shows other columns, if there are none yet."""
    if not it.records and lender is not None:
        other = it.path.parent / lender
        it.records = it.directory.borrow(other, [part.name for part in it.parts])
        if not it.records and other.exists():
            console.print(f"The records of {other} have other settings, or are not whole: they are made anew.")


def _judge(it: Run, settings: Any, console: Console) -> None:
    """Judge the claims by all records, and draw them."""
    figure, path, records = it.directory.figure, it.path, it.records
    if seeds := flagged(records):
        console.print(f"Not finite, and left out of claims and figure: seeds {', '.join(map(str, seeds))}.")
    claims = judged(figure, records, getattr(settings, "payoffs", DILEMMA))
    it.directory.save_claims(claims)
    drawing = importlib.import_module(f"paper_figs.{FIGURES[figure]}")
    drawing.draw(path / "records.parquet", path / f"{figure}.png")
    if hasattr(drawing, "write_table"):
        drawing.write_table(path / "records.parquet", path / f"{figure}.md")
    console.print(_table(claims))
    if len(rewards := final_rewards(records)):
        console.print(_rewards(rewards))
    console.print("Written:", *sorted(str(file) for file in path.glob("[!.]*")), sep="\n  ")


def judged(figure: str, records: Sequence[Record], game: str) -> list[dict[str, Any]]:
    """The figure's claims, by what was measured; of other games they say so."""
    claims = _experiment(figure).claims(records)
    if game == DILEMMA:
        return claims
    return [entry | {"claim": f"{entry['claim']} (of the prisoner's dilemma; here {game})"} for entry in claims]


def _experiment(figure: str) -> ModuleType:
    return importlib.import_module(f"experiments.{FIGURES[figure]}")


def _table(claims: Sequence[dict[str, Any]]) -> Table:
    columns = (Column(name, no_wrap=True) for name in ("measured", "threshold"))
    table = Table("claim", *columns, "holds")
    for claim in claims:
        threshold = f"{claim['relation']} {claim['threshold']:g}"
        table.add_row(claim["claim"], in_words(claim), threshold, verdict(claim))
    return table


def _rewards(rows: Sequence[Sequence[str]]) -> Table:
    table = Table(*REWARDS)
    for row in rows:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    sys.exit(main())
