"""`python -m experiments FIGURE …`: run or resume experiments, judge their claims, draw their figures."""

import importlib
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Column, Table

from coala_eqx.runs.directory import Record
from coala_eqx.runs.display import Display
from coala_eqx.runs.processes import is_first, join, use_all_cores
from coala_eqx.runs.progress import INTERVAL
from coala_eqx.runs.run import Run
from coala_eqx.runs.settings import named
from coala_eqx.runs.stopping import Stopped
from coala_eqx.runs.writers import check_for_wandb
from coala_eqx.training.plan import plan as plan_of
from experiments import claims as judging
from experiments.arguments import Options, all_checked, in_words, read
from experiments.claims import DILEMMA, flagged, verdict
from experiments.experiment import FIGURES, TRAINED, load
from experiments.rewards import REWARDS, final_rewards


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    **Returns** its exit status: 0, also if claims fail (see `FIGURE.json`), 2 on bad input, 128 + the signal's number
    if a signal stopped it.
    """
    jax.config.update("jax_enable_x64", True)
    try:
        asked, options, settings = read(sys.argv[1:] if arguments is None else arguments)
        _prepare(options, asked, settings)
        figures = all_checked(settings)
        folder = options.run_dir or Path("runs")
        alone = options.run_dir is not None and len(asked) == 1
        paths = {figure: folder if alone else folder / figure for figure in figures}
        if options.plan:
            for figure in _trained(figures):
                _print_plans(figure, figures[figure])
            return 0
        for figure in figures:
            _check_drawing(figure)
            _check_folder(paths[figure])
        for figure, one in figures.items():
            keeping = {"interval": options.checkpoint_seconds, "wandb": options.wandb if figure in TRAINED else None}
            run(figure, paths[figure], one, in_words(figure, options.preset, one), **keeping)
    except SystemExit as error:  # after help, or a message
        return int(error.code or 0)
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
    """**Raises** `ValueError` if matplotlib, which draws the figure, is not installed."""
    try:
        importlib.import_module(f"paper_figs.{FIGURES[figure]}")
    except ImportError as error:
        raise ValueError(f"Figures are drawn with matplotlib: pip install matplotlib. ({error})") from error


def _check_folder(path: Path) -> None:
    """**Raises** `ValueError` if a run clearly cannot be written there. It leaves no file behind."""
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


def _prepare(options: Options, figures: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Set up processes and cores. This must be done before JAX is used, which then fixes its devices.

    **Raises** `ValueError` for options that do not fit each other or the figures.
    """
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
            alone = next(figure for figure in figures if figure not in TRAINED)
            raise ValueError(f"{alone} runs in one process; several can share {', '.join(TRAINED)}.")
        join(*given, max(settings[figure].layout.devices for figure in trained) or None)
    elif trained:
        use_all_cores()


def _trained(figures: Iterable[str]) -> list[str]:
    return [figure for figure in figures if figure in TRAINED]


def _print_plans(figure: str, settings: Any) -> None:
    table = Table("part", "steps", "iteration", "all", "devices", "memory", "played", "shown")
    with jax.enable_x64(False):
        for name, (one, pool) in settings.trainings().items():
            plan = plan_of(one.training(pool))
            hours = plan.seconds * one.run.iterations / 3600
            times = f"{plan.seconds:.2g} s", f"{hours:.2g} h"
            memory = f"{plan.devices}", f"{plan.memory:.2g} GB", f"{plan.played:.2g} GB"
            memory += (f"{plan.shown:.2g} GB" if plan.shown else "–",)
            table.add_row(name, f"{plan.steps:.2g}", *times, *memory)
    Console().print(f"{figure} on this machine, and the memory of each device:", table, sep="\n")


def run(
    figure: str,
    path: Path,
    settings: Any,
    command: Sequence[str] = (),
    *,
    interval: float = INTERVAL,
    wandb: str | None = None,
) -> None:
    """Run the parts that are missing in the run directory, then judge the claims and draw.

    **Arguments:**

    - `figure`, `path`, `settings`: as in `RunDirectory`.
    - `command`: the command that is noted as the origin of the records.
    - `interval`: seconds between checkpoints.
    - `wandb`: a project of Weights & Biases that also shows training.

    **Raises** `Stopped` on SIGTERM and SIGINT, after everything is kept; `ValueError` for parts whose files would have
    the same name.
    """
    experiment = load(figure)
    keeping = {"interval": interval, "wandb": wandb}
    with experiment.precision(), Run(path, figure, settings, experiment.parts(settings), **keeping) as it:
        console = Console(quiet=not is_first())
        _borrow(it, experiment.records_of, console)
        layout = settings.in_words() if it.missing and hasattr(settings, "in_words") else None
        with Display(console, figure, sum(part.work for part in it.missing)) as display:
            it.work(display, command, layout)
        if is_first():
            _judge(it, settings, console)


def _borrow(it: Run, lender: str | None, console: Console) -> None:
    """Take the records of `lender`, if this figure shows other columns of them and has no records yet."""
    if not it.records and lender is not None:
        other = it.path.parent / lender
        it.records = it.directory.borrow(other, [part.name for part in it.parts])
        if not it.records and other.exists():
            console.print(f"The records of {other} have other settings, or are incomplete: they are made anew.")


def _judge(it: Run, settings: Any, console: Console) -> None:
    """Judge the claims by all records, and draw the figure."""
    figure, path, records = it.directory.figure, it.path, it.records
    if seeds := flagged(records):
        console.print(f"Not finite, and left out of claims and figure: seeds {', '.join(map(str, seeds))}.")
    claims = judged(figure, records, named(settings).get("payoffs", DILEMMA))
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
    """The figure's claims, judged by the records. Where the game is not the paper's, their texts say so."""
    claims = load(figure).claims(records)
    if game == DILEMMA:
        return claims
    return [entry | {"claim": f"{entry['claim']} (of the prisoner's dilemma; here {game})"} for entry in claims]


def _table(claims: Sequence[dict[str, Any]]) -> Table:
    columns = (Column(name, no_wrap=True) for name in ("measured", "threshold"))
    table = Table("claim", *columns, "holds")
    for claim in claims:
        threshold = f"{claim['relation']} {claim['threshold']:g}"
        table.add_row(claim["claim"], judging.in_words(claim), threshold, verdict(claim))
    return table


def _rewards(rows: Sequence[Sequence[str]]) -> Table:
    table = Table(*REWARDS)
    for row in rows:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    sys.exit(main())
