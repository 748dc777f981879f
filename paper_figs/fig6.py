"""Figure 6: rewards over training; cleaning discrepancy and zaps within a meta-episode after it."""

from pathlib import Path

import polars as pl

from paper_figs.curves import read
from paper_figs.measures import draw_measures
from paper_figs.style import styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Means and standard deviations over seeds. Arrows point in the direction that is better in the paper.

    The preset `cpu` has the smallest possible map: one river cell and one orchard cell. COALA-PG's lead over M-FOS in
    this picture is not resolved over all seeds that are known at these settings (`docs/small_size.md`).
    """
    table = read(records)
    training, episodes = (table.filter(pl.col("panel") == panel) for panel in ("training", "episodes"))
    figure = draw_measures(
        [
            (training, "iteration", "reward", "agent's reward\nper step (↑)"),
            (episodes, "inner episode", "cleaning_discrepancy", "cleaning\ndiscrepancy (↓)"),
            (episodes, "inner episode", "zaps", "share of steps\nzapping (↓)"),
        ]
    )
    figure.savefig(picture)
