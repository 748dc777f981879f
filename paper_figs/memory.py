"""Beyond the paper: final rewards against the length of the agents' memory, for several networks."""

from pathlib import Path

import polars as pl

from experiments.claims import final
from experiments.tables import WITHOUT_MEMORY
from paper_figs.curves import label, panels, points, read, rewards_of_note, shared_legend
from paper_figs.style import styled

NETWORKS = {
    "hawk": {"color": "#0072B2", "marker": "o", "label": "Hawk"},
    "gru": {"color": "#009E73", "marker": "^", "label": "GRU"},
    WITHOUT_MEMORY: {"color": "#999999", "label": "MLP, no memory"},
}


@styled
def draw(records: Path, picture: Path) -> None:
    """Mean and standard deviation over seeds, of agents (left) and learners (right)."""
    table = final(read(records))
    figure, axes = panels(2, height=2.4)
    for panel, column, whose in ((axes[0], "reward", "agent's"), (axes[1], "naive", "naive learner's")):
        for network in table["network"].unique(maintain_order=True):
            here = table.filter(pl.col("network") == network)
            if network == WITHOUT_MEMORY:
                panel.axhline(here[column].mean(), ls="--", **NETWORKS[network])
            else:
                points(panel, here, "memory", column, **NETWORKS[network])
        lines = rewards_of_note(records)
        label(panel, "inner episodes remembered", f"{whose} final\nreward per step", lines=lines)
    shared_legend(figure)
    figure.savefig(picture)
