"""Figure 4A: two LOLA agents against each other, by number of look-aheads."""

from pathlib import Path

import polars as pl

from paper_figs.curves import STANDARD_ERROR, curve, finish, panels, read, rewards_of_note
from paper_figs.style import LOOKAHEADS, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Mean and standard error over seeds, of the first agent."""
    table = read(records)
    figure, (panel,) = panels(1)
    for steps, look in LOOKAHEADS.items():
        line = table.filter(pl.col("lookahead") == steps)
        curve(panel, line, "play_1", STANDARD_ERROR, **look, label=str(steps))
    finish(panel, "training iteration", "reward per step", lines=rewards_of_note(records), title="look-aheads", ncols=5)
    figure.savefig(picture)
