"""Figure 5C: rewards of meta agents against each other over training, by pool."""

from pathlib import Path

from experiments.tables import WITHOUT_NAIVE
from paper_figs.curves import DEVIATION, curve, label, panels, read, rewards_of_note, shared_legend
from paper_figs.style import look, styled

_WITHOUT = {"color": look("CoalaPG")["color"], "ls": ":", "label": "COALA-PG, no naive agents"}


@styled
def draw(records: Path, picture: Path) -> None:
    """Mean and standard deviation over seeds; each seed is the mean of its agents. Left: against each other. Right:
    against naive learners.
    """
    table = read(records)
    figure, axes = panels(2, height=2.6)
    for panel, column, axis in (
        (axes[0], "together", "reward per step,\nmeta against meta"),
        (axes[1], "reward", "reward per step,\nmeta against naive"),
    ):
        for (name,), rows in table.group_by("estimator", maintain_order=True):
            drawn = _WITHOUT if name == WITHOUT_NAIVE else look(name)
            if rows[column].is_finite().all():
                curve(panel, rows, column, DEVIATION, **drawn)
        label(panel, "meta-training iteration", axis, lines=rewards_of_note(records))
    shared_legend(figure, columnspacing=1.0)
    figure.savefig(picture)
