"""Figure 10: rewards and logits in a mixed pool that starts from tit-for-tat, and how its last policy shapes."""

from pathlib import Path

import polars as pl

from paper_figs.curves import curve, finish, panels, read, rewards_of_note
from paper_figs.fig9 import draw_pool
from paper_figs.style import ROLES, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Median and quartiles over seeds."""
    table = read(records)
    figure, axes = panels(3, height=2.6)
    draw_pool(axes[:2], table.filter(pl.col("panel") == "pool"), rewards_of_note(records))
    for panel, role in (("final policy", "shaper"), ("tit-for-tat", "tit-for-tat")):
        line = table.filter(pl.col("panel") == panel)
        curve(axes[2], line, "shaping_1", **(ROLES[role] | {"label": panel}))
    finish(axes[2], "learner's step", "its opponent's reward", lines=rewards_of_note(records))
    figure.savefig(picture)
