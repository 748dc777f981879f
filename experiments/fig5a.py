"""Figure 5A: against naive learners COALA-PG learns to shape them, the other estimators hardly do.

LOLA-DiCE is a baseline whose policy remembers the current inner episode only. It looks ahead from the learners' first
policies, and is evaluated on whole meta-episodes.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from coala_eqx.estimators import AbstractEstimator
from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.progress import Progress
from coala_eqx.training import Pool
from coala_eqx.verification.loading import load_estimator
from experiments import sampled, training
from experiments.claims import Ran, final, largest_of, of_means, over_seeds
from experiments.settings import override

SINGLE = True
"""Training is done in single precision."""

COALA, M_FOS, UNAWARE, LOLA = "CoalaPG", "MFOS", "BatchUnaware", "LolaDice"


@dataclasses.dataclass(frozen=True)
class Settings(sampled.Settings):
    """Settings of Figures 5A and 5B."""

    estimators: tuple[str, ...] = (COALA, M_FOS, UNAWARE, LOLA)
    """Estimators: names, FILE.py:NAME or module:NAME, as `coala-eqx verify` takes them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.loaded  # raises

    @functools.cached_property
    def loaded(self) -> dict[str, AbstractEstimator]:
        """The estimators, keyed by the names of their classes. **Raises** `ValueError` for one that is unknown or given
        twice.
        """
        loaded = [load_estimator(source) for source in self.estimators]
        named = {type(estimator).__name__: estimator for estimator in loaded}
        if len(named) < len(loaded) or not loaded:
            raise ValueError(f"`estimators` must have different names, one or more, but are {self.estimators}.")
        return named

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        return {name: self.alone(estimator) for name, estimator in self.loaded.items()}


SMALL: dict[str, Any] = {"meta_batch": 16, "iterations": 300, "agent.rate": 1e-3}
"""Settings of small runs."""

PRESETS = {
    "smoke": override(Settings(), sampled.SMOKE),
    "cpu": override(Settings(), SMALL | {"seeds": 4}),
    "paper": Settings(),
}


def parts(settings: Settings) -> list[Part]:
    """One part for each estimator."""
    return sampled.parts(settings, run)


def run(settings: sampled.Settings, name: str, pool: Pool, progress: Progress) -> list[Record]:
    """Rewards over training (`panel` is `training`), and for each inner episode at its end (`panel` is `episodes`)."""
    records, seen = training.shape(settings, name, pool, progress)

    def defects(record: Record) -> Record:
        """Share of steps in which agents, and learners, take another action than the first."""
        here = record["seed"], -1, 0, record["iteration"] - 1, slice(1, None)
        ours, theirs = seen.ego_actions[here], seen.co_player_actions[here]
        return {"defects": float(ours.sum()), "naive_defects": float(theirs.sum())}

    return [record | defects(record) if record["panel"] == "episodes" else record for record in records]


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: means over seeds at the end of training."""
    table = table_of(records).filter(pl.col("panel") == "training")
    ran = Ran(table)
    rewards = {name: over_seeds(final(table, estimator=name), "reward") for name in (COALA, M_FOS, UNAWARE, LOLA)}
    return [
        ran.claim((COALA, M_FOS, UNAWARE), "COALA-PG earns more than the others: its mean reward over the larger one "
                  "of M-FOS and batch-unaware",
                  of_means(_over_the_larger, rewards[COALA], rewards[M_FOS], rewards[UNAWARE]), "≥", 2),
        ran.claim((COALA,), "COALA-PG shapes: its mean reward", rewards[COALA], "≥", 0.8),
        ran.claim((COALA, LOLA), "COALA-PG earns more than LOLA-DiCE: difference of mean rewards",
                  rewards[COALA] - rewards[LOLA], "≥", 0.2),
    ]  # fmt: skip


def _over_the_larger(ours: float, *others: float) -> float:
    """Ratio to the largest other reward: infinite if the others earn nothing, NaN if the first one does."""
    most = largest_of(others)
    if np.isnan(most) or ours <= 0:
        return float("nan")
    return ours / most if most > 0 else float("inf")
