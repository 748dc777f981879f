"""Does play agree with enumeration? A few thousand meta-episodes are played and held against exact moments.

Enumeration asks a policy's `unroll` and a game's `table`; play asks `__call__` and `step`. A certificate is worth
nothing if they differ.
"""

import math
from collections.abc import Iterator, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from coala_eqx.estimators import AbstractEstimator
from coala_eqx.estimators.base import trains_by_coefficients
from coala_eqx.exact.ego import steps_of
from coala_eqx.exact.general import estimates_of
from coala_eqx.exact.programs import compiled
from coala_eqx.exact.seen import Estimated
from coala_eqx.exact.survey import Returns
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, ShapingProblem

PLAYS = 4096
"""Meta-episodes that are played at first."""

_AGAIN = 8
"""How many times as many are played again, with other keys, if the first ones look wrong."""

_SUSPICIOUS, _REFUTED = 4.0, 6.5
"""Standard errors. Of a thousand comparisons of normal numbers one is beyond the second with a probability of 1e-7."""

_DIRECTIONS = 6
_SAME = 1e-6
"""Relative difference up to which two float64 computations of the same thing may be apart."""


class Disagreement(ValueError):
    """What is played is not what is enumerated."""


class Played(eqx.Module):
    """Means over meta-episodes that were played, and their standard errors."""

    mean: np.ndarray
    error: np.ndarray


def check_play(
    problem: ShapingProblem,
    policy: AbstractPolicy,
    estimators: Sequence[AbstractEstimator],
    estimated: Sequence[Estimated],
    returns: Returns,
    *,
    plays: int = PLAYS,
    seed: int = 0,
) -> list[str]:
    """Play, and compare.

    Log-probabilities and values that were played are held against `unroll`, to rounding. Means of the players'
    returns, and of estimates along some directions, are held against the exact ones. What is off by more than 4
    standard errors is tried again with 8 times as many meta-episodes, and refuted beyond 6.5.

    **Returns** for each estimator what is wrong with it, or an empty string.

    **Raises** `Disagreement`, a `ValueError`, if the policy or the game contradicts itself.
    """
    key = jax.random.key(seed)
    directions = _directions(estimated)
    wrong = _compare(problem, policy, estimators, estimated, returns, directions, plays, key, _SUSPICIOUS)
    if not any(wrong):
        return wrong[:-1]
    again = jax.random.fold_in(key, 1)
    wrong = _compare(problem, policy, estimators, estimated, returns, directions, _AGAIN * plays, again, _REFUTED)
    if wrong[-1]:
        raise Disagreement(wrong[-1])
    return wrong[:-1]


def _compare(
    problem: ShapingProblem,
    policy: AbstractPolicy,
    estimators: Sequence[AbstractEstimator],
    estimated: Sequence[Estimated],
    returns: Returns,
    directions: Float[np.ndarray, "directions parameters"],
    plays: int,
    key: Key[Array, ""],
    threshold: float,
) -> list[str]:
    """What is wrong with each estimator, and last with the returns."""
    earned, projections = [], [[] for _ in estimators]
    for episodes in _play(problem, policy, plays, key):
        scores = _check_replay(policy, episodes, directions)
        earned.append(_returns_of(episodes))
        for estimator, collected in zip(estimators, projections, strict=True):
            if trains_by_coefficients(estimator):
                coefficients = np.asarray(_coefficients_of(estimator, episodes.rewards, episodes.values))
                collected.append(np.einsum("nbl,nbld->nd", coefficients.reshape(scores.shape[:3]), scores))
            else:
                made = np.asarray(estimates_of(estimator, problem, policy, episodes))
                collected.append(made @ directions.T)
    words = []
    for exact, collected in zip(estimated, projections, strict=True):
        off = _standard_errors(np.concatenate(collected), directions @ exact.mean.vector, exact.mean.error)
        words.append(
            f"The mean of {plays:,} sampled estimates is {off:.1f} standard errors away from the enumerated one: what "
            f"is played is not what is enumerated."
            if off > threshold
            else ""
        )
    everyone = np.concatenate(earned).reshape(plays, -1)
    off = _standard_errors(everyone, returns.mean.ravel(), 1e-9 * np.abs(returns.mean).max(initial=0.0))
    game = type(problem.game).__name__
    return [
        *words,
        f"The mean returns of {plays:,} meta-episodes are {off:.1f} standard errors away from the enumerated ones: "
        f"{game}.step and {game}.table() differ, or a co-player's `__call__` and `unroll`."
        if off > threshold
        else "",
    ]


def _directions(estimated: Sequence[Estimated]) -> Float[np.ndarray, "directions parameters"]:
    """Unit vectors: random signs, and each estimator's mean."""
    means = [exact.mean.vector for exact in estimated]
    parameters = len(means[0]) if means else 0
    signs = np.random.default_rng(7).choice([-1.0, 1.0], size=(_DIRECTIONS, parameters))
    chosen = [*signs, *(mean for mean in means if np.any(mean))]
    return np.stack([one / np.abs(one).max(initial=1e-300) for one in chosen]) if chosen else np.zeros((0, 0))


def _play(problem: ShapingProblem, policy: AbstractPolicy, plays: int, key: Key[Array, ""]) -> Iterator[MetaEpisode]:
    """Yields meta-episodes, some hundreds at a time."""
    size = min(plays, 512)
    for keys in jax.random.split(key, (plays // size, size)):
        yield _play_some(problem, policy, keys)


@compiled
def _play_some(problem: ShapingProblem, policy: AbstractPolicy, keys: Key[Array, " plays"]) -> MetaEpisode:
    episodes = jax.vmap(lambda key: eqx.filter(problem.play(policy, key), eqx.is_array))(keys)
    return episodes


@compiled
def _coefficients_of(estimator: AbstractEstimator, rewards: Array, values: Array) -> Array:
    return jax.vmap(estimator.checked_coefficients)(rewards, values)


def _check_replay(
    policy: AbstractPolicy, episodes: MetaEpisode, directions: np.ndarray
) -> Float[np.ndarray, "plays batch long directions"]:
    """Hold `__call__` against `unroll`; **returns** the scores along the directions."""
    shape = episodes.actions.shape
    flat = [np.asarray(one).reshape(-1, *one.shape[2:]) for one in (episodes.observations, episodes.actions)]
    size = min(len(flat[0]), max(1, 2**21 // max(1, directions.shape[1] * shape[2] * shape[3])))
    log_probs, values, scores = [], [], []
    for start in range(0, len(flat[0]), size):
        some = [np.resize(one[start : start + size], (size, *one.shape[1:])) for one in flat]
        made = [np.asarray(leaf)[: len(flat[0]) - start] for leaf in steps_of(policy, *some)]
        log_probs.append(made[0])
        values.append(made[1])
        scores.append(made[2] @ directions.T)
    name = type(policy).__name__
    for what, played, unrolled in (
        ("log-probabilities", episodes.log_probs, log_probs),
        ("values", episodes.values, values),
    ):
        played, unrolled = np.asarray(played).ravel(), np.concatenate(unrolled).ravel()
        if not (np.abs(played - unrolled) <= _SAME * (1 + np.abs(unrolled))).all():
            raise Disagreement(
                f"{name} contradicts itself: {what} by `__call__`, which plays, and by `unroll`, which is certified and "
                f"trained, differ by up to {np.abs(played - unrolled).max():.2g}."
            )
    return np.concatenate(scores).reshape(*shape[:2], shape[2] * shape[3], len(directions))


def _returns_of(episodes: MetaEpisode) -> Float[np.ndarray, "plays players episodes"]:
    everyone = (episodes.rewards, *(one.rewards for one in episodes.co_players))
    return np.stack([np.asarray(one).sum(axis=3).mean(axis=1) for one in everyone], axis=1)


def _standard_errors(samples: Float[np.ndarray, "plays numbers"], exact: np.ndarray, rounding: float) -> float:
    """By how many standard errors the mean is away from the exact one, at most; NaN counts as infinitely many."""
    if samples.shape[1] == 0:
        return 0.0
    scale = np.abs(samples).max(initial=1e-300)
    samples, exact = samples / scale, exact / scale
    away = np.abs(samples.mean(axis=0) - exact)
    error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    floor = rounding / scale + 1e-9
    ratios = np.where(away <= floor, 0.0, away / np.maximum(error, floor))
    return float(np.where(np.isnan(ratios), np.inf, ratios).max())
