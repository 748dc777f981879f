"""Figure 3A: rewards of a shaping agent and of naive learners, on the learners' last step, over meta-training."""

from pathlib import Path

from paper_figs.curves import curve, finish, panels, read, rewards_of_note
from paper_figs.style import ROLES, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Median and quartiles over seeds."""
    table = read(records)
    figure, (panel,) = panels(1)
    curve(panel, table, "shaping", **ROLES["shaper"])
    curve(panel, table, "naive", **ROLES["naive"])
    finish(panel, "meta-training iteration", "reward per step", lines=rewards_of_note(records))
    figure.savefig(picture)
