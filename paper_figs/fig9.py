"""Figure 9: rewards and logits in a mixed pool that starts from unconditional defection."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from paper_figs.curves import curve, finish, panels, read, rewards_of_note
from paper_figs.style import ENTRIES, ROLES, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Median and quartiles over seeds."""
    figure, axes = panels(2, height=2.4)
    draw_pool(axes, read(records), rewards_of_note(records))
    figure.savefig(picture)


def draw_pool(axes: Any, table: pl.DataFrame, of_note: Iterable[float]) -> None:
    """Draw A, rewards against learners on their last step and of the agents against each other, and B, the first
    agent's logits.
    """
    curve(axes[0], table, "shaping_1", **ROLES["shaping"])
    curve(axes[0], table, "play_1", **(ROLES["first"] | {"label": "against each other"}))
    finish(axes[0], "meta-training iteration", "first agent's reward per step", lines=of_note)
    for entry, look in ENTRIES.items():
        curve(axes[1], table, entry, **look, label=entry)
    finish(axes[1], "meta-training iteration", "its logits", lines=(0,), ncols=3)
