"""The Coin Game, beyond the paper: agents that shape naive learners, whose coins they take.

Taking a coin pays 1 and costs the other player 2 if it has that player's colour. Two players who take whatever they can
earn nothing. The share of coins of one's own colour measures cooperation.
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import polars as pl

import coala_eqx as ce
from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.progress import Progress
from coala_eqx.training import Pool
from experiments import sampled, training
from experiments.claims import Estimate, claim, final, largest_of, over_seeds
from experiments.groups import PoolSettings
from experiments.settings import ALONE, override

SINGLE = True
"""Training is done in single precision."""


@dataclasses.dataclass(frozen=True)
class GameSettings:
    """The Coin Game."""

    size: int = 3
    """Side of the square map, in cells."""

    coins: str = "one"
    """Coins on the map: `one` at a time, or `both` colours."""

    stay: bool = False
    """Whether players may stay where they are."""

    new_coins: str = "free"
    """Cells on which new coins appear: `free` ones, or `any`."""

    def __post_init__(self) -> None:
        self.make()  # raises

    def make(self) -> ce.games.CoinGame:
        """The game. **Raises** `ValueError` for settings that describe no game."""
        return ce.games.CoinGame(**vars(self))


@dataclasses.dataclass(frozen=True)
class Settings(sampled.Settings):
    """Settings of this figure: those of the iterated prisoner's dilemma, but for the game."""

    game: Annotated[GameSettings, ALONE] = GameSettings()
    pool: Annotated[PoolSettings, ALONE] = PoolSettings(steps=32)

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        return {name: self.alone(estimator) for name, estimator in sampled.ESTIMATORS.items()}


PRESETS = {
    "smoke": override(Settings(), sampled.SMOKE_ON_GRIDS),
    "cpu": override(
        Settings(),
        {
            "batch": 8,
            "steps": 16,
            "meta_batch": 8,
            "iterations": 800,
            "agent.minibatches": 8,
            "agent.rate": 1e-3,
            "agent.discount": 0.999,
            "agent.gae_lambda": 0.9,
            "agent.td_lambda": 0.98,
            "agent.value_coefficient": 0.5 / 8,  # 0.5 / B, the weight of an action's own reward with COALA-PG
            "agent.leave_one_out": True,
            "learner.population": 4,
            "learner.pretraining": 500,
            "learner.pretraining_batch": 64,
            "learner.rate": 1e-2,
            "seeds": 3,
        },
    ),
    "paper": Settings(),
}


def parts(settings: Settings) -> list[Part]:
    """One part for each estimator."""
    return sampled.parts(settings, run)


def run(settings: sampled.Settings, name: str, pool: Pool, progress: Progress) -> list[Record]:
    """Records over training (`panel` is `training`), and for each inner episode at its end (`panel` is `episodes`)."""
    records, _ = training.shape(settings, name, pool, progress)
    return [record | shares(record) for record in records]


def shares(record: Record) -> Record:
    """Each player's share of its own colour among the coins that it takes; NaN if it takes none."""

    def share(own: float, others: float) -> float:
        return own / (own + others) if own + others > 0 else float("nan")

    return {
        "own_share": share(record["own_coins"], record["others_coins"]),
        "naive_own_share": share(record["other_own_coins"], record["other_others_coins"]),
    }


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: means over seeds at the end of training."""
    table = table_of(records).filter(pl.col("panel") == "training")

    def last(name: str, column: str) -> Estimate:
        return over_seeds(final(table, estimator=name), column)

    def more(column: str) -> Estimate:
        """Difference to the larger one of M-FOS and batch-unaware."""
        return last("CoalaPG", column) - largest_of(last(name, column) for name in ("MFOS", "BatchUnaware"))

    return [
        claim("COALA-PG earns more per step than the better one of M-FOS and batch-unaware, by", more("reward"),
              "≥", 0.02),
        claim("Learners take more of their own coins against COALA-PG: their share minus that against the others",
              more("naive_own_share"), "≥", 0.02),
    ]  # fmt: skip
