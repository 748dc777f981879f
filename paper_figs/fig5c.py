"""Figure 5C: rewards of meta agents against each other over training, by pool."""

from pathlib import Path

from experiments.fig5c import ALONE
from paper_figs.curves import DEVIATION, curve, finish, panels, read, rewards_of_note
from paper_figs.style import ESTIMATORS, styled

_ALONE = {"color": ESTIMATORS["CoalaPG"]["color"], "ls": ":", "label": "COALA-PG, no naive agents"}


@styled
def draw(records: Path, picture: Path) -> None:
    """Mean and standard deviation over seeds and agents: against each other (left), against naive learners (right)."""
    table = read(records)
    figure, axes = panels(2, height=2.6)
    for panel, column, label in (
        (axes[0], "together", "reward per step,\nmeta against meta"),
        (axes[1], "reward", "reward per step,\nmeta against naive"),
    ):
        for (name,), rows in table.group_by("estimator", maintain_order=True):
            look = _ALONE if name == ALONE else {key: ESTIMATORS[name][key] for key in ("color", "label")}
            if rows[column].is_finite().all():
                curve(panel, rows, column, DEVIATION, **look)
        finish(panel, "meta-training iteration", label, lines=rewards_of_note(records))
    figure.savefig(picture)
