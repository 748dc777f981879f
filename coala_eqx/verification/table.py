"""Certificates as a table on a terminal, and as JSON."""

import dataclasses
import datetime
import json
import math
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from coala_eqx.verification.certificate import TOLERANCE, Certificate
from coala_eqx.verification.problems import NamedProblem
from coala_eqx.version import __version__

_STYLES = {
    "holds": "green",
    "unbiased": "green",
    "biased": "yellow",
    "fails": "bold red",
    "inapplicable": "dim",
    "error": "bold red",
}
_CLAIMS = {"shaping_return": "shaping", "last_episode_return": "last episode", "lookahead_return": "look-ahead"}


def print_problems(console: Console, problems: Sequence[NamedProblem]) -> None:
    """What is verified on."""
    table = Table(title="Problems", box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("problem", "game"):
        table.add_column(column, no_wrap=True)
    for column in ("B", "M", "T"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("ego policy", "co-players' learner"):
        table.add_column(column, no_wrap=True)
    for named in problems:
        problem = named.problem
        sizes = (str(problem.batch), str(problem.episodes), str(problem.steps))
        cells = (named.name, named.game, *sizes, type(named.policy).__name__, named.learner)
        table.add_row(*map(Text, cells))  # a Text, as a string would be read as markup
    _print(console, table)


def print_certificates(console: Console, certificates: Sequence[Certificate]) -> None:
    """One row per estimator and problem, and what the columns mean."""
    table = Table(title="Certificates", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("estimator", no_wrap=True)
    table.add_column("problem", no_wrap=True)
    table.add_column("claims", no_wrap=True)
    for column in ("relative bias", "cosine", "variance", "SNR", "outcomes", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for index, certificate in enumerate(certificates):
        ends = index + 1 == len(certificates) or certificates[index + 1].problem != certificate.problem
        table.add_row(*_cells(certificate), end_section=ends)
    _print(console, table)
    console.print(
        f"relative bias: ‖E[ĝ] − ∇J‖ / ‖∇J‖, exact; unbiased means below {TOLERANCE:g}. J: the objective named under "
        f"'claims', in brackets if it is not claimed.\n"
        f"variance: of one sampled ĝ, exact (trace of the covariance). SNR: ‖E[ĝ]‖ / √variance. time: compilation "
        f"included, in the first row also what all rows of the problem share.",
        soft_wrap=True,
        highlight=False,
    )
    for certificate in certificates:
        if certificate.note:
            style = _STYLES[certificate.verdict]
            note = f"{certificate.verdict} on '{certificate.problem}': {certificate.note}"
            console.print(note, soft_wrap=True, highlight=False, markup=False, style=style)


def summary(certificates: Sequence[Certificate]) -> str:
    """One sentence on who keeps what, and one on what could not be judged."""
    claims = [c for c in certificates if c.verdict in ("holds", "fails")]
    failed = [c for c in claims if c.verdict == "fails"]
    if failed:
        names = ", ".join(f"{c.estimator} on '{c.problem}' (relative bias {c.relative_bias:.2g})" for c in failed)
        words = f"{len(failed)} of {len(claims)} claims FAIL: {names}."
    elif claims:
        words = "The claim holds." if len(claims) == 1 else f"All {len(claims)} claims hold."
    else:
        words = "No claim was judged."
    errors = sum(c.verdict == "error" for c in certificates)
    if errors:
        words += f" {errors} of {len(certificates)} rows are errors."
    flat = dict.fromkeys(c.problem for c in certificates if c.gradient_norm < 1e-14)
    if flat:
        words += f" The exact gradient vanishes on {', '.join(map(repr, flat))}: little is proved there."
    return words


def write_json(
    path: Path, certificates: Sequence[Certificate], problems: Sequence[NamedProblem], settings: Any
) -> None:
    """Everything in the table, unrounded, and what made it. Infinities and NaN become `null`.

    **Raises** `OSError` if the file cannot be written.
    """
    content = {
        "coala_eqx": __version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "settings": settings,
        "problems": [
            {
                "name": named.name,
                "game": named.game,
                "batch": named.problem.batch,
                "episodes": named.problem.episodes,
                "steps": named.problem.steps,
                "policy": type(named.policy).__name__,
                "learner": named.learner,
            }
            for named in problems
        ],
        "certificates": [{key: _finite(value) for key, value in dataclasses.asdict(c).items()} for c in certificates],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _cells(certificate: Certificate) -> list[str | Text]:
    objective = _CLAIMS[certificate.objective]
    cells: list[str | Text] = [
        Text(certificate.estimator),
        Text(certificate.problem),
        objective if certificate.claim else f"({objective})",
    ]
    if certificate.verdict in ("inapplicable", "error"):
        cells += ["–"] * 6
    else:
        cells += [
            f"{certificate.relative_bias:.1e}",
            f"{certificate.cosine:.4f}",
            _number(_without_rounding(certificate.variance, certificate.gradient_norm)),
            _number(certificate.snr) if certificate.snr < 1e6 else "∞",
            f"{certificate.outcomes:,}",
            f"{certificate.seconds:.1f} s",
        ]
    verdict = "FAILS" if certificate.verdict == "fails" else certificate.verdict
    return [*cells, Text(verdict, style=_STYLES[certificate.verdict])]


def _without_rounding(variance: float, gradient_norm: float) -> float:
    """A variance that is 0 in exact arithmetic comes out as about (1e-16 ‖g‖)²."""
    return 0.0 if variance < (1e-12 * gradient_norm) ** 2 else variance


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.3g}"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print(console: Console, table: Table) -> None:
    """Print whole, even where the terminal is narrower: a cut cell is worse than a wrapped line."""
    wide = Console(width=10_000, file=console.file)
    needed = Measurement.get(wide, wide.options, table).maximum
    console.width = max(console.width, needed)
    console.print(table)
