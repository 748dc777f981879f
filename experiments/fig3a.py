"""Figure 3A: an agent that shapes naive learners, from pure defection, ends by extorting them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

import coala_eqx as ce
from coala_eqx.policies import BinaryMemoryOne
from coala_eqx.runs.directory import Part
from coala_eqx.runs.progress import Progress
from experiments import analytic, evaluation, meta_training
from experiments.analytic import ENTRIES
from experiments.claims import claim, final
from experiments.errors import median_of
from experiments.evaluation import rows


@dataclasses.dataclass(frozen=True)
class Settings(analytic.Settings):
    """Settings of Figure 3A."""

    initial_logit: float = -4.6
    """Initial logit of all five entries. −4.6 is a probability of 0.01 to cooperate."""


PRESETS = {
    "smoke": Settings(iterations=100, every=50, seeds=2, meta_batch=4, evaluation_batch=8),
    "cpu": Settings(),
    "paper": Settings(meta_batch=128, iterations=4000),
}


def parts(settings: Settings) -> list[Part]:
    """One part."""
    return [Part("shaping", settings.iterations, lambda progress: shape(settings, progress))]


def shape(settings: Settings, progress: Progress) -> list[dict[str, Any]]:
    """Train agents; record the rewards of both at the end of the learner's path, and their means over it, during
    meta-training.
    """
    problem = settings.problem()
    path = learn(problem, settings, progress)
    met = evaluation.meet_learners(problem, path, analytic.evaluation_learners(settings))
    return rows(
        evaluation.path_of(settings),
        shaping=met.other[..., -1],
        naive=met.own[..., -1],
        shaping_mean=met.other.mean(axis=-1),
        naive_mean=met.own.mean(axis=-1),
        finite=met.finite.astype(float),
        **evaluation.logits_of(path),
    )


def learn(problem: ce.IteratedShapingProblem, settings: Settings, progress: Progress) -> BinaryMemoryOne:
    """Train agents that shape the problem's learner; leaves `[seeds, records, …]`."""

    def gradient(policy, key):
        naive = analytic.normal_policies(key, settings.meta_batch, settings.naive_scale)
        return meta_training.shaping_gradient(problem, policy, naive)

    start = analytic.stacked(jnp.full((settings.seeds, len(ENTRIES)), settings.initial_logit))
    return meta_training.train(gradient, start, settings.keys(analytic.TRAINING), settings, progress)


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims that judge the figure."""
    end = final(records)
    return [
        claim("The shaper earns more than the learner on the learner's last step: median difference",
              median_of(end["shaping"] - end["naive"]), "≥", 0.3),
        claim("It starts from pure defection: its median reward at the start",
              median_of(final(records, 0)["shaping"]), "≤", 0.1),
    ]  # fmt: skip
