"""Measures of a game, for each estimator."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from paper_figs.curves import DEVIATION, curve, shared_legend
from paper_figs.style import COLUMN, look


def draw_measures(
    measures: Sequence[tuple[pl.DataFrame, str, str, str]],
    by: str = "estimator",
    look: Callable[[str], dict[str, Any]] = look,
) -> Figure:
    """Draw mean and standard deviation over seeds, with one panel for each measure.

    - `measures`: for each panel the records, the meaning of their `iteration`, the column, and the label of its axis.
    - `by`: the column that tells curves apart; `look` maps its values to their looks.
    """
    columns = min(3, len(measures))
    rows = -(-len(measures) // columns)
    figure = Figure(figsize=(COLUMN, 1.6 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (table, x, column, label) in zip(panels, measures, strict=False):
        for (name,), of_name in table.group_by(by, maintain_order=True):
            curve(panel, of_name, column, DEVIATION, **look(str(name)))
        panel.set_xlabel(x)
        panel.set_ylabel(label)
    for panel in panels[len(measures) :]:
        panel.remove()
    shared_legend(figure)
    return figure
