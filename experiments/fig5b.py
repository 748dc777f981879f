"""Figure 5B: within a meta-episode COALA-PG cooperates first and exploits later, M-FOS defects from the start."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from experiments import fig5a
from experiments.records import Record, claim, kept, over_seeds, table_of

PRESETS, SINGLE, parts = fig5a.PRESETS, fig5a.SINGLE, fig5a.parts

RECORDS_OF = "fig5a"
"""The figure of which this one shows other columns, so that its records are taken if they are there."""


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What the figure is judged by: means over seeds, at the end of training, in parts of the meta-episode."""
    table = kept(table_of(records).filter(pl.col("panel") == "episodes"))
    third = max(1, int(table["iteration"].max() or 0) // 3)  # type: ignore[call-overload]

    def part(name: str, late: bool) -> pl.DataFrame:
        when = pl.col("iteration") > pl.col("iteration").max() - third if late else pl.col("iteration") <= third
        return table.filter(pl.col("estimator") == name).filter(when)

    first, last = part(fig5a.COALA, late=False), part(fig5a.COALA, late=True)
    m_fos = over_seeds(part(fig5a.M_FOS, late=False), "defects")
    return [
        claim("M-FOS defects from the start: how often in the first third of the inner episodes", m_fos,
              "≥", 0.9),
        claim("COALA-PG defects less then: M-FOS's share minus its own", m_fos - over_seeds(first, "defects"),
              "≥", 0.2),
        claim("COALA-PG exploits towards the end: how much more often in the last third than in the first",
              over_seeds(last, "defects", since=first), "≥", 0.2),
    ]  # fmt: skip
