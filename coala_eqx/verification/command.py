"""The command `coala-eqx verify`.

It checks its input, certifies, prints each row as soon as it is known, and writes files before it judges.
"""

import argparse
import contextlib
import dataclasses
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import jax
from rich.console import Console

from coala_eqx.arrays import in_words
from coala_eqx.estimators import AbstractEstimator, Inapplicable
from coala_eqx.exact import LIMIT, count_outcomes
from coala_eqx.foreign.apart import describe
from coala_eqx.terminal import Countdown, ReaderGoneError
from coala_eqx.verification.certificate import Certificate, certify_all
from coala_eqx.verification.critics import with_random_critic
from coala_eqx.verification.files import check_outputs, write_json, write_safely
from coala_eqx.verification.kernel_picture import draw_kernels
from coala_eqx.verification.loading import DEFAULT_ESTIMATORS, load_estimators
from coala_eqx.verification.own_problem import is_own, own_problem
from coala_eqx.verification.picture import draw_certificates
from coala_eqx.verification.problems import NamedProblem, default_problems
from coala_eqx.verification.structural import certify_structure
from coala_eqx.verification.table import (
    CertificateTable,
    print_legend,
    print_lines,
    print_problems,
    print_structures,
)
from coala_eqx.verification.verdict import Findings

Estimators = Mapping[str, AbstractEstimator]
"""Estimators, keyed by their names in tables."""

_SECONDS_PER_OUTCOME = 1e-5
_SECONDS_PER_PROBLEM = 2.0
"""Assumed seconds per outcome and estimator, and seconds per problem for tracing. They hold for a slow core and are
used until something has been measured.
"""


def verify(options: argparse.Namespace) -> int:
    """Run `coala-eqx verify` with the given options. **Returns** the exit status.

    **Raises** `ValueError` on bad input, before the computation starts wherever the input alone shows the error.
    """
    jax.config.update("jax_enable_x64", True)
    outputs = {"--json": options.json, "--figure": options.figure, "--kernels": options.kernels}
    sources = options.estimator or [cls.__name__ for cls in DEFAULT_ESTIMATORS]
    named = [*sources, options.learner or "", options.policy or ""]
    read = [name.rpartition(":")[0] for name in named if name.rpartition(":")[0].endswith(".py")]
    out = sys.stdout
    try:
        check_outputs(outputs, [*read, *filter(None, [options.payoffs])], (out, sys.stderr))
    except ImportError as error:
        raise ValueError(str(error)) from error
    if any(path is not None for path in outputs.values()) and hasattr(out, "stops"):
        out.stops = False  # type: ignore[attr-defined] (files are written even if the reader goes away)
    with contextlib.redirect_stdout(sys.stderr), _interruptible(), _rarely_collected():  # an estimator may print
        estimators = load_estimators(sources)
        return _Run(options, estimators, out).run()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that files are still written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, _: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt(number)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _rarely_collected() -> Iterator[None]:
    """Run the garbage collector less often. Tracing makes many long-lived objects, and each collection passes through
    all of them.
    """
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Run:
    """One run of the command."""

    def __init__(self, options: argparse.Namespace, estimators: Estimators, out: Any):
        self._options = options
        self._estimators = estimators
        self._console = Console(file=out, highlight=False)
        self._out = out
        self._limit = options.limit or LIMIT
        self._findings = Findings()
        self._problems: tuple[NamedProblem, ...] = ()
        self._seconds = self._work = 0.0

    def run(self) -> int:
        own = is_own(self._options)
        if own:
            named, remark = own_problem(self._options, self._limit)
            self._problems = (named,)
        else:
            remark = ""
        ended: BaseException | None = None
        try:
            self._structures()
            if remark:
                print_lines(self._console, remark)
            if not own:
                self._problems = default_problems(self._options.seed)
            self._certificates()
        except (KeyboardInterrupt, ValueError) as error:
            ended = error
        except ReaderGoneError:
            raise
        except BaseException as error:  # foreign code
            ended = ValueError(describe(error))
        written = self._write(complete=ended is None)
        if self._findings.certificates:
            print_legend(self._console, self._findings.certificates)
        if self._findings.certificates or self._findings.structures:
            print_lines(self._console, self._findings.words())
        for line in written:
            print_lines(self._console, line)
        if ended is not None:
            raise ended
        if None in written.values():
            return 2
        nobody_asked = self._estimators if own and not self._options.estimator else ()
        return self._findings.status(nobody_asked)

    def _structures(self) -> None:
        """Certify and print what holds for all games."""
        others = []
        for name, estimator in self._estimators.items():
            try:
                certificate = certify_structure(estimator)
            except Inapplicable:
                others.append(name)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # foreign code
                self._findings.broken[name] = describe(error)
            else:
                self._findings.structures.append(dataclasses.replace(certificate, estimator=name))
        print_structures(self._console, self._findings.structures, others)
        for name, reason in self._findings.broken.items():
            print_lines(self._console, f"{name}: its structure cannot be examined: {reason}")

    def _certificates(self) -> None:
        """Certify one problem after the other, and print each row as soon as it is known."""
        counts = [_count(named) for named in self._problems]
        print_problems(self._console, self._problems, counts)
        names = [list(self._estimators), [problem.name for problem in self._problems]]
        table: CertificateTable | None = None
        for number, (named, count) in enumerate(zip(self._problems, counts, strict=True), start=1):
            countdown = Countdown(sys.stderr)
            countdown.say(f"{number} of {len(self._problems)}, {named.name}: {self._forecast(count)}")
            began = time.monotonic()
            for certificate in self._rows(named, countdown):
                self._findings.certificates.append(certificate)
                if table is None:
                    table = CertificateTable(self._console, *names)
                    table.head()
                table.row(certificate)
            if count is not None and count <= self._limit:
                self._seconds += time.monotonic() - began
                self._work += self._units(count)

    def _rows(self, named: NamedProblem, countdown: Countdown) -> Iterator[Certificate]:
        """Yield the certificates of one problem. Each carries the estimator's name in tables."""
        row = 1

        def show(done: int, total: int) -> None:
            countdown.show(f"{named.name}, row {row} of {len(self._estimators)}: {done:,} of {total:,} outcomes")

        estimators = list(self._estimators.values())
        if self._options.critic == "learner":
            estimators = [
                with_random_critic(one, named.problem, named.policy, self._options.seed) for one in estimators
            ]
        made = certify_all(estimators, named.problem, named.policy, name=named.name, limit=self._limit, progress=show)
        try:
            for name, certificate in zip(self._estimators, made, strict=True):
                row += 1
                countdown.clear()
                yield dataclasses.replace(certificate, estimator=name)
        except (KeyboardInterrupt, ReaderGoneError, ValueError, GeneratorExit):
            raise
        except BaseException as error:  # whatever a user's game, learner or estimator may raise
            raise ValueError(f"'{named.name}' cannot be enumerated: {describe(error)}") from error
        finally:
            countdown.clear()

    def _units(self, count: int) -> float:
        """Estimated work for a problem, in seconds, by the pace that is assumed before anything is measured."""
        return _SECONDS_PER_PROBLEM + _SECONDS_PER_OUTCOME * count * len(self._estimators)

    def _forecast(self, count: int | None) -> str:
        if count is None:
            return "outcomes cannot be counted"
        if count > self._limit:
            return f"{in_words(count)} outcomes"
        pace = self._seconds / self._work if self._work else 1.0
        seconds = pace * self._units(count)
        about = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
        estimators = f"{len(self._estimators)} estimator{'s' * (len(self._estimators) != 1)}"
        return f"{count:,} outcomes, {estimators}, about {about}"

    def _draw_kernels(self, path: Path) -> None:
        shown = [one for one in self._findings.structures if one.verdict != "not linear"]
        draw_kernels(path, [one.source for one in shown if not one.source.needs_shaping])

    def _write(self, *, complete: bool) -> dict[str, Path | None]:
        """Write the files that were asked for. A file that cannot be written does not stop the others.

        **Returns** one line for each file, with its path if it was written and `None` if it was not.
        """
        options, findings = self._options, self._findings
        settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
        del settings["run"]
        settings["limit"] = self._limit
        wishes: list[tuple[Path | None, Callable[[Path], Any]]] = [
            (
                options.json,
                lambda path: write_json(
                    path, findings.certificates, self._problems, settings, findings.structures, complete=complete
                ),
            ),
            (options.figure, lambda path: write_safely(path, lambda p: draw_certificates(p, findings.certificates))),
        ]
        wishes.append((options.kernels, lambda path: write_safely(path, self._draw_kernels)))
        written: dict[str, Path | None] = {}
        for path, write in wishes:
            if path is None:
                continue
            try:
                write(path)
            except Exception as error:  # a drawing library may raise anything
                reason = error.strerror if isinstance(error, OSError) and error.strerror else describe(error)
                print(f"coala-eqx: cannot write {str(path)!r}: {reason}", file=sys.stderr)
                written[f"not written: {path}"] = None
            else:
                written[f"wrote {path}"] = path
        return written


def _count(named: NamedProblem) -> int | None:
    try:
        return count_outcomes(named.problem)
    except ValueError:
        return None
