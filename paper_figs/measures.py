"""What a game measures, by estimator."""

from collections.abc import Sequence

import polars as pl
from matplotlib.figure import Figure

from paper_figs.curves import DEVIATION, curve
from paper_figs.style import COLUMN, look


def draw_measures(measures: Sequence[tuple[pl.DataFrame, str, str, str]]) -> Figure:
    """Mean and standard deviation over seeds (and agents), a panel for each measure.

    `measures`: records, what their `iteration` is, the column, and what stands at its axis.
    """
    columns = min(3, len(measures))
    rows = -(-len(measures) // columns)
    figure = Figure(figsize=(COLUMN, 1.6 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, (table, x, column, label) in zip(panels, measures, strict=False):
        for (name,), of_name in table.group_by("estimator", maintain_order=True):
            curve(panel, of_name, column, DEVIATION, **look(str(name)))
        panel.set_xlabel(x)
        panel.set_ylabel(label)
    for panel in panels[len(measures) :]:
        panel.remove()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure
