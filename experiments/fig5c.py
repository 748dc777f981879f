"""Figure 5C: in a mixed pool agents by COALA-PG come to cooperate with each other; other estimators' agents defect.

COALA-PG agents that meet no naive learners defect, too: the presence of naive learners makes defection a bad choice.
The settings of the preset `cpu` were found with COALA-PG, and batch-unaware's defection depends on them. If its
gradient has the same share as the others', its agents may cooperate (`docs/small_size.md`).
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

from coala_eqx._checks import check_whole
from coala_eqx.estimators import MFOS, AbstractScoreFunctionEstimator, BatchUnaware, CoalaPG
from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.progress import Progress
from coala_eqx.training import Pool
from experiments import sampled, training
from experiments.claims import claim, final, over_seeds
from experiments.groups import PoolSettings
from experiments.settings import ALONE, override
from experiments.tables import WITHOUT_NAIVE

SINGLE = True
"""Training is done in single precision."""

POOLS: dict[str, AbstractScoreFunctionEstimator] = {
    "CoalaPG": CoalaPG(),
    "MFOS": MFOS(),
    "BatchUnaware": BatchUnaware(),
    WITHOUT_NAIVE: CoalaPG(),
}
"""Estimator of all agents of each pool."""


@dataclasses.dataclass(frozen=True)
class Settings(sampled.Settings):
    """Settings of Figure 5C."""

    pool: Annotated[PoolSettings, ALONE] = PoolSettings(p_naive=0.75)
    agents: int = 4
    """Number of meta agents in a pool."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("agents", self.agents, 2, "as an agent does not play itself")

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        alone = self.plain({"p_naive": 0.0})
        settings = {name: alone if name == WITHOUT_NAIVE else self for name in POOLS}
        return {name: (settings[name], settings[name].make_pool((POOLS[name],) * self.agents)) for name in POOLS}


MIXED: dict[str, Any] = {
    "meta_batch": 16,
    "iterations": 500,
    "agent.rate": 1e-3,
    "p_naive": 0.5,
    "agent.naive_weight": 4.0,
    "agent.naive_advantages": "printed",
    "agent.entropy_coefficient": 0.02,
    "agent.entropy_until": 1.0,
}
"""Settings of small mixed pools. With p_naive = 0.75, full weight and no entropy bonus, as in the paper, agents of this
size shape learners, but settle on mutual defection with each other before they find anything better. COALA-PG pairs
need an entropy bonus of 0.04 to find cooperation in every seed (`docs/small_size.md`).
"""

PRESETS = {
    "smoke": override(Settings(), sampled.SMOKE | {"agents": 2}),
    "cpu": override(Settings(), MIXED | {"seeds": 4, "agents": 2, "agent.entropy_coefficient": 0.04}),
    "paper": Settings(),
}


def parts(settings: Settings) -> list[Part]:
    """One part for each pool."""
    return sampled.parts(settings, run)


def run(settings: sampled.Settings, name: str, pool: Pool, progress: Progress) -> list[Record]:
    """Rewards of all agents over training."""
    _, seen, _ = training.train(settings, pool, progress)
    return training.all_rows(settings, seen, [name] * len(pool.agents))


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: mean rewards of meta agents against each other at the end."""
    table = table_of(records)
    together = {name: over_seeds(final(table, estimator=name), "together") for name in POOLS}
    return [
        claim("Agents by COALA-PG cooperate: mean reward against each other", together["CoalaPG"], "≥", 0.7),
        *(
            claim(f"Agents of the pool {name} do not cooperate: mean reward", together[name], "≤", 0.3)
            for name in POOLS
            if name != "CoalaPG"
        ),
    ]  # fmt: skip
