"""Motion of a learner's two probabilities against three opponents, and the opponent's reward."""

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from paper_figs.curves import panels, read
from paper_figs.style import ROLES, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """White: the direction in which a learner moves from each point. Orange: paths of learners that start on a grid,
    with a dot at the end. Shades: the opponent's reward.
    """
    table = read(records)
    opponents = table["panel"].unique(maintain_order=True)
    field = table.filter(pl.col("kind") == "field")
    norm = Normalize(*np.quantile(field["other"], (0, 1)))
    figure, axes = panels(len(opponents), height=2.3)
    color = ROLES["naive"]["color"]
    x_is, y_is = (table[f"{axis}_is"][0].replace(" + ", ", ") for axis in "xy")
    for panel, opponent in zip(axes, opponents, strict=True):
        here = field.filter(pl.col("panel") == opponent).sort("y", "x")
        side = int(len(here) ** 0.5)
        x, y, dx, dy, other = (here[c].to_numpy().reshape(side, side) for c in ("x", "y", "dx", "dy", "other"))
        panel.pcolormesh(x, y, other, cmap="cividis", norm=norm, shading="gouraud")
        panel.streamplot(
            np.linspace(x[0, 0], x[0, -1], side), np.linspace(y[0, 0], y[-1, 0], side), dx, dy,
            color="white", linewidth=0.6, arrowsize=0.6, density=0.8,
        )  # fmt: skip
        paths = table.filter((pl.col("panel") == opponent) & (pl.col("kind") == "path"))
        for _, path in paths.group_by("seed", maintain_order=True):
            panel.plot(path["x"], path["y"], color=color, lw=0.7)
            panel.plot(path["x"][-1], path["y"][-1], "o", color=color, ms=2.5, mec="white", mew=0.4)
        panel.set(title=f"against {opponent}", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        panel.set_xlabel(f"cooperates after {x_is}\n(own, other's action)")
        panel.grid(visible=False)
    axes[0].set_ylabel(f"cooperates\nafter {y_is}")
    drawn = (
        Line2D([], [], color="white", lw=0.8, marker=">", ms=3, label="which way a learner moves"),
        Line2D([], [], color=color, lw=1.0, label="paths of learners"),
        Line2D([], [], color=color, ls="none", marker="o", ms=4, mec="white", mew=0.4, label="where they end"),
    )
    figure.legend(
        handles=drawn, loc="outside upper center", ncols=3, facecolor="#4D5A6B", labelcolor="white", framealpha=1
    )
    shades = ScalarMappable(norm, "cividis")
    figure.colorbar(shades, ax=axes, label="opponent's reward per step", shrink=0.9, pad=0.02)
    figure.savefig(picture)
