"""Is it bias or variance? Exact bias and exact noise of four estimators as B, M and T grow, with three critics.

Nothing is sampled: every outcome is enumerated. The game is a stag hunt, in which the co-player's expected update
depends on the ego agent already at T = 1. (In the paper's prisoner's dilemma it does not, see
`proofs_checks/figure_12.py`.) The co-player learns by SGD. The ego agent remembers everything and has separate
parameters for every history. With the chosen seed, the current-episode part of the gradient and the future part are
equally large and point apart: hunting the hare pays now, and hunting the stag teaches the co-player to hunt it.

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
from coala_eqx.policies import FullHistory, MemoryOne
from coala_eqx.runs.directory import Part, Record
from coala_eqx.runs.progress import Progress
from experiments.claims import claim

ESTIMATORS = {"CoalaPG": CoalaPG(), "Reinforce": Reinforce(), "MFOS": MFOS(), "BatchUnaware": BatchUnaware()}
CRITICS = ("none", "Eq. 8", "Eqs 13–14")

_LEARNER = PolicyGradient(optimiser=optax.sgd(2.0))

_SHIFT = 1.0
"""Constant added to the ego agent's payoffs, so that they are ≥ 0. It changes no expectation, but it changes the noise
without a critic.
"""

_MOST_STEPS = 6
"""Number of steps for which the ego agent's policy is drawn. Shorter meta-trajectories share its beginning."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Problems to enumerate."""

    batches: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    """Values of B (parallel trajectories), at M = 2 and T = 1."""

    episodes: tuple[int, ...] = (1, 2, 3, 4, 5)
    """Values of M (inner episodes), at B = 2 and T = 1."""

    steps: tuple[int, ...] = (1, 2)
    """Values of T (steps), at B = 2 and M = 2, for an ego agent that remembers everything."""

    memory_one_steps: tuple[int, ...] = (1, 2, 3)
    """Values of T for an ego agent that sees the last step only, without a critic. Its table stays small."""

    seed: int = 3
    """Seed of the policies."""


PRESETS = {
    "smoke": Settings(batches=(1, 2, 3), episodes=(1, 2, 3), steps=(1, 2), memory_one_steps=(1, 2)),
    "cpu": Settings(),
    "paper": Settings(batches=(1, 2, 3, 4, 5, 6, 7, 8), memory_one_steps=(1, 2, 3)),
}


@dataclasses.dataclass(frozen=True)
class Point:
    """One problem, and the critics to try on it."""

    axis: str
    ego: str
    batch: int
    episodes: int
    steps: int

    @property
    def name(self) -> str:
        """Description of the problem."""
        return f"{self.axis}: B, M, T = {self.batch}, {self.episodes}, {self.steps}, {self.ego}"

    @property
    def critics(self) -> tuple[str, ...]:
        """Names of the critics to try."""
        return CRITICS if self.ego == "FullHistory" else CRITICS[:1]


class OwnCritic(AbstractScoreFunctionEstimator):
    """Eq. 8: an estimator's own coefficients minus a critic that predicts them, C_l^b − V(h_l^b)."""

    estimator: AbstractScoreFunctionEstimator

    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards: Any, values: Any = None) -> Array:
        own = self.estimator.coefficients(rewards)
        return own if values is None else own - values


class OwnTarget(eqx.Module):
    """Target of that critic: the estimator's coefficients without a critic."""

    estimator: AbstractScoreFunctionEstimator

    def __call__(self, rewards: Array, values: Array) -> Array:
        return self.estimator.coefficients(rewards)


def points(settings: Settings) -> list[Point]:
    """All problems, in the order of their cost within each axis.

    **Raises** `ValueError` if a meta-trajectory is longer than the ego agent's memory.
    """
    problems = [
        *(Point("B", "FullHistory", batch, 2, 1) for batch in settings.batches),
        *(Point("M", "FullHistory", 2, episodes, 1) for episodes in settings.episodes),
        *(Point("T", "FullHistory", 2, 2, steps) for steps in settings.steps),
        *(Point("T", "MemoryOne", 2, 2, steps) for steps in settings.memory_one_steps),
    ]
    for point in problems:
        if point.ego == "FullHistory" and point.episodes * point.steps > _MOST_STEPS:
            raise ValueError(
                f"{point} takes {point.episodes * point.steps} steps, more than {_MOST_STEPS}; ask for fewer."
            )
    return problems


def parts(settings: Settings) -> list[Part]:
    """One part for each point."""
    return [
        Part(point.name, 1, lambda progress, point=point: _measured(point, settings.seed, progress))
        for point in points(settings)
    ]


def _measured(point: Point, seed: int, progress: Progress) -> list[Record]:
    records = list(measure(point, seed))
    progress(1)
    return records


def measure(point: Point, seed: int) -> Iterator[dict[str, Any]]:
    """Yield one record for each estimator and critic at this point."""
    problem, policy = make_problem(point, seed)
    truth = ce.exact.gradient(problem, policy).logits
    size = _norm(truth)
    for critic in point.critics:
        shared = ce.exact.exact_critic(problem, policy, ce.exact.own_return) if critic == "Eqs 13–14" else policy
        for name, estimator in ESTIMATORS.items():
            started = time.perf_counter()
            tried, tried_policy = estimator, shared
            if critic == "Eq. 8":
                tried, tried_policy = OwnCritic(estimator), ce.exact.exact_critic(problem, policy, OwnTarget(estimator))
            gradient, variance = ce.exact.moments(tried, problem, tried_policy)
            mean, variance = gradient.logits, float(variance)
            bias, along = _norm(mean - truth), float(jnp.sum(mean * truth)) / size
            yield {
                **dataclasses.asdict(point),
                "estimator": name,
                "critic": critic,
                "relative_bias": bias / size,
                "relative_noise": variance**0.5 / size,
                # Only the component of the expectation along ∇J̄ is signal.
                "snr": along / variance**0.5,
                "cosine": along / _norm(mean),
                # The mean of N meta-episodes has variance/N. From this N on bias² is the larger part of its error.
                "bias_dominates_from": variance / bias**2 if bias > 1e-9 * size else float("inf"),
                "gradient_norm": size,
                "outcomes": ce.exact.count_outcomes(problem),
                "seconds": time.perf_counter() - started,
            }


def make_problem(point: Point, seed: int) -> tuple[ce.ShapingProblem, Any]:
    """The stag hunt of this size. The co-player and the ego agent's policy are the same at all sizes."""
    payoffs = ce.games.stag_hunt().payoffs
    game = ce.games.MatrixGame(payoffs.at[0].add(_SHIFT))
    key_ego, key_other = jax.random.split(jax.random.key(seed))
    problem = ce.ShapingProblem(
        game=game,
        co_players=(MemoryOne.random(game, key_other, player=1),),
        learner=_LEARNER,
        batch=point.batch,
        episodes=point.episodes,
        steps=point.steps,
    )
    if point.ego == "MemoryOne":
        return problem, MemoryOne.random(game, key_ego)
    behaviour = FullHistory.random(game, _MOST_STEPS, key_ego)
    return problem, FullHistory.tabulate(behaviour, game, point.episodes * point.steps)


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims that judge the figure."""

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
        claim("Batch-level REINFORCE is unbiased at every size, with every critic: largest relative bias",
              max(column("relative_bias", estimator="Reinforce")), "≤", 1e-9),
        claim("M-FOS's bias grows with B: smallest increase from one B to the next",
              min(b - a for a, b in itertools.pairwise(biases)), "≥", 0.1),
        claim("M-FOS's expectation turns away from ∇J̄: their cosine at the largest B",
              column("cosine", estimator="MFOS", **sweep)[-1], "≤", 0.5),
        claim("Batch-unaware's expectation turns away from ∇J̄: their cosine at the largest B",
              column("cosine", estimator="BatchUnaware", **sweep)[-1], "≤", 0.6),
        claim("M-FOS suffers from bias: at the largest B, with the critic of Eqs 13–14, number of meta-episodes from "
              "which bias exceeds noise",
              column("bias_dominates_from", estimator="MFOS", axis="B", critic="Eqs 13–14")[-1], "≤", 128),
        claim("COALA-PG is less noisy than REINFORCE for B > 1: largest ratio of their noise", max(ratios), "≤", 1),
        claim("The critic of Eqs 13–14 makes COALA-PG less noisy at the largest B: noise with it over noise without",
              with_a_critic / noise, "≤", 1),
    ]  # fmt: skip


def _norm(array: Array) -> float:
    return float(jnp.linalg.norm(array))
