"""COALA-PG and M-FOS as the inner batch grows, with the same number of trajectories in each iteration.

M-FOS weighs the current inner episode B times too much. With one trajectory for each learner the two estimators are
equal, so this case is trained once.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import polars as pl

from coala_eqx.estimators import MFOS, AbstractScoreFunctionEstimator, CoalaPG
from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.progress import Progress
from coala_eqx.training import Pool
from experiments import fig5a, sampled, training
from experiments.claims import Estimate, claim, final, largest_of, over_seeds
from experiments.settings import override

SINGLE = True
"""Training is done in single precision."""

ESTIMATORS: dict[str, AbstractScoreFunctionEstimator] = {"CoalaPG": CoalaPG(), "MFOS": MFOS()}


@dataclasses.dataclass(frozen=True)
class Settings(sampled.Settings):
    """Settings of this figure. Each of `batches` splits the meta_batch · batch trajectories in another way."""

    batches: tuple[int, ...] = (1, 4, 16, 64)
    """Values of B: numbers of parallel trajectories in a meeting."""

    def __post_init__(self) -> None:
        super().__post_init__()
        trajectories = self.pool.meta_batch * self.pool.batch
        if any(batch < 1 or trajectories % batch for batch in self.batches) or max(self.batches, default=1) == 1:
            raise ValueError(
                f"`batches` must divide meta_batch · batch = {trajectories}, and one must be above 1, but are "
                f"{self.batches}."
            )

    def variants(self) -> dict[str, sampled.Settings]:
        """Settings, keyed by part."""
        trajectories = self.pool.meta_batch * self.pool.batch
        return {
            f"{name} {batch}": self.plain({"batch": batch, "meta_batch": trajectories // batch})
            for name in ESTIMATORS
            for batch in self.batches
            if (name, batch) != ("MFOS", 1)
        }

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        return {
            name: (settings, settings.make_pool((ESTIMATORS[name.split()[0]],)))
            for name, settings in self.variants().items()
        }


PRESETS = {
    "smoke": override(Settings(), sampled.SMOKE | {"batches": (1, 4)}),
    "cpu": override(Settings(), fig5a.SMALL | {"seeds": 2}),
    "paper": Settings(),
}


def parts(settings: Settings) -> list[Part]:
    """One part for each estimator and B."""
    return sampled.parts(settings, run)


def run(settings: sampled.Settings, name: str, pool: Pool, progress: Progress) -> list[Record]:
    """Rewards over training."""
    _, seen, _ = training.train(settings, pool, progress)
    records = training.all_rows(settings, seen, [name.split(maxsplit=1)[0]])
    return [record | {"batch": settings.pool.batch} for record in records]


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: differences of mean rewards at the end of training."""
    table = table_of(records)
    batches = sorted(table.filter(pl.col("estimator") == "MFOS")["batch"].unique())

    def gap(batch: int) -> Estimate:
        rewards = {name: over_seeds(final(table, estimator=name, batch=batch), "reward") for name in ESTIMATORS}
        return rewards["CoalaPG"] - rewards["MFOS"]

    last = batches[-1]
    return [
        claim("COALA-PG earns more than M-FOS: largest difference of mean rewards over B",
              largest_of(map(gap, batches)), "≥", 0.4),
        claim(f"COALA-PG earns more than M-FOS with B = {last}: difference of mean rewards", gap(last), "≥", 0.2),
    ]  # fmt: skip
