"""Figure 3B: two agents first shape naive learners and extort them, then play each other and come to cooperate."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from coala_eqx.runs.directory import Part
from coala_eqx.runs.progress import Progress
from experiments import analytic, evaluation, meta_training
from experiments.claims import claim, final
from experiments.errors import bootstrapped, median_of
from experiments.evaluation import rows
from experiments.settings import check_at_least, check_share


@dataclasses.dataclass(frozen=True)
class Settings(analytic.Settings):
    """Settings of Figure 3B."""

    initial_scale: float = 1.0
    """Standard deviation of the agents' initial logits. The paper does not say."""

    iterations: int = 1000
    """Number of iterations against naive learners, in the shaded span. The paper does not say."""

    iterations_together: int = 4000
    """Number of iterations of the second span. The paper does not say."""

    p_naive: float = 0.25
    """Share of naive learners in the second span. The paper does not say; the share is that of Figure 3C.
    Without naive learners the agents cooperate for some hundred iterations, and then exploit each other in turns
    (`docs/iterated.md`)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, "p_naive")
        check_at_least(self, 0, "initial_scale")
        check_at_least(self, 1, "iterations_together")
        if self.iterations_together % self.every:
            raise ValueError(
                f"`iterations_together` must be a multiple of `every`, but {self.iterations_together} is not a "
                f"multiple of {self.every}."
            )


PRESETS = {
    "smoke": Settings(iterations=100, iterations_together=100, every=50, seeds=2, meta_batch=4, evaluation_batch=8),
    "cpu": Settings(),
    "paper": Settings(meta_batch=128),
}


def parts(settings: Settings) -> list[Part]:
    """One part, because the second span continues the first."""
    total = settings.iterations + settings.iterations_together
    return [Part("both spans", total, lambda progress: run(settings, progress))]


def run(settings: Settings, progress: Progress) -> list[dict[str, Any]]:
    """Rewards in both spans. The second starts where the first ends, with a fresh optimiser."""
    draws = analytic.normal_pairs(settings)
    agents = analytic.stacked(settings.initial_scale * draws)
    shaped = meta_training.train(
        meta_training.pool_gradient(settings, 1.0), agents, settings.keys(analytic.TRAINING), settings, progress
    )
    later = dataclasses.replace(settings, iterations=settings.iterations_together)
    together = meta_training.train(
        meta_training.pool_gradient(settings, settings.p_naive),
        evaluation.last(shaped),
        settings.keys(analytic.LATER),
        later,
        progress,
    )
    at = [settings.iterations + iteration for iteration in evaluation.path_of(later)[1:]]
    whole = jax.tree.map(lambda a, b: jnp.concatenate([a, b[:, 1:]], axis=1), shaped, together)
    return rows(
        [*evaluation.path_of(settings), *at], **evaluation.pool_columns(settings, whole),
        span_1=settings.iterations,
    )  # fmt: skip


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims that judge the figure."""
    shaped, end = final(records, records[0]["span_1"]), final(records)
    gaps = np.stack([shaped[f"shaping_{agent}"] - shaped[f"naive_{agent}"] for agent in (1, 2)], axis=1)
    smaller = bootstrapped(lambda drawn: np.median(drawn, axis=0).min(), gaps)
    return [
        claim("Both extort in the shaded span: median difference to the learner's reward, the smaller of two", smaller,
              "≥", 0.3),
        claim("Then they cooperate: the first agent's median reward", median_of(end["play_1"]), "≥", 0.8),
        claim("Then they cooperate: the second agent's median reward", median_of(end["play_2"]), "≥", 0.8),
    ]  # fmt: skip
