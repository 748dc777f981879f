"""Figure 7: rewards, division of cleaning, and zaps where meta agents of mixed pools meet."""

from pathlib import Path
from typing import Any

import polars as pl

from experiments.fig7 import SHAPING
from paper_figs.curves import read
from paper_figs.measures import draw_measures
from paper_figs.style import look, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Means and standard deviations over seeds and agents; beside the zaps those of one that only shapes learners.

    The preset `cpu` has the smallest map there is, a cell of the river and one of the orchard (`docs/small_size.md`).
    """
    table, shaping = read(records), pl.col("estimator") == SHAPING
    pools = table.filter(~shaping)
    zaps = table.with_columns(zaps_together=pl.when(shaping).then("zaps").otherwise("zaps_together"))
    figure = draw_measures(
        [
            (pools, "iteration", "together", "reward per step"),
            (pools, "iteration", "cleaning_discrepancy_together", "cleaning\ndiscrepancy"),
            (zaps, "iteration", "zaps_together", "share of steps\nzapping"),
        ],
        look=_look,
    )
    figure.savefig(picture)


def _look(name: str) -> dict[str, Any]:
    return look("CoalaPG") | {"ls": ":", "label": "COALA-PG, learners only"} if name == SHAPING else look(name)
