"""Final rewards of the agents of several estimators against naive learners, side by side."""

import math
from collections.abc import Sequence

import polars as pl

from coala_eqx.runs.directory import Record, table_of
from experiments.claims import Estimate, final, over_seeds

REWARDS = ("estimator", "final reward ± s.e.", "seeds", "minus the first's, in pairs")
"""Columns of the table."""


def final_rewards(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """One row for each estimator, in the order of training; none for a figure without such agents.

    Differences are over the seeds that both estimators have, which start from the same policies.
    """
    table = table_of(records)
    if not {"panel", "estimator", "reward"} <= set(table.columns):
        return []
    training = table.filter(pl.col("panel") == "training")
    names = training["estimator"].unique(maintain_order=True)
    rewards = {name: final_reward(table, name) for name in names}
    first = next(iter(rewards.values()), None)
    return [
        (name, _number(one), str(one.seeds), "" if first is None or one is first else _number(one - first))
        for name, one in rewards.items()
    ]


def final_reward(table: pl.DataFrame, estimator: str) -> Estimate:
    """Final reward of an estimator's agents: from the last records of training, and from seeds whose final reward alone
    is known (`panel` is `again`).
    """
    training, again = (table.filter(pl.col("panel") == panel) for panel in ("training", "again"))
    known = over_seeds(again.filter(pl.col("estimator") == estimator), "reward")
    return Estimate({**over_seeds(final(training, estimator=estimator), "reward").by_seed, **known.by_seed})


def as_markdown(records: Sequence[Record]) -> str:
    """All rows as a Markdown table."""
    rows = [REWARDS, ("---", "---:", "---:", "---:"), *final_rewards(records)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _number(estimate: Estimate) -> str:
    if not math.isfinite(estimate.value):
        return "not finite"
    error = f" ± {estimate.error:.2g}" if math.isfinite(estimate.error) else ""
    return f"{estimate.value:.3g}{error}"
