"""Sampling a meta-episode."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from coala_eqx.games import AbstractGame
from coala_eqx.learners import AbstractLearner, Experience
from coala_eqx.policies import NO_ACTION, AbstractPolicy
from coala_eqx.shaping.episode import MetaEpisode
from coala_eqx.shaping.learning import Policies, alternate


def roll_out(
    game: AbstractGame,
    policy: AbstractPolicy,
    co_players: Policies,
    learners: tuple[AbstractLearner, ...],
    *,
    batch: int,
    episodes: int,
    steps: int,
    key: Key[Array, ""],
) -> MetaEpisode:
    """What `ShapingProblem.play` does once the co-players are drawn."""

    def visit(ego: tuple[Any, Array], co_players: Policies, key: Array) -> tuple[Any, tuple[Experience, ...], Any]:
        minds = (ego, *(_fresh_mind(co_player, batch) for co_player in co_players))
        ego, record = _inner_episode(game, (policy, *co_players), minds, batch, steps, key)
        return ego, tuple(_experience(record, player) for player in range(1, game.num_players)), record

    keys = jax.random.split(key, episodes)
    _, record = alternate(learners, co_players, visit, _fresh_mind(policy, batch), keys)
    record = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), record)
    ego, *others = (_experience(record, player) for player in range(game.num_players))
    return MetaEpisode(
        observations=ego.observations,
        actions=ego.actions,
        rewards=ego.rewards,
        log_probs=record.log_probs,
        values=record.values,
        co_players=tuple(others),
        co_player_policies=co_players,
    )


class _Record(eqx.Module):
    """One step of every trajectory; stacked along `steps` behind `batch`, then along `episodes`."""

    observations: Array
    actions: Array
    rewards: Array
    log_probs: Array
    values: Array


def _fresh_mind(policy: AbstractPolicy, batch: int) -> tuple[Any, Array]:
    """Memory and previous action, for each trajectory of the batch."""
    memory = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (batch, *leaf.shape)), policy.initial_memory())
    return memory, jnp.full(batch, NO_ACTION, dtype=int)


def _experience(record: _Record, player: int) -> Experience:
    times = record.log_probs.ndim
    return Experience(
        observations=jnp.take(record.observations, player, axis=times),
        actions=record.actions[..., player],
        rewards=record.rewards[..., player],
    )


def _inner_episode(
    game: AbstractGame, policies: Policies, minds: tuple[Any, ...], batch: int, steps: int, key: Array
) -> tuple[tuple[Any, Array], _Record]:
    """**Returns** the ego agent's mind after the episode, and the record, arrays `[batch, steps, …]`."""
    key_reset, key_steps = jax.random.split(key)
    state, observations = jax.vmap(game.reset)(jax.random.split(key_reset, batch))

    def step(carry: tuple[Any, Array, Any], key: Array) -> tuple[tuple[Any, Array, Any], _Record]:
        state, observations, minds = carry
        key_game, *key_players = jax.random.split(key, 1 + len(policies))
        acted = [
            _act(policy, mind, observations[:, player], key_players[player])
            for player, (policy, mind) in enumerate(zip(policies, minds, strict=True))
        ]
        actions = jnp.stack([mind[1] for mind, _, _ in acted], axis=1)
        state, next_observations, rewards = jax.vmap(game.step)(state, actions, jax.random.split(key_game, batch))
        _, log_probs, values = acted[0]
        record = _Record(observations, actions, rewards, log_probs, values)
        return (state, next_observations, tuple(mind for mind, _, _ in acted)), record

    (_, _, minds), record = jax.lax.scan(step, (state, observations, minds), jax.random.split(key_steps, steps))
    return minds[0], jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), record)


def _act(
    policy: AbstractPolicy, mind: tuple[Any, Array], observations: Array, key: Array
) -> tuple[tuple[Any, Array], Array, Array]:
    """**Returns** the mind with the new action in it, and log-probability and value, each `[batch]`."""
    memory, previous_actions = mind
    memory, output = jax.vmap(policy)(memory, observations, previous_actions)
    actions = jax.random.categorical(key, output.logits).astype(previous_actions.dtype)
    log_probs = jnp.take_along_axis(jax.nn.log_softmax(output.logits), actions[:, None], axis=1)[:, 0]
    return (memory, actions), log_probs, output.values
