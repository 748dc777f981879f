"""Figure 13: naive reward, pollution and apples in CleanUp-lite within a meta-episode, after training."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from coala_eqx.runs.directory import Record, table_of
from experiments import fig6
from experiments.claims import Estimate, claim, kept, largest_of, over_seeds, smallest_of

PRESETS, SINGLE, parts = fig6.PRESETS, fig6.SINGLE, fig6.parts

RECORDS_OF = "fig6"
"""The figure that has the records. Its run is used if there is one."""


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: means over seeds and a meta-episode, COALA-PG against the best of the
    others.
    """
    table = kept(table_of(records).filter(pl.col("panel") == "episodes"))

    def within(name: str, column: str) -> Estimate:
        return over_seeds(table.filter(pl.col("estimator") == name), column)

    def others(column: str) -> list[Estimate]:
        return [within(name, column) for name in fig6.OTHERS]

    return [
        claim("Naive learners earn more against COALA-PG: by how much per step",
              within("CoalaPG", "naive") - largest_of(others("naive")), "≥", 0.005),
        claim("There is less pollution with COALA-PG: by how many patches",
              smallest_of(others("pollution")) - within("CoalaPG", "pollution"), "≥", 0.1),
        claim("There are more apples with COALA-PG: by how many",
              within("CoalaPG", "apples") - largest_of(others("apples")), "≥", 0.1),
    ]  # fmt: skip
