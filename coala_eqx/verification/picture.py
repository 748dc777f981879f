"""The picture of certificates: a map of problems × estimators."""

import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coala_eqx.extras import require_matplotlib
from coala_eqx.verification.certificate import Certificate
from coala_eqx.verification.table import claim_in_words

_LEAST, _MOST = 1e-3, 10.0
"""Relative biases between which the colour changes."""

_UNBIASED, _NOTHING, _TROUBLE = "#E3F1E7", "#EFEFEF", "#000000"
_CAPTION = (
    "J: the return named under the estimator, in brackets if it claims nothing. Green: unbiased. Framed: a claim that "
    "fails, or was not judged. Noise: of one sampled estimate, √variance / ‖∇J‖."
)
_LETTERS = 14
"""Number of letters that fit above a column."""


def draw_certificates(path: Path, certificates: Sequence[Certificate]) -> None:
    """Write a figure with one row for each problem and one column for each estimator.

    The colour of a cell is the relative bias. Its text says whether the claim holds, how large the bias is, and how
    noisy one sampled estimate is.

    **Raises** `ImportError` if matplotlib is missing; `ValueError` if the suffix is not a picture format; `OSError` if
    the file cannot be written.
    """
    require_matplotlib("The picture")
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415 (an optional dependency)
    from matplotlib.colors import LogNorm  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    problems = list(dict.fromkeys(c.problem for c in certificates))
    names = list(dict.fromkeys(c.estimator for c in certificates))
    longest = max(map(len, problems), default=0)
    width, height = 2.0 + 0.085 * longest + 1.06 * max(len(names), 3), 1.9 + 0.46 * max(len(problems), 2)
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    axis = figure.subplots()
    colours = ScalarMappable(LogNorm(_LEAST, _MOST), "Oranges")
    for certificate in certificates:
        place = names.index(certificate.estimator), problems.index(certificate.problem)
        _draw_cell(axis, place, certificate, colours)
    axis.set_xlim(-0.5, max(len(names), 1) - 0.5)
    axis.set_ylim(max(len(problems), 1) - 0.5, -0.5)
    claims = {c.estimator: claim_in_words(c) for c in certificates}
    heads = [f"{_wrapped(name)}\n{claims[name]}" for name in names]
    axis.set_xticks(range(len(names)), heads, fontsize=9, parse_math=False)
    axis.set_yticks(range(len(problems)), problems, fontsize=9, parse_math=False)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    bar = figure.colorbar(colours, ax=axis, extend="both", fraction=0.04, pad=0.02, aspect=25)
    bar.set_label("relative bias  ‖E[ĝ] − ∇J‖ / ‖∇J‖", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle("Bias (colour) and noise of every estimator on every problem", fontsize=10)
    figure.supxlabel(textwrap.fill(_CAPTION, int(13.5 * width)), fontsize=8)
    figure.savefig(path)


def _draw_cell(axis: Any, place: tuple[int, int], certificate: Certificate, colours: Any) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    x, y = place
    words, colour, trouble = _look(certificate, colours)
    edge = {"edgecolor": _TROUBLE, "linewidth": 2.0, "zorder": 2} if trouble else {"edgecolor": "white", "linewidth": 1}
    inset = 0.03 if trouble else 0.0
    size = 1 - 2 * inset
    axis.add_patch(Rectangle((x - 0.5 + inset, y - 0.5 + inset), size, size, facecolor=colour, **edge))
    red, green, blue = _rgb(colour)
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
    axis.text(
        x,
        y,
        words,
        ha="center",
        va="center",
        fontsize=7,
        zorder=3,
        color="white" if dark else "#202020",
        linespacing=1.25,
    )


def _look(certificate: Certificate, colours: Any) -> tuple[str, Any, bool]:
    """The text of a cell, its colour, and whether it needs attention."""
    verdict, bias = certificate.verdict, certificate.relative_bias
    if verdict in ("inapplicable", "error", "not resolved"):
        return verdict.replace(" ", "\n"), _NOTHING, verdict != "inapplicable"
    noise = _noise(certificate)
    second = f"noise {noise:.2g}" if noise > 0 else "no noise"
    if verdict in ("holds", "unbiased"):
        return f"{verdict}\n{second}", _UNBIASED, False
    size = f"{bias:.2g}" if bias >= 1e-3 else f"{bias:.1e}"
    size = size if math.isfinite(bias) else "∞"
    first = f"FAILS: {size}" if verdict == "fails" else f"bias {size}"
    return f"{first}\n{second}", colours.to_rgba(min(max(bias, _LEAST), _MOST)), verdict == "fails"


def _rgb(colour: Any) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb  # noqa: PLC0415

    return to_rgb(colour)


def _wrapped(name: str) -> str:
    """Break a name into lines that fit above a column: before capitals and after other signs. It is never cut."""
    lines = [""]
    for part in re.findall(r".+?(?:(?<=[a-z])(?=[A-Z])|(?<=[^\w])|$)", name):
        for start in range(0, len(part), _LETTERS):
            piece = part[start : start + _LETTERS]
            if len(lines[-1] + piece) > _LETTERS:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.strip() for line in lines)


def _noise(certificate: Certificate) -> float:
    """√variance / ‖∇J‖; rounding errors count as 0."""
    noise = math.sqrt(certificate.variance) / certificate.gradient_norm if certificate.gradient_norm > 0 else 0.0
    return noise if noise > 1e-12 else 0.0
