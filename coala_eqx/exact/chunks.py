"""Sums over one chunk of outcomes, compiled."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from coala_eqx.exact.batches import Chunk
from coala_eqx.exact.outcomes import InnerOutcomes
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, ShapingProblem, replay
from coala_eqx.shaping.learning import Policies

Function = Callable[[ShapingProblem, AbstractPolicy, MetaEpisode], Any]
"""What is averaged: maps a meta-episode to a pytree of arrays."""

Run = Callable[..., tuple[Array, Any]]
"""(function, problem, policy, co_players, outcomes, chunk) → (Σ probability, Σ something made of function)."""


def sum_chunk(
    function: Function,
    problem: ShapingProblem,
    policy: AbstractPolicy,
    co_players: Policies,
    outcomes: InnerOutcomes,
    chunk: Chunk,
) -> tuple[Float[Array, ""], Any]:
    """Σ probability and Σ probability · function over the batches of one chunk; differentiable in `policy`.

    Compiled in two parts, so that the first serves every function.
    """
    weights, episodes = _compiled_replay_chunk(problem, policy, co_players, outcomes, chunk)
    return weights.sum(), _compiled_apply(function, problem, policy, co_players, weights, episodes)


def _replay_chunk(
    problem: ShapingProblem, policy: AbstractPolicy, co_players: Policies, outcomes: InnerOutcomes, chunk: Chunk
) -> tuple[Float[Array, " chunk"], MetaEpisode]:
    """The probabilities of the batches, times their multiplicities, and their meta-episodes, without the co-players'
    policies, which are the same in all of them.
    """

    def one(trajectories: Int[Array, " batch"]) -> tuple[Array, MetaEpisode]:
        numbers = _digits(trajectories, len(outcomes.chance), problem.episodes)
        experiences = tuple(outcomes.experience(numbers, player) for player in range(problem.game.num_players))
        episode, log_prob = replay(problem, policy, co_players, experiences)
        probability = jnp.exp(log_prob) * outcomes.chance[numbers].prod()
        return probability, dataclasses.replace(episode, co_player_policies=())

    probabilities, episodes = jax.vmap(one)(jnp.asarray(chunk.trajectories))
    return probabilities * chunk.multiplicities, episodes


def _apply(
    function: Function,
    problem: ShapingProblem,
    policy: AbstractPolicy,
    co_players: Policies,
    weights: Float[Array, " chunk"],
    episodes: MetaEpisode,
) -> Any:
    def one(episode: MetaEpisode) -> Any:
        return function(problem, policy, dataclasses.replace(episode, co_player_policies=co_players))

    values = jax.vmap(one)(episodes)
    return jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, axes=1), values)


_compiled_replay_chunk = eqx.filter_jit(_replay_chunk)
_compiled_apply = eqx.filter_jit(_apply)


def _digits(number: Int[Array, " batch"], base: int, digits: int) -> Int[Array, "batch digits"]:
    """Which outcome each inner episode of a trajectory has."""
    places = np.array([base**place for place in reversed(range(digits))])
    return number[:, None] // places % base
