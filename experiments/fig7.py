"""Figure 7: meta agents in CleanUp-lite, in mixed pools, against each other over training.

LOLA-DiCE is left out, because it is not defined against meta agents, which do not learn. Beside the pools, a COALA-PG
agent that only shapes naive learners is trained with the same settings.
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

from coala_eqx._checks import check_whole
from coala_eqx.runs.directory import Record, table_of
from coala_eqx.training import Pool
from experiments import clean_up, fig5c, sampled
from experiments.claims import Estimate, claim, final, over_seeds, smallest_of
from experiments.groups import AgentSettings, LearnerSettings, PoolSettings, RunSettings
from experiments.settings import ALONE, check_at_least, override
from experiments.tables import SHAPING, WITH_ADVANTAGES

SINGLE = True
"""Training is done in single precision."""


@dataclasses.dataclass(frozen=True)
class Settings(clean_up.Settings):
    """Settings of Figures 7 and 14."""

    pool: Annotated[PoolSettings, ALONE] = PoolSettings(
        batch=64, episodes=5, steps=64, meta_batch=512, p_naive=0.75, dynamic_naive=True
    )
    run: Annotated[RunSettings, ALONE] = RunSettings(iterations=30000, every=100)
    agent: AgentSettings = AgentSettings(algorithm="a2c", optimiser="sgd", rate=0.1, reward_scale=0.1, centre=True)
    learner: LearnerSettings = LearnerSettings(optimiser="sgd", rate=1.0, reward_scale=0.1, discount=1.0, population=3)

    agents: int = 3
    """Number of meta agents in a pool."""

    baseline_rate: float = 0.03
    """Learning rate of M-FOS and batch-unaware, in place of `agent.rate`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "baseline_rate")
        check_whole("agents", self.agents, 2, "as an agent does not play itself")

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        baseline = override(self, {"agent.rate": self.baseline_rate})
        settings = {name: self if name == "CoalaPG" else baseline for name in WITH_ADVANTAGES}
        pools = {
            name: (one, one.make_pool((sampled.ESTIMATORS[name],) * self.agents)) for name, one in settings.items()
        }
        return pools | {SHAPING: override(self, {"p_naive": 1.0}).alone(sampled.ESTIMATORS["CoalaPG"])}


PRESETS = {
    "smoke": override(Settings(), sampled.SMOKE_ON_GRIDS | {"agents": 2}),
    "cpu": override(
        Settings(),
        clean_up.SMALL
        | {
            "agents": 2,
            "iterations": 160,
            "agent.entropy_until": 0.6,
            "dynamic_naive": False,
            "agent.algorithm": "ppo",
            "agent.optimiser": "adam",
            "baseline_rate": 1e-3,
            "learner.optimiser": "adam",
            "learner.discount": 0.99,
        },
    ),
    "paper": override(Settings(), clean_up.PAPER | {"chunk": 2048}),
}


parts = fig5c.parts
"""One part for each pool, and one for the single agent: rewards and the game's measures of all agents over training."""


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: means over seeds and agents at the end of training, against each other."""
    table = table_of(records)

    def last(name: str, column: str) -> Estimate:
        return over_seeds(final(table, estimator=name), column)

    zaps = last("CoalaPG", "zaps_together")
    at_first = final(table, int(smallest_of(table["iteration"])), estimator="CoalaPG")

    lower = (
        ("COALA-PG agents share the cleaning more evenly", "cleaning_discrepancy", 0.02),
        ("COALA-PG agents zap less", "zaps", 0.005),
    )
    return [
        *(
            claim(f"COALA-PG agents earn more than those by {name}: difference of rewards per step",
                  last("CoalaPG", "together") - last(name, "together"), "≥", 0.01)
            for name in WITH_ADVANTAGES[1:]
        ),
        *(
            claim(f"{what} than those by {name}: difference",
                  last(name, f"{column}_together") - last("CoalaPG", f"{column}_together"), "≥", least)
            for what, column, least in lower
            for name in WITH_ADVANTAGES[1:]
        ),
        claim("COALA-PG agents zap less at the end than at first: difference",
              over_seeds(at_first, "zaps_together") - zaps, "≥", 0.005),
        claim("COALA-PG agents zap less than a COALA-PG agent that only shapes learners: difference",
              last(SHAPING, "zaps") - zaps, "≥", 0.005),
    ]  # fmt: skip
