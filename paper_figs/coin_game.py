"""The Coin Game: rewards and shares of own coins over training, and within a meta-episode after it."""

from pathlib import Path

import polars as pl

from paper_figs.curves import read
from paper_figs.measures import draw_measures
from paper_figs.style import styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Means and standard deviations over seeds."""
    table = read(records)
    kinds = (("training", "iteration"), ("episodes", "inner episode"))
    measures = (("reward", "agent's reward\nper step"), ("own_share", "share of own colour,\nagent's coins"),
                ("naive_own_share", "share of own colour,\nlearner's coins"))  # fmt: skip
    figure = draw_measures(
        [(table.filter(pl.col("panel") == kind), x, column, label) for kind, x in kinds for column, label in measures]
    )
    figure.savefig(picture)
