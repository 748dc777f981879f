"""The bias–variance picture."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coala_eqx.verification.certificate import TOLERANCE, Certificate

_COLOURS = ("#0072B2", "#D55E00", "#E69F00", "#009E73", "#000000", "#56B4E9", "#CC79A7")
"""Okabe and Ito's palette, told apart by colour-blind readers; in order of appearance, then again."""

_MARKERS = "osD^v<>Ph*"
_STRIP = 1.6
"""Width of the strip for the unbiased, in decades of the axis of biases to the right of it."""


def draw_certificates(path: Path, certificates: Sequence[Certificate]) -> None:
    """Write a figure with one panel per problem: bias to the right, noise upwards.

    Estimators whose bias is zero up to rounding stand side by side in the shaded strip, so that none
    hides another; to the right of it the axis is logarithmic.

    **Raises** `ImportError` if matplotlib is missing, `ValueError` if the suffix is no picture format,
    `OSError` if the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 (an optional dependency)
        from matplotlib.lines import Line2D  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(f"{error}; figures need: pip install 'coala_eqx[figures]'") from error

    shown = [c for c in certificates if c.verdict not in ("inapplicable", "error")]
    problems = list(dict.fromkeys(c.problem for c in shown))
    names = list(dict.fromkeys(c.estimator for c in shown))
    rows = max(1, math.ceil(len(problems) / 4))
    columns = max(1, math.ceil(len(problems) / rows))
    figure = Figure(figsize=(max(7.0, 2.2 + 2.4 * columns), 1.5 + 2.2 * rows), layout="constrained", dpi=150)
    axes = figure.subplots(rows, columns, squeeze=False)
    scale = _Scale(shown, names)
    for panel, axis in enumerate(axes.flat):
        if panel >= len(problems):
            axis.axis("off")
            continue
        _panel(axis, [c for c in shown if c.problem == problems[panel]], scale, left=panel % columns == 0)
        axis.set_title(problems[panel], fontsize=10, parse_math=False)
    title = (
        f"In the shaded strip: unbiased (below {TOLERANCE:g}).",
        "Left and right mean nothing there.",
        "Further right: more biased. Higher: noisier.",
    )
    figure.suptitle((" " if columns > 3 else "\n").join(title), fontsize=9)
    figure.supxlabel("relative bias  ‖E[ĝ] − ∇J‖ / ‖∇J‖,  J what each estimates", fontsize=9)
    figure.supylabel("noise of one sample  √variance / ‖∇J‖", fontsize=9)
    handles = [Line2D([], [], **scale.style(name)) for name in names]
    figure.legend(handles, names, loc="outside right upper", frameon=False, fontsize=8)
    figure.savefig(path)


class _Scale:
    """Where a certificate goes, the same in all panels."""

    def __init__(self, certificates: Sequence[Certificate], names: list[str]):
        self.names = names
        biases = [c.relative_bias for c in certificates if c.relative_bias > TOLERANCE and c.relative_bias < math.inf]
        noises = [_noise(c) for c in certificates if _noise(c) > 0]
        self.least_decade = math.floor(math.log10(min([0.1, *biases])))
        self.last_decade = math.ceil(math.log10(max([1.0, *biases])))
        self.bottom = 10.0 ** math.floor(math.log10(min([1.0, *noises])) - 0.3)
        self.top = 10.0 ** math.ceil(math.log10(max([1.0, *noises])) + 0.1)

    def right(self) -> float:
        return _STRIP + self.last_decade - self.least_decade + 0.15

    def ticks(self) -> tuple[list[float], list[str]]:
        decades = range(self.least_decade, self.last_decade + 1)
        step = max(1, math.ceil(len(decades) / 5))
        shown = [d for d in reversed(decades) if (self.last_decade - d) % step == 0]
        return [_STRIP / 2, *(_STRIP + d - self.least_decade for d in shown)], ["0", *(f"{10.0**d:g}" for d in shown)]

    def place(self, certificate: Certificate) -> tuple[float, float]:
        number = self.names.index(certificate.estimator)
        if certificate.verdict in ("holds", "unbiased"):
            x = _STRIP * (number + 0.5) / len(self.names)
        else:
            decade = math.log10(min(certificate.relative_bias, 10.0**self.last_decade))
            x = _STRIP + max(decade - self.least_decade, 0.0)
        return x, max(_noise(certificate), self.bottom)

    def style(self, name: str) -> dict[str, Any]:
        number = self.names.index(name)
        look = {"marker": _MARKERS[number % len(_MARKERS)], "color": _COLOURS[number % len(_COLOURS)]}
        return look | {"ls": "none", "ms": 6.5, "mec": "white", "mew": 0.6, "clip_on": False, "zorder": 3}


def _panel(axis: Any, certificates: Sequence[Certificate], scale: _Scale, *, left: bool) -> None:
    axis.set_yscale("log")
    axis.set_xlim(0, scale.right())
    axis.set_ylim(scale.bottom, scale.top)
    axis.axvspan(0, _STRIP, color="#009E73", alpha=0.12, lw=0)
    axis.set_xticks(*scale.ticks())
    axis.tick_params(labelsize=8, labelleft=left)
    axis.grid(visible=True, which="major", lw=0.3, alpha=0.6)
    for certificate in certificates:
        axis.plot(*scale.place(certificate), **scale.style(certificate.estimator))
    if any(_noise(c) == 0 for c in certificates):
        axis.text(_STRIP * 1.05, scale.bottom * 1.1, "bottom edge: no noise", color="#666666", fontsize=7, va="bottom")


def _noise(certificate: Certificate) -> float:
    """√variance / ‖∇J‖, with what is 0 but for rounding as 0."""
    noise = math.sqrt(certificate.variance) / certificate.gradient_norm if certificate.gradient_norm > 0 else 0.0
    return noise if noise > 1e-12 else 0.0
