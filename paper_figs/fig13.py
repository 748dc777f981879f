"""Figure 13: naive reward, pollution, apples within a meta-episode after training."""

from pathlib import Path

import polars as pl

from paper_figs.curves import read
from paper_figs.measures import draw_measures
from paper_figs.style import styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Means and standard deviations over seeds.

    The preset `cpu` has the smallest possible map: one river cell and one orchard cell (`docs/small_size.md`).
    """
    table = read(records).filter(pl.col("panel") == "episodes")
    figure = draw_measures(
        [
            (table, "inner episode", "naive", "learner's reward\nper step"),
            (table, "inner episode", "pollution", "patches of dirt"),
            (table, "inner episode", "apples", "apples"),
        ]
    )
    figure.savefig(picture)
