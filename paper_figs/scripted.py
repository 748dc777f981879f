"""Scripted agents against naive learners, within a meta-episode."""

from pathlib import Path

from experiments.tables import SCRIPTS
from paper_figs.curves import read
from paper_figs.measures import draw_measures
from paper_figs.style import ENTRIES, styled

LOOKS = {
    script: {"color": look["color"], "label": script}
    for script, look in zip(SCRIPTS, list(ENTRIES.values())[1:], strict=True)
}


@styled
def draw(records: Path, picture: Path) -> None:
    """Means and standard deviations over seeds. "works" cleans while there is no apple, and otherwise eats. "waits"
    only eats, anywhere or (at one cell) in the first row only. "zaps" zaps whenever the other player is in reach.
    """
    table, x = read(records), "inner episode"
    figure = draw_measures(
        [
            (table, x, "reward", "agent's reward\nper step"),
            (table, x, "naive", "learner's reward\nper step"),
            (table, x, "other_cleaning", "learner's share\nof steps in the river"),
        ],
        by="script",
        look=LOOKS.__getitem__,
    )
    figure.savefig(picture)
