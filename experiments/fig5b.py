"""Figure 5B: within a meta-episode COALA-PG cooperates first and exploits later, M-FOS defects from the start."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from coala_eqx.runs.directory import Record, table_of
from experiments import fig5a
from experiments.claims import Estimate, Ran, kept, over_seeds

PRESETS, SINGLE, parts = fig5a.PRESETS, fig5a.SINGLE, fig5a.parts

RECORDS_OF = "fig5a"
"""The figure that has the records. Its run is used if there is one."""


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: means over seeds, at the end of training, in parts of the meta-episode."""
    table = kept(table_of(records).filter(pl.col("panel") == "episodes"))
    third = max(1, int(table["iteration"].max() or 0) // 3)  # type: ignore[call-overload]

    def defects(name: str, late: bool) -> Estimate:
        when = pl.col("iteration") > pl.col("iteration").max() - third if late else pl.col("iteration") <= third
        return over_seeds(table.filter(pl.col("estimator") == name).filter(when), "defects")

    first, last = defects(fig5a.COALA, late=False), defects(fig5a.COALA, late=True)
    m_fos, ran = defects(fig5a.M_FOS, late=False), Ran(table_of(records))
    return [
        ran.claim((fig5a.M_FOS,), "M-FOS defects from the start: share of steps in the first third of inner episodes",
                  m_fos, "≥", 0.9),
        ran.claim((fig5a.COALA, fig5a.M_FOS), "COALA-PG defects less in that third: M-FOS's share minus its own",
                  m_fos - first, "≥", 0.2),
        ran.claim((fig5a.COALA,), "COALA-PG exploits towards the end: its share of defections in the last third minus "
                  "that in the first", last - first, "≥", 0.2),
    ]  # fmt: skip
