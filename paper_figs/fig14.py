"""Figure 14: pollution and apples where meta agents of mixed pools meet."""

from pathlib import Path

import polars as pl

from experiments.tables import SHAPING
from paper_figs.curves import read
from paper_figs.measures import draw_measures
from paper_figs.style import styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Means and standard deviations over seeds; each seed is the mean of its agents.

    The preset `cpu` has the smallest possible map: one river cell and one orchard cell (`docs/small_size.md`).
    """
    table = read(records).filter(pl.col("estimator") != SHAPING)
    figure = draw_measures(
        [
            (table, "iteration", "pollution_together", "patches of dirt"),
            (table, "iteration", "apples_together", "apples"),
        ]
    )
    figure.savefig(picture)
