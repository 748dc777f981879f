"""Figure 5A: rewards against naive learners over training, by estimator."""

from pathlib import Path

import polars as pl

from paper_figs.curves import DEVIATION, curve, finish, panels, read, rewards_of_note
from paper_figs.style import ROLES, look, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Mean and standard deviation over seeds: of the agents (left), and of the learners they meet (right)."""
    table = read(records).filter(pl.col("panel") == "training")
    figure, axes = panels(2, height=2.4)
    for panel, column, label in (
        (axes[0], "reward", "agent's reward per step"),
        (axes[1], "naive", f"{ROLES['naive']['label']}'s reward per step"),
    ):
        for name in table["estimator"].unique(maintain_order=True):
            curve(panel, table.filter(pl.col("estimator") == name), column, DEVIATION, **look(name))
        finish(panel, "meta-training iteration", label, lines=rewards_of_note(records))
    figure.savefig(picture)
