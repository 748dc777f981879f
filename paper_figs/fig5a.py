"""Figure 5A: rewards against naive learners over training, by estimator."""

from pathlib import Path

import polars as pl

from paper_figs.curves import DEVIATION, curve, label, panels, read, rewards_of_note, shared_legend
from paper_figs.style import look, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Mean and standard deviation over seeds: of the agents (left), and of the learners they meet (right)."""
    table = read(records).filter(pl.col("panel") == "training")
    figure, axes = panels(2, height=2.4)
    for panel, column, name_of_axis in (
        (axes[0], "reward", "agent's\nreward per step"),
        (axes[1], "naive", "naive learner's\nreward per step"),
    ):
        for name in table["estimator"].unique(maintain_order=True):
            curve(panel, table.filter(pl.col("estimator") == name), column, DEVIATION, **look(name))
        label(panel, "meta-training iteration", name_of_axis, lines=rewards_of_note(records))
    shared_legend(figure)
    figure.savefig(picture)
