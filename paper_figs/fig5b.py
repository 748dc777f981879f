"""Figure 5B: one meta-episode after training, by inner episode."""

from pathlib import Path

import polars as pl

from paper_figs.curves import DEVIATION, curve, label, panels, read, rewards_of_note, shared_legend
from paper_figs.style import look, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Share of defections (left), and rewards of agents and learners (dotted). Mean and standard deviation over
    seeds.
    """
    table = read(records).filter(pl.col("panel") == "episodes")
    figure, (actions, rewards) = panels(2, height=2.4)
    for name in table["estimator"].unique(maintain_order=True):
        rows = table.filter(pl.col("estimator") == name)
        curve(actions, rows, "defects", DEVIATION, most=1.0, **look(name))
        curve(rewards, rows, "reward", DEVIATION, **look(name))
        curve(rewards, rows, "naive", DEVIATION, ls=":", color=look(name)["color"])
    label(actions, "inner episode", "share of defections", lines=(0, 1))
    label(rewards, "inner episode", "reward per step", lines=rewards_of_note(records))
    shared_legend(figure)
    figure.savefig(picture)
