"""Certificates on a terminal: tables whose rows are printed as soon as they are known, and a legend for the columns."""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from coala_eqx.arrays import in_words
from coala_eqx.terminal import spell
from coala_eqx.verification.certificate import Certificate
from coala_eqx.verification.problems import NamedProblem
from coala_eqx.verification.structural import StructuralCertificate

_STYLES = {
    "holds": "green",
    "unbiased": "green",
    "biased": "yellow",
    "not linear": "yellow",
    "fails": "bold red",
    "not resolved": "bold red",
    "inapplicable": "dim",
    "error": "bold red",
}
_CLAIMS = {"shaping_return": "shaping", "last_episode_return": "last episode", "lookahead_return": "look-ahead"}
_WITHOUT_NUMBERS = ("inapplicable", "error")


class Columns:
    """A table with fixed column widths, so that a row can be printed before the next one is known.

    **Arguments:**

    - `console`: the console to print on. Its encoding decides how characters are spelled.
    - `columns`: heading and width of each column. A negative width marks a column of numbers, which are aligned right.
    """

    def __init__(self, console: Console, columns: Sequence[tuple[str, int]]):
        self._console = console
        self._heads = [self._spelled(head) for head, _ in columns]
        self._widths = [max(abs(width), cell_len(head)) for (_, width), head in zip(columns, self._heads, strict=True)]
        self._right = [width < 0 for _, width in columns]

    def head(self, title: str) -> None:
        """Print a title, the headings and a line."""
        print_lines(self._console, title)
        self.row(self._heads, style="bold")
        print_lines(self._console, self._spelled(" " + "─" * (sum(self._widths) + 2 * len(self._widths))))

    def row(self, cells: Iterable[str], *, style: str = "", last_style: str | None = None) -> None:
        """Print one row. A cell that is too wide shifts those after it and is never cut."""
        line = Text(style=style)
        spelled = [self._spelled(cell) for cell in cells]
        for number, (cell, width, right) in enumerate(zip(spelled, self._widths, self._right, strict=True)):
            padding = " " * (width - cell_len(cell))
            padded = padding + cell if right else cell + padding
            last = number + 1 == len(spelled)
            line.append("  " + (padded.rstrip() if last else padded), style=last_style if last else None)
        print_lines(self._console, line)

    def _spelled(self, cell: str) -> str:
        return spell(cell, self._console.encoding)


class CertificateTable:
    """The table of certificates, printed row by row.

    **Arguments:**

    - `console`: the console to print on.
    - `estimators`, `problems`: all names that will appear.
    """

    def __init__(self, console: Console, estimators: Sequence[str], problems: Sequence[str]):
        self._console = console
        columns = [("estimator", _widest(estimators)), ("problem", _widest(problems)), ("claims", 14)]
        columns += [("relative bias", -8), ("rounding", -8)]
        columns += [("cosine", -8), ("variance", -9), ("SNR", -8), ("outcomes", -11), ("time", -8), ("verdict", 12)]
        self._columns = Columns(console, columns)
        self._problem: str | None = None

    def head(self) -> None:
        """Print the title and the headings."""
        self._columns.head("Certificates")

    def row(self, certificate: Certificate) -> None:
        """Print one certificate. An empty line separates problems."""
        if self._problem not in (None, certificate.problem):
            print_lines(self._console, "")
        self._problem = certificate.problem
        verdict = "FAILS" if certificate.verdict == "fails" else certificate.verdict
        self._columns.row([*_cells(certificate), verdict], last_style=_STYLES[certificate.verdict])


def print_lines(console: Console, text: str | Text, *, style: str = "") -> None:
    """Print text unchanged, wider than the terminal if necessary."""
    console.print(text, soft_wrap=True, highlight=False, markup=False, emoji=False, style=style or None)


def print_problems(console: Console, problems: Sequence[NamedProblem], counts: Sequence[int | None] = ()) -> None:
    """Print the problems, with numbers of outcomes where `counts` gives them."""
    rows = []
    for named, count in zip(problems, counts or [None] * len(problems), strict=True):
        problem = named.problem
        sizes = (str(problem.batch), str(problem.episodes), str(problem.steps))
        outcomes = [in_words(count) if count is not None else "–"] if counts else []
        rows.append([named.name, named.game, *sizes, type(named.policy).__name__, *outcomes, named.learner])
    heads = ["problem", "game", "B", "M", "T", "ego policy", *["outcomes"] * bool(counts), "co-players' learner"]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    numbers = ("B", "M", "T", "outcomes")
    columns = [(head, -width if head in numbers else width) for head, width in zip(heads, widths, strict=True)]
    table = Columns(console, columns)
    table.head("Problems")
    for row in rows:
        table.row(row)
    print_lines(console, "")


def print_structures(
    console: Console, structures: Sequence[StructuralCertificate], judged_otherwise: Sequence[str] = ()
) -> None:
    """Print one row for each structural certificate, then the counterexamples to refuted claims.

    **Arguments:**

    - `console`: the console to print on.
    - `structures`: the structural certificates.
    - `judged_otherwise`: names of estimators that are not score-function estimators.
    """
    columns = [("estimator", _widest([s.estimator for s in structures])), ("claims", 14), ("sizes", 20)]
    columns += [("downstream wrong", -18), ("free in use", -9), ("forbidden values", -9), ("verdict", 12)]
    table = Columns(console, columns)
    table.head("Structural certificates")
    for structure in structures:
        wrong = f"{structure.wrong:,} of {structure.downstream:,}"
        numbers = (wrong, f"{structure.free_in_use:,}", f"{structure.forbidden_values:,}")
        verdict = structure.verdict if structure.kept else structure.verdict.upper()
        style = _STYLES[structure.verdict] if structure.kept else _STYLES["fails"]
        row = (structure.estimator, claim_in_words(structure), _sizes(structure.sizes), *numbers, verdict)
        table.row(row, last_style=style)
    print_lines(
        console,
        "downstream: weights of rewards that the action influences; the objective determines them (1/B for shaping). "
        "free: weights of all other rewards. forbidden: weights of values that the action influences.",
    )
    for structure in structures:
        # A counterexample is searched for where a claim is refuted.
        found = None if structure.kept else structure.counterexample
        if structure.verdict != "unbiased":
            words = structure.note if found is None else found.text
            print_lines(console, f"{structure.estimator}: {words.rstrip('.')}.")
    if judged_otherwise:
        print_lines(
            console, f"{', '.join(judged_otherwise)}: not score-function estimators, judged by enumeration only."
        )
    print_lines(console, "")


def print_certificates(console: Console, certificates: Sequence[Certificate]) -> None:
    """Print one row for each estimator and problem, then the legend."""
    names = [[getattr(c, what) for c in certificates] for what in ("estimator", "problem")]
    table = CertificateTable(console, *names)
    table.head()
    for certificate in certificates:
        table.row(certificate)
    print_legend(console, certificates)


def print_legend(console: Console, certificates: Sequence[Certificate]) -> None:
    """Print the meaning of the columns and the notes of the certificates."""
    print_lines(
        console,
        "\nA certificate holds for this estimator, on this problem, at this policy. A structural certificate holds for "
        "every game, learner and policy at its sizes.\n"
        "relative bias: ‖E[ĝ] − ∇J‖ / ‖∇J‖, exact. rounding: a bound on its error. J: the objective named under "
        "'claims', in brackets if it is not claimed.\n"
        "variance: of one sampled ĝ, exact (trace of the covariance). SNR: ‖E[ĝ]‖ / √variance. time: all rows of "
        "a problem share one enumeration and divide its time equally.",
    )
    for certificate in certificates:
        if certificate.note:
            note = f"{certificate.estimator} on '{certificate.problem}', {certificate.verdict}: {certificate.note}"
            print_lines(console, " ".join(note.split()), style=_STYLES[certificate.verdict])


def _widest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=0)


def _sizes(sizes: Sequence[tuple[int, int, int]]) -> str:
    largest = ", ".join(str(max(size)) for size in zip(*sizes, strict=True))
    return f"({largest})" if len(sizes) == 1 else f"{len(sizes):,}, up to ({largest})"


def claim_in_words(certificate: Certificate | StructuralCertificate) -> str:
    """Name of the objective, in brackets if the estimator does not claim it."""
    objective = _CLAIMS.get(certificate.objective, str(certificate.objective))
    return objective if certificate.claim else f"({objective})"


def _cells(certificate: Certificate) -> list[str]:
    cells = [certificate.estimator, certificate.problem, claim_in_words(certificate)]
    if certificate.verdict in _WITHOUT_NUMBERS:
        return [*cells, *["–"] * 7]
    return [
        *cells,
        f"{certificate.relative_bias:.1e}",
        f"{certificate.error_bound:.1e}",
        f"{certificate.cosine:.4f}",
        _number(_without_rounding(certificate.variance, certificate.gradient_norm)),
        _number(certificate.snr) if certificate.snr < 1e6 else "∞",
        f"{certificate.outcomes:,}",
        f"{certificate.seconds:.1f} s",
    ]


def _without_rounding(variance: float, gradient_norm: float) -> float:
    """Set a variance to 0 if it is a rounding error: a vanishing variance comes out as about (1e-16 ‖g‖)²."""
    return 0.0 if variance < (1e-12 * gradient_norm) ** 2 else variance


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.3g}"
