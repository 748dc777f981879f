"""Figure 6: agents in CleanUp-lite that shape naive learners, over training and within a meta-episode after it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import polars as pl

from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.progress import Progress
from coala_eqx.runs.settings import named
from coala_eqx.training import Pool
from experiments import clean_up, sampled, training
from experiments.claims import Estimate, claim, kept, over_seeds
from experiments.rewards import final_reward
from experiments.settings import check_at_least, override

SINGLE = True
"""Training is done in single precision."""

OTHERS = ("MFOS", "BatchUnaware", "LolaDice")
"""Estimators that COALA-PG is compared with."""


@dataclasses.dataclass(frozen=True)
class Settings(clean_up.Settings):
    """Settings of Figures 6 and 13. Estimators have rates and scales of their own, as in the paper's tables."""

    baseline_reward_scale: float = 1.0
    """Factor of the rewards of M-FOS and batch-unaware, in place of `agent.reward-scale`."""

    m_fos_rate: float = 3e-3
    """Learning rate of M-FOS, in place of `agent.rate`."""

    m_fos_balance: float = 1.0
    """Factor of M-FOS's critic loss and entropy bonus. The paper has none.
    M-FOS's advantages of the current inner episode are B times those of the other estimators."""

    lola_rate: float = 0.1
    """Learning rate of LOLA-DiCE, which uses SGD, in place of `agent.rate`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "m_fos_rate", "m_fos_balance", "lola_rate", "baseline_reward_scale")

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        baseline = override(self, {"agent.reward_scale": self.baseline_reward_scale})
        balanced = ("agent.value_coefficient", "agent.entropy_coefficient")
        m_fos = override(
            baseline,
            {"agent.rate": self.m_fos_rate} | {name: self.m_fos_balance * named(self)[name] for name in balanced},
        )
        settings = {
            "CoalaPG": self,
            "MFOS": m_fos,
            "BatchUnaware": baseline,
            "LolaDice": override(self, {"agent.optimiser": "sgd", "agent.rate": self.lola_rate}),
        }
        return {name: one.alone(sampled.ESTIMATORS[name]) for name, one in settings.items()}


PRESETS = {
    "smoke": override(Settings(), sampled.SMOKE_ON_GRIDS),
    "cpu": override(
        Settings(),
        clean_up.SMALL
        | {
            "baseline_reward_scale": 0.05,
            "m_fos_rate": 1e-3,
            "m_fos_balance": 8.0,
            "meta_batch": 64,  # with half of it COALA-PG's gradient is nearly all noise
            "iterations": 200,
            "agent.entropy_until": 0.45,
            "seeds": 4,
        },
    ),
    "paper": override(Settings(), clean_up.PAPER),
}


def parts(settings: Settings) -> list[Part]:
    """One part for each estimator."""
    return sampled.parts(settings, run)


def run(settings: sampled.Settings, name: str, pool: Pool, progress: Progress) -> list[Record]:
    """Records over training (`panel` is `training`), and for each inner episode at its end (`panel` is `episodes`)."""
    return training.shape(settings, name, pool, progress)[0]


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: means over seeds at the end of training.

    Records with `panel` `again` have only an agent's final reward, for a seed of another run at the same settings.
    Leads are over all seeds that both estimators have.
    """
    table = table_of(records)
    episodes = table.filter(pl.col("panel") == "episodes")

    def within(name: str, column: str) -> Estimate:
        return over_seeds(kept(episodes).filter(pl.col("estimator") == name), column)

    lower = (("cleaning discrepancy", "cleaning_discrepancy", 0.02), ("zapping", "zaps", 0.005))
    return [
        *(
            claim(f"COALA-PG earns more than {name}: difference of rewards per step",
                  final_reward(table, "CoalaPG") - final_reward(table, name), "≥", 0.01)
            for name in OTHERS
        ),
        *(
            claim(f"COALA-PG's {what} over a meta-episode is lower than {name}'s: difference",
                  within(name, column) - within("CoalaPG", column), "≥", least)
            for name in OTHERS
            for what, column, least in lower
        ),
    ]  # fmt: skip
