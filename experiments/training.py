"""Training of all seeds of a sampled figure, and its records."""

from collections.abc import Sequence
from typing import Any

from coala_eqx.runs.directory import Record
from coala_eqx.runs.progress import Progress
from coala_eqx.training import Pool, PoolInfo, PoolState
from coala_eqx.training.driver import run_training
from coala_eqx.training.history import rows
from coala_eqx.training.recordings import keep_results
from experiments.sampled import Settings


def train(settings: Settings, pool: Pool, progress: Progress) -> tuple[PoolState, PoolInfo, Any]:
    """Train all seeds by `run_training`, and keep agents and recordings.

    **Returns** the last states, the measurements, and what `watch` measured.
    """
    training = settings.training(pool)
    result = run_training(training, progress)
    keep_results(result.pool, result.states, training.layout, progress)
    return result.states, result.info, result.watched


def all_rows(settings: Settings, seen: PoolInfo, names: Sequence[str]) -> list[Record]:
    """All records of training, with the names of the agents' estimators."""
    records = rows(seen, (), settings.run.every, range(settings.run.iterations // settings.run.every))
    return [record | {"estimator": names[record["agent"]]} for record in records]


def episode_rows(seen: PoolInfo, name: str) -> list[Record]:
    """Records of each inner episode at the last record, for each seed's first agent against naive learners.

    Their `panel` is `episodes`, and their `iteration` is the number of the inner episode. `name` is the name of the
    agent's estimator.
    """
    seeds, _, _, episodes = seen.ego.shape
    columns: dict[str, Any] = {"reward": seen.ego, "naive": seen.co_player, **seen.measures}
    return [
        {"panel": "episodes", "seed": seed, "estimator": name, "iteration": episode + 1}
        | {column: float(values[seed, -1, 0, episode]) for column, values in columns.items()}
        | {"finite": float(seen.finite[seed, :, 0].min())}
        for seed in range(seeds)
        for episode in range(episodes)
    ]


def shape(settings: Settings, name: str, pool: Pool, progress: Progress) -> tuple[list[Record], PoolInfo]:
    """Train one agent that shapes learners.

    **Returns** records over training (`panel` is `training`) and for each inner episode at its end (`panel` is
    `episodes`), and all measurements.
    """
    _, seen, _ = train(settings, pool, progress)
    over_training = [record | {"panel": "training"} for record in all_rows(settings, seen, [name])]
    return over_training + episode_rows(seen, name), seen
