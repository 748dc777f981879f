"""Exact variance with exact critics: one row for each size, one marker for each critic."""

from pathlib import Path

import polars as pl
from matplotlib.figure import Figure

from paper_figs.style import COLUMN, styled

CRITICS = {
    "paper's critic": {"color": "#999999", "marker": "s"},
    "W before": {"color": "#E69F00", "marker": "v"},
    "W without b, κ = 1": {"color": "#56B4E9", "marker": "o"},
    "κ = 0.5": {"color": "#0072B2", "marker": "D"},
    "κ = 0": {"color": "#0072B2", "marker": "o", "mfc": "white"},
    "κ = 0, W before": {"color": "#E69F00", "marker": "v", "mfc": "white"},
    "hybrid": {"color": "#009E73", "marker": "^"},
    "all actions": {"color": "#CC79A7", "marker": "*"},
}


@styled
def draw(records: Path, picture: Path) -> None:
    """Variance over that of COALA-PG without a critic: geometric means over random policies, for two games."""
    table = pl.read_parquet(records)
    games = table["game"].unique(maintain_order=True).to_list()
    sizes = table.select("steps", "episodes", "batch").unique(maintain_order=True).rows()
    figure = Figure(figsize=(COLUMN, 1.2 + 0.35 * len(sizes)), layout="constrained")
    axes = figure.subplots(1, len(games), sharey=True, sharex=True, squeeze=False)[0]
    for panel, game in zip(axes, games, strict=True):
        for critic, look in CRITICS.items():
            here = table.filter(pl.col("game") == game, pl.col("critic") == critic)
            means = [
                here.filter(pl.col("steps") == steps, pl.col("episodes") == episodes, pl.col("batch") == batch)
                .select(pl.col("relative_variance").log().mean().exp())
                .item()
                for steps, episodes, batch in sizes
            ]
            panel.plot(means, range(len(sizes)), ls="none", ms=5, label=critic, **look)
        panel.set_xscale("log")
        panel.set_title(game)
        panel.set_xlabel("variance, without a critic = 1")
        panel.grid(visible=True, axis="both", lw=0.3)
    axes[0].set_yticks(range(len(sizes)), [f"T, M, B = {t}, {m}, {b}" for t, m, b in sizes])
    axes[0].invert_yaxis()
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(picture)
