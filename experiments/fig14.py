"""Figure 14: pollution and apples in CleanUp-lite, where meta agents of mixed pools meet, over training."""

from collections.abc import Sequence
from typing import Any

from coala_eqx.runs.directory import Record, table_of
from experiments import fig7
from experiments.claims import Estimate, claim, final, largest_of, over_seeds, smallest_of
from experiments.tables import WITH_ADVANTAGES

PRESETS, SINGLE, parts = fig7.PRESETS, fig7.SINGLE, fig7.parts

RECORDS_OF = "fig7"
"""The figure that has the records. Its run is used if there is one."""


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: means over seeds and agents at the end of training, against each other."""
    table = table_of(records)

    def last(name: str, column: str) -> Estimate:
        return over_seeds(final(table, estimator=name), column)

    pollution, apples = (
        [last(name, f"{column}_together") for name in WITH_ADVANTAGES] for column in ("pollution", "apples")
    )
    return [
        claim("There is less pollution where COALA-PG agents meet than in the other pools: by how many patches",
              smallest_of(pollution[1:]) - pollution[0], "≥", 0.1),
        claim("There are more apples where COALA-PG agents meet: by how many",
              apples[0] - largest_of(apples[1:]), "≥", 0.1),
    ]  # fmt: skip
