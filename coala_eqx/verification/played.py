"""Check that play agrees with enumeration: play a few thousand meta-episodes and compare them with exact moments.

Enumeration uses a policy's `unroll` and a game's `table`. Play uses `__call__` and `step`. A certificate is worth
nothing if they differ.
"""

import math
from collections.abc import Iterator

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Key

from coala_eqx.exact.ego import steps_of
from coala_eqx.exact.general import General
from coala_eqx.exact.rounding import norm
from coala_eqx.exact.seen import earned
from coala_eqx.exact.survey import Survey
from coala_eqx.interpreter.compiled import compiled
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import AbstractProbe, MetaEpisode, ShapingProblem
from coala_eqx.shaping.learning import Policies

PLAYS = 4096
"""Number of meta-episodes in the first comparison; a power of two."""

SUSPICIOUS, REFUTED = 4.0, 6.5
"""Thresholds in standard errors of a mean. Among a thousand normal numbers, one lies beyond the second threshold with
probability 1e-7.
"""

_AGAIN = 8
_DIRECTIONS = 6
_SAME = 1e-6
"""Largest relative difference allowed between two float64 computations of the same number."""


class Disagreement(ValueError):
    """Play and enumeration disagree."""


def check_play(survey: Survey, *, plays: int = PLAYS, seed: int = 0) -> list[str]:
    """Play meta-episodes and compare them with the enumeration.

    Played log-probabilities and values are compared with those of `unroll`, up to rounding. Means of the players'
    returns, and of estimates along some directions, are compared with the exact means. If a mean is off by more than 4
    standard errors, the comparison is repeated with 8 times as many meta-episodes. Beyond 6.5 standard errors it is
    refuted.

    **Returns** one message for each estimator of the survey, empty if nothing is wrong.

    **Raises** `Disagreement`, a `ValueError`, if the policy or the game contradicts itself.
    """
    key = jax.random.key(seed)
    off = _compare(survey, plays, key)
    wrong = max(off) > SUSPICIOUS
    if wrong:
        plays *= _AGAIN
        off = _compare(survey, plays, jax.random.fold_in(key, 1))
    *estimators, returns = off
    if wrong and returns > REFUTED:
        game = type(survey.space.problem.game).__name__
        raise Disagreement(
            f"The mean returns of {plays:,} meta-episodes that were played are {returns:.1f} standard errors away from "
            f"the enumerated ones: {game}.step and {game}.table() differ, or a co-player's `__call__` and `unroll`."
        )
    return [
        f"The mean of {plays:,} sampled estimates is {one:.1f} standard errors away from the enumerated one: "
        f"play and enumeration differ."
        if wrong and one > REFUTED
        else ""
        for one in estimators
    ]


def _compare(survey: Survey, plays: int, key: Key[Array, ""]) -> list[float]:
    """Deviations in standard errors: one for each estimator, then one for the returns."""
    directions = _directions(survey)
    returns: list[np.ndarray] = []
    projected: list[list[np.ndarray]] = [[] for _ in survey.estimated]
    for episodes in _play(survey, plays, key):
        scores = _check_replay(survey, episodes, directions)
        returns.append(earned(episodes))
        for collected, one in zip(projected, _projections(survey, episodes, scores, directions), strict=True):
            collected.append(one)
    off = [
        # Along random signs the variance equals the total variance on average; along a mean it is at most that.
        _standard_errors(
            np.concatenate(collected), directions @ exact.mean.vector, np.asarray(exact.noise), exact.mean.error
        )
        for exact, collected in zip(survey.estimated, projected, strict=True)
    ]
    mean, square = survey.returns.mean.ravel(), survey.returns.square.ravel()
    everyone = np.concatenate(returns).reshape(-1, len(mean))
    with np.errstate(over="ignore", invalid="ignore"):
        variance = square - mean**2
    deviation = np.sqrt(np.where(np.isfinite(variance), np.maximum(variance, 0.0), 0.0))
    return [*off, _standard_errors(everyone, mean, deviation, 1e-9 * float(np.sqrt(square.max(initial=0.0))))]


def _directions(survey: Survey) -> Float[np.ndarray, "directions parameters"]:
    """Random signs, and each estimator's mean as a unit vector."""
    signs = np.random.default_rng(7).choice([-1.0, 1.0], size=(_DIRECTIONS, survey.ego.parameters))
    means = [exact.mean.vector for exact in survey.estimated if np.any(exact.mean.vector)]
    return np.stack([*signs, *(mean / norm(mean) for mean in means)])


def _play(survey: Survey, plays: int, key: Key[Array, ""]) -> Iterator[MetaEpisode]:
    """Yield meta-episodes in chunks of the enumeration's size, for which its programs are compiled.

    `PLAYS` meta-episodes are played at a time, so that many operations have the same shapes for all problems.
    """
    space = survey.space
    size = PLAYS * math.ceil(space.chunk / PLAYS)
    for number in range(math.ceil(plays / size)):
        keys = jax.random.split(jax.random.fold_in(key, number), size).reshape(-1, PLAYS)
        parts = [_play_some(space.problem, space.policy, space.probe, some, quick=space.quick) for some in keys]
        played = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        for start in range(0, size, space.chunk):
            yield jax.tree.map(lambda leaf, s=start: leaf[s : s + space.chunk], played)


@compiled
def _play_some(
    problem: ShapingProblem, policy: AbstractPolicy, probe: AbstractProbe | None, keys: Key[Array, " plays"]
) -> MetaEpisode:
    def one(key: Key[Array, ""]) -> MetaEpisode:
        return eqx.filter(problem.play(policy, key, probe), eqx.is_array)

    return jax.vmap(one)(keys)


def _projections(
    survey: Survey,
    episodes: MetaEpisode,
    scores: Float[np.ndarray, "plays batch long directions"],
    directions: np.ndarray,
) -> Iterator[Float[np.ndarray, "plays directions"]]:
    """Yield the projected estimates of each estimator of the survey, in order."""
    plain = eqx.tree_at(lambda one: one.co_player_policies, episodes, ())
    coefficients = np.asarray(survey.scored.coefficients(plain)) if survey.scored is not None else np.zeros(0)
    scored, general = iter(range(len(survey.estimated))), iter(survey.general)
    for is_scored in survey.order:
        if is_scored:
            yield np.einsum("nbl,nbld->nd", coefficients[:, next(scored)], scores)
        else:
            yield _estimates(survey, next(general), episodes, plain) @ directions.T


def _estimates(
    survey: Survey, general: General, episodes: MetaEpisode, plain: MetaEpisode
) -> Float[np.ndarray, "plays parameters"]:
    """Estimates of the played meta-episodes. Each is computed for the co-players that the meta-episode was played
    against.
    """
    made: np.ndarray | None = None
    for _, co_players in survey.space.meetings:
        some = np.asarray(general.estimates(plain, co_players))
        met = _met(episodes.co_player_policies, co_players)
        made = np.where(met[:, None], some, np.nan if made is None else made)
    assert made is not None
    return made


def _met(played: Policies, co_players: Policies) -> np.ndarray:
    """Mask of the meta-episodes that were played against these co-players."""
    pairs = zip(*(jax.tree.leaves(eqx.filter(one, eqx.is_array)) for one in (played, co_players)), strict=True)
    same = [(np.asarray(one) == np.asarray(other)).reshape(len(one), -1).all(axis=1) for one, other in pairs]
    return np.logical_and.reduce(same) if same else np.ones(1, dtype=bool)


def _check_replay(
    survey: Survey, episodes: MetaEpisode, directions: np.ndarray
) -> Float[np.ndarray, "plays batch long directions"]:
    """Compare `__call__` with `unroll`. **Returns** the scores along the directions."""
    policy, block, shape = survey.space.policy, survey.ego.block, episodes.actions.shape
    flat = [np.asarray(one).reshape(-1, *one.shape[2:]) for one in (episodes.observations, episodes.actions)]
    # An enumerable problem has few distinct trajectories.
    _, first, where = np.unique(
        np.concatenate([one.reshape(len(one), -1) for one in flat], axis=1),
        axis=0,
        return_index=True,
        return_inverse=True,
    )
    flat = [one[first] for one in flat]
    made: list[list[np.ndarray]] = [[], [], []]
    for start in range(0, len(first), block):
        some = [np.resize(one[start : start + block], (block, *one.shape[1:])) for one in flat]
        steps = [np.asarray(leaf)[: len(first) - start] for leaf in steps_of(policy, *some, quick=survey.ego.quick)]
        for collected, one in zip(made, (*steps[:2], steps[2] @ directions.T), strict=True):
            collected.append(one)
    log_probs, values, scores = (np.concatenate(collected)[where.ravel()] for collected in made)
    for what, played, unrolled in (
        ("log-probabilities", episodes.log_probs, log_probs),
        ("values", episodes.values, values),
    ):
        expected = unrolled.ravel()
        difference = np.abs(np.asarray(played).ravel() - expected)
        if not (difference <= _SAME * (1 + np.abs(expected))).all():
            raise Disagreement(
                f"{type(policy).__name__} contradicts itself: its {what} by `__call__` (play) and by `unroll` "
                f"(certificates and training) differ by up to {difference.max():.2g}."
            )
    return scores.reshape(*shape[:2], shape[2] * shape[3], len(directions))


def _standard_errors(
    samples: Float[np.ndarray, "plays numbers"], exact: np.ndarray, deviation: np.ndarray, rounding: float
) -> float:
    """Largest deviation of the mean from the exact one, in standard errors. NaN counts as infinite.

    A standard error is at least the enumerated standard deviation divided by √plays, because the samples may contain no
    rare event.
    """
    scale = max(float(np.abs(samples).max(initial=0.0)), 1e-300)
    samples, exact = samples / scale, exact / scale
    away = np.abs(samples.mean(axis=0) - exact)
    error = np.maximum(samples.std(axis=0, ddof=1), deviation / scale) / math.sqrt(len(samples))
    floor = rounding / scale + 1e-9
    ratios = np.where(away <= floor, 0.0, away / np.maximum(error, floor))
    return float(np.where(np.isnan(ratios), np.inf, ratios).max(initial=0.0))
