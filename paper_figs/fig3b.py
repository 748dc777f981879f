"""Figure 3B: two agents shape naive learners (shaded), then play each other."""

from pathlib import Path

import polars as pl

from paper_figs.curves import curve, finish, panels, read, rewards_of_note
from paper_figs.style import ROLES, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Median and quartiles over seeds. Agents meet learners in the shaded span, and each other afterwards."""
    table = read(records)
    span = table["span_1"][0]
    shaped, together = table.filter(pl.col("iteration") <= span), table.filter(pl.col("iteration") >= span)
    figure, (panel,) = panels(1)
    panel.axvspan(0, span, color="#EEEEEE", lw=0, zorder=0)
    for at, text in ((0, "learners,\nlast step"), (span, "against\neach other")):
        panel.annotate(
            text, (at, 1), (3, 2), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=6
        )
    for role, number in (("first", 1), ("second", 2)):
        unnamed = {"color": ROLES[role]["color"]}
        curve(panel, shaped, f"shaping_{number}", **unnamed)
        curve(panel, together, f"play_{number}", **ROLES[role])
        curve(
            panel, shaped, f"naive_{number}", **(ROLES["naive"] if number == 1 else {"color": ROLES["naive"]["color"]})
        )
    finish(
        panel,
        "meta-training iteration",
        "reward per step",
        lines=rewards_of_note(records),
        ncols=3,
        columnspacing=1.0,
        handlelength=1.5,
        bbox_to_anchor=(0.5, 1.15),
    )
    figure.savefig(picture)
