"""Figure 12: the gradient through the future over that through the current inner episode, over training."""

from pathlib import Path

import polars as pl

from experiments.fig12 import ESTIMATORS, ratios
from paper_figs.curves import finish, panels, read
from paper_figs.style import look, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """A panel for each memory of the agents; points are missing where noise outweighs the gradient."""
    table = ratios(read(records))
    parts = table["part"].unique(maintain_order=True)
    figure, axes = panels(len(parts), height=2.4)
    for panel, part in zip(axes, parts, strict=True):
        for name in ESTIMATORS:
            here = table.filter(pl.col("part") == part, pl.col("estimator") == name, pl.col("ratio") > 0)
            panel.plot(here["iteration"], here["ratio"], marker="o", **look(name))
        panel.set_yscale("log")
        title = f"each agent {part}"
        finish(panel, "meta-training iteration", "‖future part‖ / ‖current part‖", lines=(1,), title=title)
    figure.savefig(picture)
