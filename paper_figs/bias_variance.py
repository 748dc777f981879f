"""Bias and noise of four estimators as B, M and T grow: a figure and a table, from an experiment's records."""

import math
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, StrMethodFormatter

from paper_figs.style import COLUMN, ESTIMATORS, styled

_LINES: dict[str, dict[str, Any]] = {"none": {"ls": "-"}, "Eqs 13–14": {"ls": "--", "mfc": "white"}}
"""Line style of each critic."""

_AXES = {
    "B": ("batch", "batch size B\n(M = 2, T = 1)"),
    "M": ("episodes", "inner episodes M\n(B = 2, T = 1)"),
}
_ROWS = {
    "relative_bias": "bias\n‖E[ĝ] − ∇J̄‖ / ‖∇J̄‖",
    "cosine": "direction\ncosine of E[ĝ] and ∇J̄",
    "relative_noise": "noise of one sample\n√variance / ‖∇J̄‖",
    "bias_dominates_from": "meta-episodes from which\nbias exceeds noise",
}
_ORDER = {"Reinforce": 7.0, "CoalaPG": 4.0, "BatchUnaware": 4.0, "MFOS": 4.0}
"""Drawing order and marker size of each estimator, so that curves that coincide stay visible."""

_LEAST_BIAS = 0.1
"""Bias below which the axis is linear."""


@styled
def draw(records: Path, picture: Path) -> None:
    """Columns are the sizes B and M. Rows are relative bias, cosine with the true gradient, noise, and the number of
    meta-episodes from which bias exceeds noise, if there is one. T, the critic of Eq. 8 and an ego agent that sees only
    the last step are in the [table](../paper_figs/reference/bias-variance/bias-variance.md).
    """
    table = pl.read_parquet(records)
    figure = Figure(figsize=(COLUMN, 7.0), layout="constrained")
    axes = figure.subplots(len(_ROWS), len(_AXES), sharex="col", sharey="row")
    for row, (quantity, label) in enumerate(_ROWS.items()):
        for column, axis in enumerate(_AXES):
            _panel(axes[row, column], table, axis, quantity)
        axes[row, 0].set_ylabel(label)
    for column, (_, label) in enumerate(_AXES.values()):
        axes[-1, column].set_xlabel(label)
    _legend(figure)
    figure.savefig(picture)


_COLUMNS = {
    "axis": "sweep",
    "ego": "ego policy",
    "batch": "B",
    "episodes": "M",
    "steps": "T",
    "estimator": "estimator",
    "critic": "critic",
    "relative_bias": "relative bias",
    "cosine": "cosine",
    "relative_noise": "relative noise",
    "snr": "SNR",
    "bias_dominates_from": "bias exceeds noise from",
    "outcomes": "outcomes",
}


def write_table(records: Path, page: Path) -> None:
    """Write all records as a Markdown table, numbers to three digits."""
    table = pl.read_parquet(records)
    rows = [list(_COLUMNS.values()), ["---"] * len(_COLUMNS)]
    rows += [[_in_words(row[column]) for column in _COLUMNS] for row in table.iter_rows(named=True)]
    page.write_text("".join(f"| {' | '.join(row)} |\n" for row in rows), encoding="utf-8")


def _in_words(value: Any) -> str:
    if isinstance(value, float):
        return "never" if math.isinf(value) else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _panel(panel: Any, table: pl.DataFrame, axis: str, quantity: str) -> None:
    """Draw one quantity over one size. Unbiased estimators do not appear in the last row."""
    size, _ = _AXES[axis]
    if quantity == "relative_bias":
        panel.set_yscale("symlog", linthresh=_LEAST_BIAS)
        panel.set_yticks([0, 0.1, 1, 10], ["0", "0.1", "1", "10"])
        panel.set_ylim(-_LEAST_BIAS / 2, 20)
        panel.yaxis.set_minor_locator(NullLocator())
    elif quantity == "cosine":
        panel.axhline(0, color="black", lw=0.6)
    else:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    chosen = table.filter(pl.col("axis") == axis, pl.col("ego") == "FullHistory")
    for critic, line_look in _LINES.items():
        for estimator, marker_size in _ORDER.items():
            look = {key: value for key, value in ESTIMATORS[estimator].items() if key != "label"}
            look |= {"ms": marker_size, "mew": 0.8, **line_look}
            line = chosen.filter(pl.col("critic") == critic, pl.col("estimator") == estimator)
            line = line.filter(pl.col(quantity).is_finite()).sort(size)
            panel.plot(line[size], line[quantity], **look)
    panel.set_xticks(sorted(chosen[size].unique().to_list()))


def _legend(figure: Figure) -> None:
    estimators = [
        Line2D([], [], **{key: look[key] for key in ("color", "marker", "label")})
        for look in (ESTIMATORS[name] for name in _ORDER)
    ]
    names = "no critic", "critic of Eqs 13–14"
    critics = [
        Line2D([], [], color="#666666", marker="o", **look, label=name)
        for look, name in zip(_LINES.values(), names, strict=True)
    ]
    figure.legend(handles=[*estimators, *critics], loc="outside upper center", ncols=3, frameon=False, columnspacing=1)
