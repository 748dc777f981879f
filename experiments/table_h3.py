"""Section H.3: an agent by COALA-PG and one by M-FOS that meet each other and naive learners cooperate.

In the paper, M-FOS agents among M-FOS agents and naive learners do not cooperate, so the opponents decide. In the
preset `cpu` M-FOS's gradient against learners has 1/B of COALA-PG's weight, because the two hardly ever cooperate at
that size otherwise (`docs/small_size.md`). With that weight, M-FOS agents may cooperate among themselves, too.
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

from coala_eqx.estimators import MFOS, AbstractScoreFunctionEstimator, CoalaPG
from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.progress import Progress
from coala_eqx.training import Pool
from experiments import fig5c, sampled, training
from experiments.claims import Estimate, claim, final, over_seeds
from experiments.groups import PoolSettings
from experiments.settings import ALONE, check_at_least, override

SINGLE = True
"""Training is done in single precision."""

POOLS: dict[str, tuple[AbstractScoreFunctionEstimator, ...]] = {
    "both": (CoalaPG(), MFOS()),
    "M-FOS only": (MFOS(), MFOS()),
}
"""Estimators of the agents in each pool."""


@dataclasses.dataclass(frozen=True)
class Settings(sampled.Settings):
    """Settings of this table."""

    pool: Annotated[PoolSettings, ALONE] = PoolSettings(p_naive=0.75)

    m_fos_naive_weight: float = 1.0
    """Weight of M-FOS's meetings with naive learners, in place of `agent.naive-weight`.
    In M-FOS's gradient against learners the current inner episode weighs B times as much as in COALA-PG's.
    With 1/B of the weight it weighs the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "m_fos_naive_weight")

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        lighter = override(self, {"agent.naive_weight": self.m_fos_naive_weight})

        def pool(estimators: tuple[AbstractScoreFunctionEstimator, ...]) -> Pool:
            made = self.make_pool(estimators)
            weights = ((lighter if isinstance(one, MFOS) else self).naive_weight_of(one) for one in estimators)
            agents = (
                dataclasses.replace(agent, naive_weight=weight)
                for agent, weight in zip(made.agents, weights, strict=True)
            )
            return dataclasses.replace(made, agents=tuple(agents))

        return {name: (self, pool(estimators)) for name, estimators in POOLS.items()}


SMALL: dict[str, Any] = fig5c.MIXED | {"iterations": 1000}
"""Settings of the preset `cpu`."""

PRESETS = {
    "smoke": override(Settings(), sampled.SMOKE),
    "cpu": override(
        Settings(), SMALL | {"m_fos_naive_weight": SMALL["agent.naive_weight"] / Settings().pool.batch, "seeds": 2}
    ),
    "paper": Settings(),
}


def parts(settings: Settings) -> list[Part]:
    """One part for each pool."""
    return sampled.parts(settings, run)


def run(settings: sampled.Settings, name: str, pool: Pool, progress: Progress) -> list[Record]:
    """Rewards of both agents over training."""
    _, seen, _ = training.train(settings, pool, progress)
    names = [type(estimator).__name__ for estimator in POOLS[name]]
    return [record | {"pool": name} for record in training.all_rows(settings, seen, names)]


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the table: mean rewards of the agents against each other at the end."""
    table = table_of(records)

    def together(pool: str, estimator: str) -> Estimate:
        return over_seeds(final(table, pool=pool, estimator=estimator), "together")

    return [
        claim("COALA-PG against M-FOS: mean reward", together("both", "CoalaPG"), "≥", 0.7),
        claim("M-FOS against COALA-PG: mean reward", together("both", "MFOS"), "≥", 0.7),
        claim("M-FOS against M-FOS, with naive learners: mean reward", together("M-FOS only", "MFOS"), "≤", 0.2),
    ]
