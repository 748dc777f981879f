"""The command line: figures, a preset, options of the run, and every setting of the figures."""

import argparse
import ast
import contextlib
import dataclasses
import io
import itertools
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from coala_eqx.runs.progress import INTERVAL
from coala_eqx.runs.settings import named
from experiments.experiment import FIGURES, GROUPS, checked, load
from experiments.settings import ALONE, renamed

PROGRAM = "python -m experiments"

PRESETS = ("smoke", "cpu", "paper")


class BadArguments(ValueError):
    """Invalid arguments."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a run: the preset to begin with, and options on which results do not depend."""

    preset: Literal["smoke", "cpu", "paper"] = "cpu"
    """Preset of the settings: `smoke` (does it run?), `cpu` (two cores, about an hour) or `paper` (accelerators)."""

    run_dir: Path | None = None
    """Folder of the run, by default `runs/FIGURE`. Of several figures, each has its own folder in this one."""

    checkpoint_seconds: float = INTERVAL
    """Least time between two checkpoints, in seconds."""

    plan: bool = False
    """Try one iteration and predict the time and memory of the whole run. For figures that are trained."""

    wandb: str | None = None
    """Project of Weights & Biases that also shows training. For figures that are trained."""

    coordinator: str | None = None
    """HOST:PORT at which other processes reach the first one. All processes have the same `--run-dir`."""

    processes: int | None = None
    """Number of processes that share the run."""

    process: int | None = None
    """Number of this process, from 0 on."""

    cluster: bool = False
    """Let JAX find the processes by itself, as under Slurm."""

    def __post_init__(self) -> None:
        if not self.checkpoint_seconds >= 0:
            raise ValueError(f"--checkpoint-seconds must be at least 0, but is {self.checkpoint_seconds}.")


def read(arguments: Sequence[str]) -> tuple[list[str], Options, dict[str, Any]]:
    """The figures that are asked for, the options, and the settings of each figure, not yet checked on this machine.

    Each of several figures has the settings that it knows. A figure that refuses a value is left out, with a message,
    unless all do.

    **Raises** `BadArguments` for unknown arguments, or settings that do not fit each other; `SystemExit` after help.
    """
    asked, rest = _figures(arguments)
    _refuse_former(rest, asked)
    preset = _preset(rest)
    several = len(asked) > 1
    options, found, left = Options(preset=preset), {}, {}
    flags = [word.partition("=")[0] for word in rest if word.startswith("--")]
    if several and (nobody := [flag for flag in flags if not any(_knows(figure, flag) for figure in asked)]):
        raise BadArguments(
            f"No figure has the setting {' '.join(nobody)}; `{PROGRAM} FIGURE --help` lists those of a figure."
        )
    for figure in asked:
        told = io.StringIO()
        try:
            with contextlib.redirect_stderr(told) if several else contextlib.nullcontext():
                options, found[figure] = _parse(figure, preset, rest, several)
        except SystemExit as error:
            if not error.code or not several:
                raise
            left[figure] = told.getvalue()
        except ValueError as error:
            left[figure] = str(error)
    if not found:
        raise BadArguments(next(iter(left.values())))
    for figure, why in left.items():
        print(f"experiments: {figure} is left out: {why}", file=sys.stderr)
    return asked, options, found


def _figures(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The figures, whose names come first, and all other arguments."""
    names = [*itertools.takewhile(lambda word: not word.startswith("-"), arguments)]
    rest = [*arguments[len(names) :]]
    if unknown := [name for name in names if name not in {**FIGURES, **GROUPS}]:
        raise BadArguments(f"There is no figure {unknown[0]!r}; there are {', '.join([*FIGURES, *GROUPS])}.")
    if not names:
        if {"-h", "--help"} & set(rest):
            print(usage())
            raise SystemExit(0)
        raise BadArguments(f"Name a figure first: {', '.join([*FIGURES, *GROUPS])}.")
    return [*dict.fromkeys(figure for name in names for figure in GROUPS.get(name, (name,)))], rest


def usage() -> str:
    """Help without a figure."""
    return (
        f"usage: {PROGRAM} FIGURE [FIGURE …] [OPTIONS]\n\n"
        "Run or resume experiments, judge their claims, draw their figures.\n\n"
        f"FIGURE is one or more of {', '.join(FIGURES)};\n"
        "`all` means the paper's figures in closed form, and `paper` all figures of the paper.\n\n"
        f"`{PROGRAM} FIGURE --help` lists all options and settings of a figure, with their defaults."
    )


def _preset(rest: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", default="cpu")
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        preset = parser.parse_known_args(rest)[0].preset
        if preset in PRESETS:
            return preset
    raise BadArguments(f"--preset must be {', '.join(PRESETS[:-1])} or {PRESETS[-1]}.")


def _knows(figure: str, flag: str) -> bool:
    names = {*named(load(figure).presets["cpu"]), *named(Options())}
    name = flag.removeprefix("--").replace("-", "_")
    return name in names or name.replace("no_", "", 1) in names or name == "help"


def _parse(figure: str, preset: str, rest: Sequence[str], several: bool) -> tuple[Options, Any]:
    """The options and settings of one figure. If there are several, it skips arguments that it does not know."""
    experiment = load(figure)
    default = experiment.presets[preset]
    run_options = Annotated[Options, ALONE, tyro.conf.FlagCreatePairsOff]
    fields = [("options", run_options), ("settings", Annotated[type(default), ALONE])]
    command = dataclasses.make_dataclass("Command", fields)
    with experiment.precision():
        parsed: Any = tyro.cli(
            command,
            default=command(Options(preset=preset), default),  # type: ignore[arg-type]
            args=rest,
            prog=f"{PROGRAM} {figure}",
            description=experiment.text,
            return_unknown_args=several,
        )
    command = parsed[0] if several else parsed
    return command.options, command.settings


def _refuse_former(rest: Sequence[str], figures: Sequence[str]) -> None:
    """**Raises** `BadArguments` for `--set NAME=VALUE` of earlier versions. The message says what to write."""
    given = [word for pair in itertools.pairwise(rest) if pair[0] == "--set" for word in pair]
    if given:
        raise BadArguments(f"--set no longer exists: write {shlex.join(today(given, figures[0]))}.")


def today(arguments: Sequence[str], figure: str) -> list[str]:
    """Arguments of an earlier version, with `--set NAME=VALUE`, as they are written today."""
    names = named(load(figure).presets["cpu"])
    found: list[str] = []
    left = iter(arguments)
    for word in left:
        if word != "--set":
            found.append(word)
            continue
        name, _, value = next(left).partition("=")
        found += [argument for one in renamed({name: None}, names) for argument in words(one, _literal(value))]
    return found


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, TypeError, ValueError):
        return text


def in_words(figure: str, preset: str, settings: Any) -> list[str]:
    """The command that makes a figure: its preset, and settings that differ. Files are named without folders."""
    default = named(load(figure).presets[preset])
    changed = {name: value for name, value in named(settings).items() if value != default[name]}
    given = [word for name, value in changed.items() for word in words(name, value)]
    return ["python", "-m", "experiments", figure, "--preset", preset, *given]


def words(name: str, value: Any) -> list[str]:
    """The arguments that give a setting this value."""
    option = name.replace("_", "-")
    *group, last = option.split(".")
    if isinstance(value, bool):
        return [f"--{'.'.join([*group, last if value else f'no-{last}'])}"]
    values = value if isinstance(value, tuple) else (value,)
    return [f"--{option}", *(_without_folder(str(one)) for one in values)]


def _without_folder(value: str) -> str:
    """A file's name without its folder."""
    return Path(value).name if re.search(r"\.(py:\w|json$|toml$)", value) else value


def all_checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that describe problems and fit this machine. Other figures are left out, with a message.

    **Raises** `ValueError` if there are none.
    """
    found, errors = {}, {}
    for figure, one in settings.items():
        try:
            found[figure] = checked(load(figure), one)
        except ValueError as error:
            errors[figure] = error
    if not found:
        raise next(iter(errors.values()))
    for figure, error in errors.items():
        print(f"experiments: {figure} is left out: {error}", file=sys.stderr)
    return found
