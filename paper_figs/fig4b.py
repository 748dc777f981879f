"""Figure 4B: a fresh naive learner against policies that 20 look-aheads ended with."""

from pathlib import Path

from paper_figs.curves import STANDARD_ERROR, curve, finish, panels, read
from paper_figs.style import LOOKAHEADS, ROLES, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Mean and standard error over seeds, by step of the learner."""
    table = read(records)
    figure, (panel,) = panels(1)
    curve(panel, table, "frozen", STANDARD_ERROR, color=LOOKAHEADS[20], label="20 look-aheads, frozen")
    curve(panel, table, "naive", STANDARD_ERROR, **ROLES["naive"])
    finish(panel, "step of the naive learner", "reward per step", lines=(0, 1))
    figure.savefig(picture)
