"""Figure 5B: one meta-episode after training, by inner episode."""

from pathlib import Path

import polars as pl

from paper_figs.curves import DEVIATION, curve, finish, panels, read, rewards_of_note
from paper_figs.style import ESTIMATORS, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """How often agents defect (left), and what they and the learners (dotted) earn; mean and deviation over seeds."""
    table = read(records).filter(pl.col("panel") == "episodes")
    figure, (actions, rewards) = panels(2, height=2.4)
    for name in table["estimator"].unique(maintain_order=True):
        rows, look = table.filter(pl.col("estimator") == name), {"color": ESTIMATORS[name]["color"]}
        named = look | {"label": ESTIMATORS[name]["label"]}
        curve(actions, rows, "defects", DEVIATION, **named)
        curve(rewards, rows, "reward", DEVIATION, **named)
        curve(rewards, rows, "naive", DEVIATION, ls=":", **look)
    finish(actions, "inner episode", "share of defections", lines=(0, 1))
    finish(rewards, "inner episode", "reward per step", lines=rewards_of_note(records))
    figure.savefig(picture)
