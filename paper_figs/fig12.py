"""Figure 12: the gradient through the future over that through the current inner episode, over training."""

from pathlib import Path

import polars as pl

from experiments.tables import WITH_ADVANTAGES, future_ratios
from paper_figs.curves import finish, panels, read
from paper_figs.style import look, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """A panel for each memory of the agents; points are missing where noise outweighs the gradient."""
    table = future_ratios(read(records))
    parts = table["part"].unique(maintain_order=True)
    figure, axes = panels(len(parts), height=2.4)
    for panel, part in zip(axes, parts, strict=True):
        for name in WITH_ADVANTAGES:
            here = table.filter(pl.col("part") == part, pl.col("estimator") == name, pl.col("ratio") > 0)
            panel.plot(here["iteration"], here["ratio"], marker="o", **look(name))
        panel.set_yscale("log")
        title = f"each agent {part}"
        finish(panel, "meta-training iteration", "‖future part‖ / ‖current part‖", lines=(1,), title=title)
    figure.savefig(picture)
