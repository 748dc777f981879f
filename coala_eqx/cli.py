"""The command `coala-eqx`: it parses, calls, and returns an exit status."""

import argparse
import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from coala_eqx.terminal import ReaderGoneError, Terminal
from coala_eqx.version import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; **returns** its exit status."""
    with _terminals() as (out, err):
        try:
            status = _run(arguments)
            out.flush()
        except ReaderGoneError:
            status = 141  # as of a program that the signal ends
        if out.failure is not None and not out.broken:
            print(f"coala-eqx: cannot write to standard output: {out.failure}", file=err)
            return 2
        return status


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    try:
        return options.run(options)
    except ReaderGoneError:
        raise
    except KeyboardInterrupt as error:
        number = error.args[0] if error.args and isinstance(error.args[0], int) else signal.SIGINT
        return _say("interrupted", 128 + number)
    except ValueError as error:
        return _say(str(error))
    except BaseException as error:  # foreign code ends as it likes, and a status of 0 or 1 would be a verdict
        if os.environ.get("COALA_EQX_DEBUG"):
            traceback.print_exc()
        return _say(f"unexpected {type(error).__name__}: {error} (COALA_EQX_DEBUG=1 shows where)")


def _say(words: str, status: int = 2) -> int:
    print(f"coala-eqx: {' '.join(words.split())}", file=sys.stderr)
    return status


@contextlib.contextmanager
def _terminals() -> Iterator[tuple[Terminal, Terminal]]:
    """Replace the standard streams by streams that take everything."""
    before = sys.stdout, sys.stderr
    out, err = Terminal(sys.stdout), Terminal(sys.stderr)
    out.stops = True
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        err.flush()
        sys.stdout, sys.stderr = before


class _Parser(argparse.ArgumentParser):
    """A parser whose errors take one line."""

    def error(self, message: str) -> NoReturn:
        message = " ".join(message.split())
        cut = f"{message[:300]} …" if len(message) > 300 else message
        self.exit(2, f"coala-eqx: {cut} (see {self.prog} --help)\n")


def _whole(least: int, most: int | None = None):
    def whole(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, but is {text[:40]!r}") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, but is {number}")
        if most is not None and number > most:
            raise argparse.ArgumentTypeError(f"must be at most {most:,}, but is {text[:40]}")
        return number

    return whole


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="coala-eqx", description="Learning-aware gradient estimators, verified.")
    parser.add_argument("--version", action="version", version=f"coala-eqx {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_verify(commands)
    bench = commands.add_parser("bench", help="run the project's benchmarks; results are ratios within one run")
    bench.set_defaults(run=_bench)
    shown = commands.add_parser(
        "show",
        help="draw what the agents of a run do: animation, film strip and measures of meta-episodes",
        description="Draws the recordings of a run as its game draws itself. Each recording becomes a GIF and a film "
        "strip, or a text, of the first, the middle and the last inner episode, with curves of the measures of all.",
    )
    shown.set_defaults(run=_show)
    shown.add_argument(
        "folder", type=Path, metavar="RUN_DIR", help="folder of a run, such as one of fig6, fig7 or coin-game"
    )
    shown.add_argument("--out", type=Path, metavar="DIR", help="folder for the files (default: RUN_DIR)")
    return parser


def _add_verify(commands: "argparse._SubParsersAction[_Parser]") -> None:
    verify = commands.add_parser(
        "verify",
        help="compare estimators with the exact gradient",
        description="Prints for each score-function estimator whether it is unbiased in all games, from its structure. "
        "Then it enumerates every outcome of small shaping problems, and prints the exact bias and variance of each "
        "estimator.",
        epilog="Exit status: 0 if every claim holds and was judged; 1 if one does not hold, or was judged nowhere; "
        "2 on bad input, or if something could not be resolved or written. "
        "Estimators that were not named may decline a problem of your own.",
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
    own.add_argument(
        "--payoffs", metavar="GAME", help="the name of a game, such as chicken, a JSON or TOML file, or FILE.py:NAME"
    )
    sizes = "default: 2, or 1 where there would be too many outcomes"
    own.add_argument("--batch", type=_whole(1), help=f"B, trajectories per co-player ({sizes})")
    own.add_argument("--episodes", type=_whole(1), help=f"M, inner episodes ({sizes})")
    own.add_argument("--steps", type=_whole(1), help=f"T, steps per inner episode ({sizes})")
    own.add_argument("--learner", help="name such as sgd or adam, FILE.py:NAME or module:NAME (sgd)")
    own.add_argument(
        "--policy", help="the ego agent's: name such as memory-one, FILE.py:NAME or module:NAME (full-history)"
    )
    verify.add_argument(
        "--critic",
        choices=("learner",),
        help="give estimators that take it a random critic of this kind: `learner` sees what co-players have learned",
    )
    verify.add_argument("--seed", type=_whole(0, 2**32 - 1), default=0, help="draws policies, the stochastic game (0)")
    verify.add_argument("--limit", type=_whole(1), help="most outcomes to enumerate per problem (20,000,000)")
    verify.add_argument("--json", type=Path, metavar="FILE", help="write all numbers, unrounded")
    verify.add_argument("--figure", type=Path, metavar="FILE", help="draw bias and noise (PNG, PDF or SVG)")
    verify.add_argument("--kernels", type=Path, metavar="FILE", help="draw what rewards weigh (PNG, PDF or SVG)")


def _verify(options: argparse.Namespace) -> int:
    from coala_eqx.verification.command import verify  # noqa: PLC0415 (heavy, as all that follows)

    return verify(options)


def _show(options: argparse.Namespace) -> int:
    from coala_eqx.show import show  # noqa: PLC0415

    try:
        written = show(options.folder, options.out)
    except (ImportError, OSError) as error:
        raise ValueError(str(error)) from error
    for file in written:
        print(file)
    return 0


def _bench(_: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415

    from coala_eqx.benchmarks import print_all  # noqa: PLC0415

    print_all(Console(highlight=False))
    return 0


def entry_point() -> NoReturn:
    """Run the console script. Foreign code runs in a process of its own."""
    from coala_eqx.supervision import run_supervised  # noqa: PLC0415

    arguments = sys.argv[1:]
    sources = _foreign(arguments)
    status = run_supervised(arguments, sources) if sources else main(arguments)
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # said before; without this, Python says it again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    sys.exit(status)


def _foreign(arguments: Sequence[str]) -> list[str]:
    """Sources outside this package that `verify` is to load; none if the arguments are wrong, or ask for help."""
    if "verify" not in arguments[:1]:
        return []
    unseen = io.StringIO()
    with contextlib.redirect_stdout(unseen), contextlib.redirect_stderr(unseen):
        try:
            options = _parser().parse_args(arguments)
        except SystemExit:
            return []
    from coala_eqx.verification.loading import is_foreign  # noqa: PLC0415

    return [name for name in (*(options.estimator or ()), options.learner, options.policy) if name and is_foreign(name)]


if __name__ == "__main__":
    entry_point()
