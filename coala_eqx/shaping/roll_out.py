"""Sampling a meta-episode."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from coala_eqx.games import AbstractGame
from coala_eqx.learners import AbstractLearner, Experience
from coala_eqx.loops import scan
from coala_eqx.policies import AbstractPolicy
from coala_eqx.policies.base import Mind, PolicyOutput, fresh_mind, log_probs_of
from coala_eqx.shaping.episode import MetaEpisode
from coala_eqx.shaping.learning import Minds, Policies, alternate, fresh_minds


def roll_out(
    game: AbstractGame,
    policy: AbstractPolicy,
    co_players: Policies,
    learners: tuple[AbstractLearner, ...],
    *,
    batch: int,
    episodes: int,
    steps: int,
    remembering: tuple[bool, ...],
    key: Key[Array, ""],
    key_learn: Key[Array, ""] | None = None,
) -> MetaEpisode:
    """`ShapingProblem.play` once the co-players are drawn; `key_learn` is for learners that use keys."""

    def visit(minds: Minds, co_players: Policies, key: Array) -> tuple[Minds, tuple[Experience, ...], Any]:
        ego, *others = minds
        others = [
            mind if remembers else fresh_mind(co_player, batch)
            for mind, remembers, co_player in zip(others, remembering, co_players, strict=True)
        ]
        minds, record = inner_episode(game, (policy, *co_players), (ego, *others), batch, steps, key)
        return minds, tuple(experience_of(record, player) for player in range(1, game.num_players)), record

    keys = jax.random.split(key, episodes)
    keys_learn = None if key_learn is None else jax.random.split(key_learn, (episodes, len(learners)))
    minds = fresh_minds((policy, *co_players), batch)
    _, record = alternate(learners, co_players, visit, minds, keys, keys=keys_learn)
    record = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), record)
    ego, *others = (experience_of(record, player) for player in range(game.num_players))
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


def experience_of(record: _Record, player: int) -> Experience:
    """The experience of one player."""
    times = record.log_probs.ndim
    return Experience(
        observations=jnp.take(record.observations, player, axis=times),
        actions=record.actions[..., player],
        rewards=record.rewards[..., player],
    )


def inner_episode(
    game: AbstractGame, policies: Policies, minds: Minds, batch: int, steps: int, key: Array
) -> tuple[Minds, _Record]:
    """**Returns** all minds after the episode, and the record, arrays `[batch, steps, …]`."""
    key_reset, key_steps = jax.random.split(key)
    state, observations = jax.vmap(game.reset)(jax.random.split(key_reset, batch))

    def step(carry: tuple[Any, Array, Minds], key: Array) -> tuple[tuple[Any, Array, Minds], _Record]:
        state, observations, minds = carry
        key_game, *key_players = jax.random.split(key, 1 + len(policies))
        acted = [
            _act(policy, mind, observations[:, player], key_players[player])
            for player, (policy, mind) in enumerate(zip(policies, minds, strict=True))
        ]
        minds, outputs = zip(*acted, strict=True)
        actions = jnp.stack([mind.previous_actions for mind in minds], axis=1)
        state, next_observations, rewards = jax.vmap(game.step)(state, actions, jax.random.split(key_game, batch))
        lost = jnp.stack([jnp.isnan(output.logits).any(axis=1) for output in outputs]).any(axis=0)
        rewards = jnp.where(lost[:, None], jnp.nan, rewards)
        log_probs = log_probs_of(outputs[0], actions[:, 0])
        return (state, next_observations, minds), _Record(observations, actions, rewards, log_probs, outputs[0].values)

    (_, _, minds), record = scan(step, (state, observations, minds), jax.random.split(key_steps, steps))
    return minds, jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), record)


def _act(policy: AbstractPolicy, mind: Mind, observations: Array, key: Array) -> tuple[Mind, PolicyOutput]:
    """**Returns** the mind with the new action in it, and what the policy said, leaves `[batch, …]`."""
    memory, output = jax.vmap(policy)(mind.memory, observations, mind.previous_actions)
    actions = jax.random.categorical(key, output.logits).astype(mind.previous_actions.dtype)
    return Mind(memory, actions), output
