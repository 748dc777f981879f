"""Beyond the paper: rewards with a critic that sees the learner, against meta-episodes and against CPU time."""

from pathlib import Path

import polars as pl

from paper_figs.curves import label, panels, read, rewards_of_note, shared_legend
from paper_figs.style import SHAPED, styled

METHODS = SHAPED | {
    "paper's critic": {"color": "#999999", "ls": ":", "label": "COALA-PG, paper's critic"},
    "leave-one-out": {"color": "#000000", "label": "COALA-PG, other meta-episodes' mean"},
    "kappa 0.5 to 1": {"color": "#CC79A7", "label": "κ from 0.5 to 1"},
    "M-FOS": {"color": "#D55E00", "label": "M-FOS, κ = 0.5"},
    "batch-unaware": {"color": "#E69F00", "label": "batch-unaware"},
}


@styled
def draw(records: Path, picture: Path) -> None:
    """Mean reward and its standard error over seeds, as far as all methods have come in either unit."""
    table = read(records)
    figure, axes = panels(2, height=3.0)
    for panel, column, unit in ((axes[0], "meta_episodes", "meta-episodes"), (axes[1], "cpu_seconds", "CPU seconds")):
        for method in table["method"].unique(maintain_order=True):
            value = pl.col("reward")
            by = (
                table.filter(pl.col("method") == method)
                .group_by("iteration")
                .agg(pl.mean(column), value.mean().alias("mean"), (value.std() / pl.len().sqrt()).alias("error"))
                .sort("iteration")
            )
            look = METHODS[method]
            panel.plot(by[column], by["mean"], **look)
            panel.fill_between(
                by[column], by["mean"] - by["error"], by["mean"] + by["error"], color=look["color"], alpha=0.15, lw=0
            )
        panel.set_xscale("log")
        label(panel, f"{unit} of one seed", "agent's reward per step", lines=rewards_of_note(records))
    shared_legend(figure, ncols=2, fontsize=7)
    figure.savefig(picture)
