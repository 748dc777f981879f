"""Figure 4B: a fresh naive learner against the final policies of 20 look-aheads."""

from pathlib import Path

from paper_figs.curves import STANDARD_ERROR, curve, finish, panels, read, rewards_of_note
from paper_figs.style import ROLES, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Mean and standard error over seeds, at each step of the learner."""
    table = read(records)
    figure, (panel,) = panels(1)
    label = f"{table['lookahead'][0]} look-aheads, frozen"
    curve(panel, table, "frozen", STANDARD_ERROR, **(ROLES["shaper"] | {"label": label}))
    curve(panel, table, "naive", STANDARD_ERROR, **ROLES["naive"])
    finish(panel, "step of the naive learner", "reward per step", lines=rewards_of_note(records))
    figure.savefig(picture)
