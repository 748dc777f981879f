"""Figure 8: how far shaping policies and random ones are from zero-determinant extortion, and the fitted χ."""

from pathlib import Path

import numpy as np
import polars as pl

from paper_figs.curves import finish, panels, read
from paper_figs.style import ROLES, styled

_LOOKS = {"shaping": (ROLES["shaper"]["color"], "shaping policies"), "random": ("#999999", "uniform random policies")}

_LEAST = 1e-6
"""Smallest loss that is drawn; smaller losses are drawn as this."""

_MOST = 20.0
"""Largest χ that is drawn; larger ones are only counted."""


@styled
def draw(records: Path, picture: Path) -> None:
    """Histograms of the losses of both kinds of policies, and of χ of the shaping policies."""
    table = read(records)
    losses = {part: table.filter(pl.col("part") == part)["loss"].to_numpy() for part in _LOOKS}
    figure, (left, right) = panels(2)
    every = np.concatenate(list(losses.values()))
    bins = np.geomspace(max(every.min(), _LEAST), every.max(), 31)
    for part, (color, label) in _LOOKS.items():
        weights = np.full(len(losses[part]), 1 / len(losses[part]))
        left.hist(np.maximum(losses[part], _LEAST), bins=bins, weights=weights, color=color, alpha=0.7, label=label)
    left.set_xscale("log")
    finish(left, "squared distance to the nearest\nzero-determinant policy", "share of policies")
    chi = table.filter(pl.col("part") == "shaping")["chi"].to_numpy()
    shown, most = chi[chi <= _MOST], f"; {np.sum(chi > _MOST)} above {_MOST:g}" if np.any(chi > _MOST) else ""
    right.hist(shown, bins=20, color=_LOOKS["shaping"][0])
    if np.median(chi) <= _MOST:
        right.axvline(float(np.median(chi)), color="black", lw=0.8, ls="--")
    right.set_xlabel(f"fitted χ of shaping policies\n(dashed: median{most})")
    right.set_ylabel("policies")
    figure.savefig(picture)
