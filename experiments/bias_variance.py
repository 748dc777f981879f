"""Is it bias or variance? Exact bias and exact noise of four estimators as B, M and T grow, with three critics.

Nothing is sampled: every outcome is enumerated. The game is a stag hunt, in which the co-player's expected update
depends on the ego agent already at T = 1 (in the paper's prisoner's dilemma it does not, see
`proofs_checks/figure_12.py`); the co-player learns by SGD, the ego agent remembers everything.

Source: a question of the reviewers of Meulemans et al. (2025).
"""

import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

import coala_eqx as ce
from coala_eqx.estimators import MFOS, BatchUnaware, CoalaPG, Reinforce
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from coala_eqx.learners import PolicyGradient
from coala_eqx.policies import AbstractPolicy, FullHistory, MemoryOne
from experiments.records import claim

ESTIMATORS = {"CoalaPG": CoalaPG(), "Reinforce": Reinforce(), "MFOS": MFOS(), "BatchUnaware": BatchUnaware()}
CRITICS = ("none", "Eq. 8", "Eqs 13–14")

_LEARNER = PolicyGradient(optimiser=optax.sgd(1.0))


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is enumerated."""

    batches: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    """B, at M = 2 and T = 1."""

    episodes: tuple[int, ...] = (1, 2, 3, 4, 5)
    """M, at B = 2 and T = 1."""

    steps: tuple[int, ...] = (1, 2)
    """T, at B = 2 and M = 2, for an ego agent that remembers everything."""

    memory_one_steps: tuple[int, ...] = (1, 2, 3)
    """The same for an ego agent that sees the last step only, and without a critic: its table stays small."""

    seed: int = 0
    """Draws the policies."""


PRESETS = {
    "smoke": Settings(batches=(1, 2, 3), episodes=(1, 2, 3), steps=(1, 2), memory_one_steps=(1, 2)),
    "cpu": Settings(),
    "paper": Settings(batches=(1, 2, 3, 4, 5, 6, 7, 8), memory_one_steps=(1, 2, 3)),
}


@dataclasses.dataclass(frozen=True)
class Point:
    """One problem, and which critics are tried on it."""

    axis: str
    ego: str
    batch: int
    episodes: int
    steps: int

    @property
    def critics(self) -> tuple[str, ...]:
        """Those that are tried."""
        return CRITICS if self.ego == "FullHistory" else CRITICS[:1]


class OwnCritic(AbstractScoreFunctionEstimator):
    """Eq. 8: an estimator's own coefficients minus a critic of these, C_l^b − V(h_l^b)."""

    estimator: AbstractScoreFunctionEstimator

    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards: Any, values: Any = None) -> Array:
        own = self.estimator.coefficients(rewards)
        return own if values is None else own - values


class OwnTarget(eqx.Module):
    """What that critic is to expect: the estimator's coefficients, without a critic."""

    estimator: AbstractScoreFunctionEstimator

    def __call__(self, rewards: Array, values: Array) -> Array:
        return self.estimator.coefficients(rewards)


def points(settings: Settings) -> list[Point]:
    """All problems, in the order of their cost within each axis."""
    return [
        *(Point("B", "FullHistory", batch, 2, 1) for batch in settings.batches),
        *(Point("M", "FullHistory", 2, episodes, 1) for episodes in settings.episodes),
        *(Point("T", "FullHistory", 2, 2, steps) for steps in settings.steps),
        *(Point("T", "MemoryOne", 2, 2, steps) for steps in settings.memory_one_steps),
    ]


def measure(point: Point, seed: int) -> Iterator[dict[str, Any]]:
    """Yield one record for each estimator and critic at this point."""
    problem, policy = make_problem(point, seed)
    truth = ce.exact.gradient(problem, policy).logits
    size = _norm(truth)
    for critic in point.critics:
        for name, estimator in ESTIMATORS.items():
            started = time.perf_counter()
            gradient, variance = ce.exact.moments(*with_critic(critic, estimator, problem, policy))
            mean, variance = gradient.logits, float(variance)
            bias = _norm(mean - truth)
            yield {
                **dataclasses.asdict(point),
                "estimator": name,
                "critic": critic,
                "relative_bias": bias / size,
                "relative_noise": variance**0.5 / size,
                "snr": _norm(mean) / variance**0.5,
                "cosine": float(jnp.sum(mean * truth)) / (_norm(mean) * size),
                # The mean of N meta-episodes has variance/N: from here on bias² is the larger part of its error.
                "bias_dominates_from": variance / bias**2 if bias > 1e-9 * size else float("inf"),
                "gradient_norm": size,
                "outcomes": ce.exact.count_outcomes(problem),
                "seconds": time.perf_counter() - started,
            }


def make_problem(point: Point, seed: int) -> tuple[ce.ShapingProblem, AbstractPolicy]:
    """The stag hunt of this size, with the same co-player and the same behaviour of the ego agent at all sizes."""
    game = ce.games.stag_hunt()
    key_ego, key_other = jax.random.split(jax.random.key(seed))
    problem = ce.ShapingProblem(
        game=game,
        co_players=(MemoryOne.random(game, key_other, player=1),),
        learner=_LEARNER,
        batch=point.batch,
        episodes=point.episodes,
        steps=point.steps,
    )
    memory_one = MemoryOne.random(game, key_ego)
    if point.ego == "MemoryOne":
        return problem, memory_one
    return problem, FullHistory.tabulate(memory_one, game, point.episodes * point.steps)


def with_critic(
    critic: str, estimator: AbstractScoreFunctionEstimator, problem: ce.ShapingProblem, policy: AbstractPolicy
) -> tuple[AbstractScoreFunctionEstimator, ce.ShapingProblem, AbstractPolicy]:
    """The estimator with an exact critic of this kind: what `moments` takes."""
    if critic == "none":
        return estimator, problem, policy
    assert isinstance(policy, FullHistory)
    if critic == "Eqs 13–14":
        return estimator, problem, ce.exact.exact_critic(problem, policy, ce.exact.own_return)
    return OwnCritic(estimator), problem, ce.exact.exact_critic(problem, policy, OwnTarget(estimator))


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the figure is judged by."""

    def column(name: str, **where: Any) -> list[float]:
        return [r[name] for r in records if all(r[key] == value for key, value in where.items())]

    sweep = {"axis": "B", "critic": "none"}
    biases = column("relative_bias", estimator="MFOS", **sweep)
    noises = [column("relative_noise", estimator=name, critic="none") for name in ("CoalaPG", "Reinforce")]
    ratios = [
        ours / theirs
        for ours, theirs, batch in zip(*noises, column("batch", estimator="CoalaPG", critic="none"), strict=True)
        if batch > 1
    ]
    noise, with_a_critic = (
        column("relative_noise", estimator="CoalaPG", axis="B", critic=critic)[-1] for critic in ("none", "Eqs 13–14")
    )
    return [
        claim("COALA-PG is unbiased at every size, with every critic: largest relative bias",
              max(column("relative_bias", estimator="CoalaPG")), "≤", 1e-9),
        claim("So is batch-level REINFORCE: largest relative bias",
              max(column("relative_bias", estimator="Reinforce")), "≤", 1e-9),
        claim("M-FOS's bias grows with B: smallest increase from one B to the next",
              min(b - a for a, b in itertools.pairwise(biases)), "≥", 0.1),
        claim("M-FOS is a matter of bias: at the largest B, bias is more than noise from this many meta-episodes on",
              column("bias_dominates_from", estimator="MFOS", **sweep)[-1], "≤", 128),
        claim("COALA-PG is less noisy than REINFORCE for B > 1: largest ratio of their noise", max(ratios), "≤", 1),
        claim("The critic of Eqs 13–14 makes COALA-PG less noisy at the largest B: ratio",
              with_a_critic / noise, "≤", 1),
    ]  # fmt: skip


def _norm(array: Array) -> float:
    return float(jnp.linalg.norm(array))
