"""Bias and noise of four estimators as B, M and T grow, from the records of `experiments/bias_variance.py`."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figs.style import COLUMN, ESTIMATORS, PARAMETERS

_CRITICS = {"none": "-", "Eq. 8": ":", "Eqs 13–14": "--"}
_AXES = {
    "B": ("batch", "batch size B\n(M = 2, T = 1)"),
    "M": ("episodes", "inner episodes M\n(B = 2, T = 1)"),
    "T": ("steps", "steps T\n(B = 2, M = 2)"),
}
_ROWS = {
    "relative_bias": "bias\n‖E[ĝ] − ∇J̄‖ / ‖∇J̄‖",
    "relative_noise": "noise of one sample\n√variance / ‖∇J̄‖",
    "bias_dominates_from": "meta-episodes from which\nbias exceeds noise",
}
_UNBIASED = 1e-9


def draw(records: Path, picture: Path) -> None:
    """Write the figure: one column for each of B, M and T, rows for bias, noise, and which of them matters."""
    table = pl.read_parquet(records)
    with mpl.rc_context(PARAMETERS):
        figure = Figure(figsize=(COLUMN, 5.4), layout="constrained")
        axes = figure.subplots(len(_ROWS), len(_AXES), sharex="col", sharey="row")
        for row, (quantity, label) in enumerate(_ROWS.items()):
            for column, axis in enumerate(_AXES):
                _panel(axes[row, column], table, axis, quantity)
            axes[row, 0].set_ylabel(label)
        for column, (_, label) in enumerate(_AXES.values()):
            axes[-1, column].set_xlabel(label)
        _legend(figure)
        figure.savefig(picture)


def _panel(panel: Any, table: pl.DataFrame, axis: str, quantity: str) -> None:
    """Bias on a linear scale, where unbiased estimators lie on 0; the others on a logarithmic one."""
    size, _ = _AXES[axis]
    if quantity != "relative_bias":
        panel.set_yscale("log")
    chosen = table.filter((pl.col("axis") == axis) & (pl.col("ego") == "FullHistory"))
    for estimator in table["estimator"].unique(maintain_order=True):
        look = {key: value for key, value in ESTIMATORS[estimator].items() if key != "label"}
        for critic, dashes in _CRITICS.items():
            line = chosen.filter((pl.col("estimator") == estimator) & (pl.col("critic") == critic)).sort(size)
            # A critic changes the bias of no estimator here by more than the width of a line.
            if quantity == "relative_bias" and critic != "none":
                continue
            finite = line.filter(pl.col(quantity).is_finite())
            panel.plot(finite[size], finite[quantity], ls=dashes, **look, mec="white", mew=0.4)
    panel.set_xticks(sorted(chosen[size].unique().to_list()))


def _legend(figure: Figure) -> None:
    estimators = [
        Line2D([], [], color=look["color"], marker=look["marker"], label=look["label"], mec="white", mew=0.4)
        for name, look in ESTIMATORS.items()
        if name in ("CoalaPG", "Reinforce", "MFOS", "BatchUnaware")
    ]
    critics = [
        Line2D([], [], color="#666666", ls=dashes, label="no critic" if critic == "none" else f"critic of {critic}")
        for critic, dashes in _CRITICS.items()
    ]
    figure.legend(handles=[*estimators, *critics], loc="outside upper center", ncols=4, frameon=False)
