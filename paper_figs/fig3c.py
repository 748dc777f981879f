"""Figure 3C: meta agents against each other, in a pool with naive learners and in one without."""

from pathlib import Path

import polars as pl

from paper_figs.curves import curve, finish, panels, read, rewards_of_note
from paper_figs.style import ROLES, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Median and quartiles over seeds, of the first agent (solid) and the second (dashed)."""
    table = read(records)
    figure, (panel,) = panels(1)
    for part, role in (("mixed pool", "mixed"), ("meta agents only", "meta")):
        curve(panel, table.filter(pl.col("part") == part), "play_1", **ROLES[role])
        curve(panel, table.filter(pl.col("part") == part), "play_2", color=ROLES[role]["color"], ls="--")
    finish(panel, "meta-training iteration", "reward per step,\nmeta against meta", lines=rewards_of_note(records))
    figure.savefig(picture)
