"""Beyond the paper: final rewards against the inner batch, for COALA-PG and M-FOS."""

from pathlib import Path

import polars as pl

from experiments.claims import final
from paper_figs.curves import label, panels, points, read, rewards_of_note, shared_legend
from paper_figs.style import ESTIMATORS as LOOKS
from paper_figs.style import styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Mean and standard deviation over seeds, of agents (left) and learners (right)."""
    table = final(read(records))
    figure, axes = panels(2, height=2.4)
    for panel, column, whose in ((axes[0], "reward", "agent's"), (axes[1], "naive", "naive learner's")):
        for name in table["estimator"].unique(maintain_order=True):
            here = table.filter(pl.col("estimator") == name)
            points(panel, here, "batch", column, **LOOKS[name])
        lines = rewards_of_note(records)
        label(panel, "inner batch B", f"{whose} final\nreward per step", lines=lines)
    shared_legend(figure)
    figure.savefig(picture)
