"""Figure 5B: one meta-episode after training, by inner episode."""

from pathlib import Path

import polars as pl

from paper_figs.curves import DEVIATION, curve, finish, panels, read, rewards_of_note
from paper_figs.style import look, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """How often agents defect (left), and what they and the learners (dotted) earn; mean and deviation over seeds."""
    table = read(records).filter(pl.col("panel") == "episodes")
    figure, (actions, rewards) = panels(2, height=2.4)
    for name in table["estimator"].unique(maintain_order=True):
        rows = table.filter(pl.col("estimator") == name)
        curve(actions, rows, "defects", DEVIATION, **look(name))
        curve(rewards, rows, "reward", DEVIATION, **look(name))
        curve(rewards, rows, "naive", DEVIATION, ls=":", color=look(name)["color"])
    finish(actions, "inner episode", "share of defections", lines=(0, 1))
    finish(rewards, "inner episode", "reward per step", lines=rewards_of_note(records))
    figure.savefig(picture)
