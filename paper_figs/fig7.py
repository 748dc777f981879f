"""Figure 7: rewards, division of cleaning, and zaps where meta agents of mixed pools meet."""

from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from experiments.tables import SHAPING, WITH_ADVANTAGES
from paper_figs.curves import DEVIATION, STANDARD_ERROR, curve, label, read, shared_legend
from paper_figs.style import COLUMN, look, styled

MEASURES = {
    "together": "reward\nper step (↑)",
    "cleaning_discrepancy_together": "cleaning\ndiscrepancy (↓)",
    "zaps_together": "share of steps\nzapping (↓)",
}
"""Axis labels of the measures. An arrow points in the direction that is better in the paper."""


@styled
def draw(records: Path, picture: Path) -> None:
    """Above: means and standard deviations over seeds, where each seed is the mean of its agents. The zaps also show an
    agent that only shapes learners. Below: COALA-PG's pool minus each other pool from the same seed, mean and standard
    error over these pairs.

    The preset `cpu` has the smallest possible map: one river cell and one orchard cell (`docs/small_size.md`).
    """
    shaping = pl.col("estimator") == SHAPING
    table = read(records).with_columns(zaps_together=pl.when(shaping).then("zaps").otherwise("zaps_together"))
    figure = Figure(figsize=(COLUMN, 3.6), layout="constrained")
    axes = figure.subplots(2, len(MEASURES), sharex=True)
    for (above, below), (column, axis) in zip(axes.T, MEASURES.items(), strict=True):
        drawn = table if column.startswith("zaps") else table.filter(~shaping)
        by_seed = drawn.group_by("estimator", "seed", "iteration", maintain_order=True).agg(pl.mean(column))
        for (name,), of_name in by_seed.group_by("estimator", maintain_order=True):
            curve(above, of_name, column, DEVIATION, **_look(str(name)))
        ours = by_seed.filter(pl.col("estimator") == WITH_ADVANTAGES[0]).select("seed", "iteration", ours=column)
        for (name,), theirs in by_seed.filter(pl.col("estimator") != WITH_ADVANTAGES[0]).group_by(
            "estimator", maintain_order=True
        ):
            pairs = theirs.join(ours, on=("seed", "iteration")).with_columns(pl.col("ours") - pl.col(column))
            curve(below, pairs, "ours", STANDARD_ERROR, **_look(str(name)) | {"label": None})
        label(above, "", axis)
        label(below, "iteration", "", lines=(0,))
    axes[1, 0].set_ylabel("COALA-PG's less\nthe other's")
    shared_legend(figure, columnspacing=1.2)
    figure.savefig(picture)


def _look(name: str) -> dict[str, Any]:
    return look("CoalaPG") | {"ls": ":", "label": "COALA-PG, learners only"} if name == SHAPING else look(name)
