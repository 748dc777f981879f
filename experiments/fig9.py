"""Figure 9: a mixed pool leaves unconditional defection; shaping is learned first, then to start with cooperation."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import polars as pl

from experiments import analytic
from experiments.analytic import ENTRIES, rows
from experiments.records import Part, Progress, claim, final, median


@dataclasses.dataclass(frozen=True)
class Settings(analytic.Settings):
    """Of Figure 9, and of Figure 10 from other policies."""

    initial: tuple[float, ...] = (-4.6, -4.6, -4.6, -4.6, -4.6)
    """The agents' logits, start, CC, CD, DC and DD; a probability of 0.01 to cooperate."""

    initial_scale: float = 0.01
    """Standard deviation around them, so that the agents differ. Not said."""

    p_naive: float = 0.25
    """Not said."""

    iterations: int = 6000
    seeds: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.initial) != len(ENTRIES):
            raise ValueError(f"`initial` must be {len(ENTRIES)} logits, but is {self.initial}.")


PRESETS = {
    "smoke": Settings(iterations=100, every=50, seeds=2, meta_batch=4, evaluation_batch=8),
    "cpu": Settings(),
    "paper": Settings(meta_batch=128, iterations=12000),
}


def parts(settings: Settings) -> list[Part]:
    """One."""
    return [Part("pool", settings.iterations, lambda progress: run(settings, progress))]


def run(settings: Settings, progress: Progress) -> list[dict[str, Any]]:
    """Rewards of two agents against learners and each other, and the first one's logits."""
    path = learn(settings, progress)
    return rows(analytic.path_of(settings), **analytic.pool_columns(settings, path))


def learn(settings: Settings, progress: Progress) -> analytic.Agents:
    """Two agents of the pool, leaves `[seeds, records, …]`."""
    draws = jax.vmap(lambda key: jax.random.normal(key, (2, 5)))(settings.keys(analytic.INITIAL))
    logits = jax.numpy.asarray(settings.initial) + settings.initial_scale * draws
    agents = tuple(analytic.stacked(logits[:, i]) for i in range(2))
    gradient = analytic.pool_gradient(settings, settings.p_naive)
    return analytic.train(gradient, agents, settings.keys(analytic.TRAINING), settings, progress)


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the figure is judged by."""
    end = final(records)
    medians = pl.DataFrame(records).group_by("iteration").agg(pl.col(ENTRIES).median()).sort("iteration")
    risen = {entry: _first(medians, entry) for entry in ENTRIES}
    return [
        claim("It escapes from defection: median reward of the agents against each other in the end",
              median(end["play_1"]), "≥", 0.8),
        claim("The start logit rises last: iteration at which its median is positive, minus that of CC",
              risen["start"] - risen["CC"], "≥", 1),
        claim("The start logit does become positive: its median in the end", median(end["start"]), "≥", 0),
    ]  # fmt: skip


def _first(medians: pl.DataFrame, entry: str) -> float:
    """The first iteration at which the median logit is positive; that after the last if it never is."""
    positive = medians.filter(pl.col(entry) > 0)["iteration"]
    return float(positive[0]) if len(positive) else float(medians["iteration"][-1] + 1)
