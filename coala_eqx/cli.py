"""The command `coala-eqx`: parses, calls, prints."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from coala_eqx.estimators import AbstractEstimator
from coala_eqx.exact import LIMIT
from coala_eqx.games.benchmarks import print_benchmarks as print_games_benchmarks
from coala_eqx.learners import AbstractLearner
from coala_eqx.show import show
from coala_eqx.training.benchmarks import print_benchmarks as print_training_benchmarks
from coala_eqx.training.scaling import print_scaling
from coala_eqx.verification import Certificate, NamedProblem, certify_all, default_problems
from coala_eqx.verification.benchmarks import print_benchmarks
from coala_eqx.verification.game_files import GAMES, load_game
from coala_eqx.verification.loading import DEFAULT_ESTIMATORS, load_estimator, load_object
from coala_eqx.verification.picture import draw_certificates
from coala_eqx.verification.problems import LEARNERS, POLICIES, make_problem
from coala_eqx.verification.table import print_certificates, print_problems, summary, write_json
from coala_eqx.version import __version__

_OWN_PROBLEM: dict[str, Any] = {
    "payoffs": "prisoners-dilemma",
    "batch": 2,
    "episodes": 2,
    "steps": 2,
    "learner": "sgd",
    "policy": "full-history",
}
"""What an own problem has where no option says otherwise."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; **returns** its exit status."""
    options = _parser().parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    try:
        return options.run(options)
    except ValueError as error:
        print(f"coala-eqx: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("coala-eqx: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="coala-eqx", description="Learning-aware gradient estimators, verified.")
    parser.add_argument("--version", action="version", version=f"coala-eqx {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    verify = commands.add_parser(
        "verify",
        help="hold estimators against the exact gradient",
        description="Enumerates every outcome of small shaping problems and prints, for each estimator, its exact "
        "bias and variance. Exit status: 0 if every estimator keeps what it claims, 1 if one does not, 2 on bad input.",
    )
    verify.set_defaults(run=_verify)
    verify.add_argument(
        "--estimator",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="FILE.py:NAME, module:NAME, or the name of one of this package (default: all of them) or registered",
    )
    own = verify.add_argument_group("own problem", "any of these replaces the default set of problems by one problem")
    own.add_argument("--payoffs", metavar="GAME", help=f"JSON or TOML file, or one of {', '.join(GAMES)}")
    own.add_argument("--batch", type=int, help="B, trajectories per co-player (2)")
    own.add_argument("--episodes", type=int, help="M, inner episodes (2)")
    own.add_argument("--steps", type=int, help="T, steps per inner episode (2)")
    own.add_argument("--learner", help=f"{', '.join(LEARNERS)}, FILE.py:NAME or module:NAME (sgd)")
    own.add_argument("--policy", help=f"the ego agent's: {', '.join(POLICIES)} (full-history)")
    verify.add_argument("--seed", type=int, default=0, help="draws policies and the stochastic game (0)")
    verify.add_argument("--limit", type=int, default=LIMIT, help="most outcomes to enumerate per problem (%(default)s)")
    verify.add_argument("--json", type=Path, metavar="FILE", help="write all numbers, unrounded")
    verify.add_argument("--figure", type=Path, metavar="FILE", help="draw the bias–variance picture (PNG, PDF or SVG)")
    bench = commands.add_parser("bench", help="the project's own benchmarks, as ratios of things measured in one run")
    bench.set_defaults(run=_bench)
    shown = commands.add_parser(
        "show",
        help="what agents of a run do: animation, film strip and measures of meta-episodes",
        description="Draws the meta-episodes that runs on grids keep: for each a GIF and a film strip of the first "
        "inner episode, one in the middle and the last, and what the game measures in all of them.",
    )
    shown.set_defaults(run=_show)
    shown.add_argument(
        "folder", type=Path, metavar="RUN_DIR", help="of a run on a grid, such as fig6, fig7 or coin-game"
    )
    shown.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: RUN_DIR)")
    return parser


def _show(options: argparse.Namespace) -> int:
    try:
        written = show(options.folder, options.out)
    except (ImportError, OSError) as error:
        raise ValueError(str(error)) from error
    for file in written:
        print(file)
    return 0


def _bench(_: argparse.Namespace) -> int:
    console = Console(highlight=False)
    print_benchmarks(console)
    with jax.enable_x64(False):
        print_training_benchmarks(console)
    print_scaling(console)
    with jax.enable_x64(False):
        print_games_benchmarks(console)
    return 0


def _verify(options: argparse.Namespace) -> int:
    for name, least in (("seed", 0), ("limit", 1)):
        if getattr(options, name) < least:
            raise ValueError(f"--{name} must be at least {least}, but is {getattr(options, name)}.")
    estimators = tuple(map(load_estimator, options.estimator or [cls.__name__ for cls in DEFAULT_ESTIMATORS]))
    problems = _problems(options)
    console = Console(highlight=False)
    print_problems(console, problems)
    certificates, error = _certify(estimators, problems, options.limit)
    if certificates:
        print_certificates(console, certificates)
        console.print(summary(certificates), soft_wrap=True, markup=False)
    written = _write(options, certificates, problems)
    if error is not None:
        raise error
    if not written or any(certificate.verdict == "error" for certificate in certificates):
        return 2
    return 0 if all(certificate.kept for certificate in certificates) else 1


def _certify(
    estimators: tuple[AbstractEstimator, ...], problems: tuple[NamedProblem, ...], limit: int
) -> tuple[list[Certificate], ValueError | None]:
    """All certificates, or those that were made before a problem turned out to be impossible, and why."""
    certificates: list[Certificate] = []
    with _progress() as progress:
        rows = progress.add_task("estimators × problems", total=len(estimators) * len(problems))
        outcomes = progress.add_task("outcomes", total=None)

        def show(done: int, total: int) -> None:
            progress.update(outcomes, completed=done, total=total)

        for named in problems:
            made = certify_all(estimators, named.problem, named.policy, name=named.name, limit=limit, progress=show)
            try:
                for certificate in made:
                    certificates.append(certificate)
                    progress.advance(rows)
            except Exception as error:  # whatever a user's game or learner may raise
                return certificates, error if isinstance(error, ValueError) else _explained(error, named)
    return certificates, None


def _explained(error: Exception, named: NamedProblem) -> ValueError:
    return ValueError(f"'{named.name}' cannot be enumerated: {type(error).__name__}: {error}")


def _problems(options: argparse.Namespace) -> tuple[NamedProblem, ...]:
    if all(getattr(options, name) is None for name in _OWN_PROBLEM):
        return default_problems(options.seed)
    for name, default in _OWN_PROBLEM.items():
        if getattr(options, name) is None:
            setattr(options, name, default)
    chosen = {name: getattr(options, name) for name in _OWN_PROBLEM}
    game_name, game = load_game(chosen["payoffs"])
    return (
        make_problem(
            game,
            _learner(chosen["learner"]),
            policy=chosen["policy"],
            batch=chosen["batch"],
            episodes=chosen["episodes"],
            steps=chosen["steps"],
            seed=options.seed,
            game_name=game_name,
            learner_name=chosen["learner"],
        ),
    )


def _learner(source: str) -> AbstractLearner:
    if source in LEARNERS:
        return LEARNERS[source]()
    if ":" not in source:
        raise ValueError(
            f"There is no learner {source!r}: it is none of {', '.join(LEARNERS)}; for one of your own write "
            f"FILE.py:NAME or module:NAME."
        )
    return load_object(source, AbstractLearner, "learner")


def _write(options: argparse.Namespace, certificates: list[Certificate], problems: tuple[NamedProblem, ...]) -> bool:
    """Write what was asked for; a file that cannot be written does not keep the others from being written."""
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    del settings["run"]
    wishes: list[tuple[Path | None, Callable[[Path], None]]] = [
        (options.json, lambda path: write_json(path, certificates, problems, settings)),
        (options.figure, lambda path: draw_certificates(path, certificates)),
    ]
    written = True
    for path, write in wishes:
        if path is not None:
            try:
                write(path)
            except (OSError, ValueError, ImportError) as error:
                print(f"coala-eqx: cannot write {str(path)!r}: {error}", file=sys.stderr)
                written = False
            else:
                print(f"wrote {path}")
    return written


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def entry_point() -> None:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    entry_point()
