"""Figure 5A: against naive learners COALA-PG learns to shape them, the other estimators hardly do.

LOLA-DiCE is a baseline with a policy that remembers the current inner episode only; it looks ahead from the learners'
first policies, and is played for whole meta-episodes.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import polars as pl

from coala_eqx.estimators import MFOS, BatchUnaware, CoalaPG, LolaDice
from experiments import sampled
from experiments.progress import Progress
from experiments.records import Part, Record, claim, final, mean, table_of

SINGLE = True
"""Training is done in single precision."""

ESTIMATORS = (CoalaPG(), MFOS(), BatchUnaware(), LolaDice())


@dataclasses.dataclass(frozen=True)
class Settings(sampled.Settings):
    """Of Figures 5A and 5B."""


PRESETS = {
    "smoke": Settings(
        batch=4, episodes=3, steps=3, meta_batch=4, iterations=4, every=2, naive_population=2, width=4, seeds=2
    ),
    "cpu": Settings(meta_batch=16, iterations=300, rate=1e-3, seeds=3),
    "paper": Settings(),
}


def parts(settings: Settings) -> list[Part]:
    """One for each estimator."""
    return [
        Part(
            type(estimator).__name__,
            settings.iterations,
            lambda progress, estimator=estimator: run(settings, estimator, progress),
        )
        for estimator in ESTIMATORS
    ]


def run(settings: Settings, estimator: Any, progress: Progress) -> list[Record]:
    """Rewards over training (`panel` is `training`), and by inner episode at its end (`panel` is `episodes`)."""
    name = type(estimator).__name__
    _, seen = sampled.train(settings, (estimator,), progress)
    records = [record | {"panel": "training"} for record in sampled.rows(settings, seen, [name])]
    for seed in range(settings.seeds):
        for episode in range(settings.episodes):
            here = seed, -1, 0, episode
            rewards = {"reward": seen.own[here], "naive": seen.naive[here]}
            rewards |= {"defects": seen.own_actions[*here, 1], "naive_defects": seen.naive_actions[*here, 1]}
            records.append(
                {"panel": "episodes", "seed": seed, "estimator": name, "iteration": episode + 1}
                | {column: float(value) for column, value in rewards.items()}
                | {"finite": float(seen.finite[seed, :, 0].min())}
            )
    return records


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What the figure is judged by: means over seeds at the end of training."""
    training = table_of(records).filter(pl.col("panel") == "training")
    rewards = {
        type(estimator).__name__: mean(final(training, estimator=type(estimator).__name__)["reward"])
        for estimator in ESTIMATORS
    }
    others = max(rewards["MFOS"], rewards["BatchUnaware"])
    return [
        claim("COALA-PG earns more than the others: its mean reward over the larger one of M-FOS and batch-unaware",
              rewards["CoalaPG"] / others if others > 0 else float("inf"), "≥", 2),
        claim("It shapes: its mean reward", rewards["CoalaPG"], "≥", 0.8),
        claim("It earns more than LOLA-DiCE: difference of mean rewards", rewards["CoalaPG"] - rewards["LolaDice"],
              "≥", 0.2),
    ]  # fmt: skip
