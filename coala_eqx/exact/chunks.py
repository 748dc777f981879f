"""One chunk of outcomes: its meta-episodes, their probabilities, and sums over them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from coala_eqx.exact.batches import Chunk
from coala_eqx.exact.ego import digits
from coala_eqx.exact.outcomes import InnerOutcomes
from coala_eqx.interpreter.compiled import compiled
from coala_eqx.learners import Draw, Experience
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import (
    AbstractProbe,
    LearnerFeatures,
    MetaEpisode,
    ShapingProblem,
    replay,
    replay_co_players,
    replay_features,
)
from coala_eqx.shaping.learning import Policies

Function = Callable[[ShapingProblem, AbstractPolicy, MetaEpisode], Any]
"""The function that is averaged: maps a meta-episode to a pytree of arrays."""

Run = Callable[..., tuple[Any, Any]]
"""(function, problem, policy, co_players, outcomes, chunk, quick) → (Σ probability, a sum made of the function)."""


def sum_chunk(
    function: Function,
    problem: ShapingProblem,
    policy: AbstractPolicy,
    co_players: Policies,
    outcomes: InnerOutcomes,
    chunk: Chunk,
    *,
    quick: bool = True,
) -> tuple[Any, Any]:
    """Σ probability and Σ probability · function over the batches of one chunk; differentiable in `policy`."""
    weights, episodes = replay_chunk(problem, policy, co_players, outcomes, chunk, quick=quick)
    values = values_of(function, problem, policy, co_players, episodes, quick=quick)
    return weights.sum(), weighted_sum(weights, values, quick=quick)


@compiled
def replay_chunk(
    problem: ShapingProblem, policy: AbstractPolicy, co_players: Policies, outcomes: InnerOutcomes, chunk: Chunk
) -> tuple[Float[Array, " chunk"], MetaEpisode]:
    """The probabilities of the batches, times their multiplicities, and their meta-episodes.

    The meta-episodes lack the co-players' policies, which are the same in all of them.
    """

    def one(trajectories: Int[Array, " batch"], draws: tuple[Draw, ...]) -> tuple[Array, MetaEpisode]:
        experiences, chance = _experiences(problem, outcomes, trajectories)
        episode, log_prob = replay(problem, policy, co_players, experiences, draws)
        return jnp.exp(log_prob) * chance, dataclasses.replace(episode, co_player_policies=())

    probabilities, episodes = jax.vmap(one)(*_arrays(chunk))
    return probabilities * chunk.multiplicities, episodes


@compiled
def meet_chunk(
    problem: ShapingProblem, co_players: Policies, outcomes: InnerOutcomes, chunk: Chunk
) -> tuple[Float[Array, " chunk"], Float[Array, " chunk"], MetaEpisode]:
    """`replay_chunk` without the ego agent's part.

    **Returns** the co-players' log-probabilities, the multiplicities times the probabilities of the game's own draws,
    and the meta-episodes, in which the ego agent's log-probabilities and values are 0.
    """

    def one(trajectories: Int[Array, " batch"], draws: tuple[Draw, ...]) -> tuple[Array, Array, MetaEpisode]:
        experiences, chance = _experiences(problem, outcomes, trajectories)
        ego, *others = experiences
        nothing = jnp.zeros_like(ego.rewards)
        episode = MetaEpisode(ego.observations, ego.actions, ego.rewards, nothing, nothing, tuple(others), ())
        return replay_co_players(problem, co_players, tuple(others), draws), chance, episode

    log_probs, chance, episodes = jax.vmap(one)(*_arrays(chunk))
    return log_probs, chance * chunk.multiplicities, episodes


@compiled
def features_chunk(
    problem: ShapingProblem,
    policy: AbstractPolicy,
    co_players: Policies,
    outcomes: InnerOutcomes,
    probe: AbstractProbe,
    chunk: Chunk,
) -> LearnerFeatures:
    """What a probe shows in the meta-episodes of a chunk, leaves `[chunk, …]`."""

    def one(trajectories: Int[Array, " batch"], draws: tuple[Draw, ...]) -> LearnerFeatures:
        experiences, _ = _experiences(problem, outcomes, trajectories)
        return replay_features(problem, policy, co_players, experiences, draws, probe)

    return jax.vmap(one)(*_arrays(chunk))


@compiled
def values_of(
    function: Function, problem: ShapingProblem, policy: AbstractPolicy, co_players: Policies, episodes: MetaEpisode
) -> Any:
    """The function of every meta-episode, leaves `[chunk, …]`."""

    def one(episode: MetaEpisode) -> Any:
        return function(problem, policy, dataclasses.replace(episode, co_player_policies=co_players))

    return jax.vmap(one)(episodes)


@compiled
def weighted_sum(weights: Float[Array, " chunk"], values: Any) -> Any:
    """Σ weight · value over the first axis. Values whose weight is 0 may be NaN or infinite."""

    def summed(leaf: Array) -> Array:
        column = weights.reshape(-1, *(1,) * (leaf.ndim - 1))
        leaf = jnp.where((column == 0) & ~jnp.isfinite(leaf), 0, leaf)
        return jnp.tensordot(weights, leaf, axes=1)

    return jax.tree.map(summed, values)


def _arrays(chunk: Chunk) -> tuple[Int[Array, "chunk batch"], tuple[Draw, ...]]:
    """The trajectories and the draws."""
    return jnp.asarray(chunk.trajectories), jax.tree.map(jnp.asarray, chunk.draws)


def _experiences(
    problem: ShapingProblem, outcomes: InnerOutcomes, trajectories: Int[Array, " batch"]
) -> tuple[tuple[Experience, ...], Float[Array, ""]]:
    """The experience of every player in a batch, and the probability of the game's own draws."""
    numbers = jnp.asarray(digits(trajectories, len(outcomes.chance), problem.episodes))
    experiences = tuple(outcomes.experience(numbers, player) for player in range(problem.game.num_players))
    return experiences, outcomes.chance[numbers].prod()
