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
from coala_eqx.policies.base import PolicyOutput, PolicyState, initial_policy_state, log_probs_of
from coala_eqx.shaping.episode import MetaEpisode
from coala_eqx.shaping.learning import Policies, PolicyStates, alternate, initial_policy_states
from coala_eqx.shaping.probing import AbstractProbe


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
    probe: AbstractProbe | None = None,
) -> MetaEpisode:
    """`ShapingProblem.play` once the co-players are drawn; `key_learn` is for learners that use keys."""

    def visit(
        states: PolicyStates, co_players: Policies, key: Array
    ) -> tuple[PolicyStates, tuple[Experience, ...], Any]:
        ego, *others = states
        memories = None if probe is None else probe.memory(policy, ego)
        others = [
            state if remembers else initial_policy_state(co_player, batch)
            for state, remembers, co_player in zip(others, remembering, co_players, strict=True)
        ]
        states, record = inner_episode(game, (policy, *co_players), (ego, *others), batch, steps, key)
        experiences = tuple(experience_of(record, player) for player in range(1, game.num_players))
        return states, experiences, (record, memories)

    keys = jax.random.split(key, episodes)
    keys_learn = None if key_learn is None else jax.random.split(key_learn, (episodes, len(learners)))
    states = initial_policy_states((policy, *co_players), batch)
    _, records = alternate(learners, co_players, visit, states, keys, keys=keys_learn, probe=probe)
    (record, memories), shown = records if probe is not None else (records, None)
    record, memories = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), (record, memories))
    ego, *others = (experience_of(record, player) for player in range(game.num_players))
    return MetaEpisode(
        observations=ego.observations,
        actions=ego.actions,
        rewards=ego.rewards,
        log_probs=record.log_probs,
        values=record.values,
        co_players=tuple(others),
        co_player_policies=co_players,
        features=None if shown is None else shown.with_memories(memories),
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
        actions=record.actions[(*(slice(None),) * times, player)],
        rewards=record.rewards[..., player],
    )


def inner_episode(
    game: AbstractGame, policies: Policies, states: PolicyStates, batch: int, steps: int, key: Array
) -> tuple[PolicyStates, _Record]:
    """Play one inner episode.

    **Returns** the states of all players after it, and the record, arrays `[batch, steps, …]`.
    """
    key_reset, key_steps = jax.random.split(key)
    state, observations = jax.vmap(game.reset)(jax.random.split(key_reset, batch))

    def step(carry: tuple[Any, Array, PolicyStates], key: Array) -> tuple[tuple[Any, Array, PolicyStates], _Record]:
        state, observations, before = carry
        key_game, *key_players = jax.random.split(key, 1 + len(policies))
        acted = [
            _act(policy, own, observations[:, player], key_players[player])
            for player, (policy, own) in enumerate(zip(policies, before, strict=True))
        ]
        after, outputs = zip(*acted, strict=True)
        actions = jnp.stack([own.previous_actions for own in after], axis=1)
        state, next_observations, rewards = jax.vmap(game.step)(state, actions, jax.random.split(key_game, batch))
        lost = jnp.stack([output.distribution.is_undefined for output in outputs]).any(axis=0)
        rewards = jnp.where(lost[:, None], jnp.nan, rewards)
        log_probs = log_probs_of(outputs[0], actions[:, 0])
        return (state, next_observations, after), _Record(observations, actions, rewards, log_probs, outputs[0].values)

    (_, _, states), record = scan(step, (state, observations, states), jax.random.split(key_steps, steps))
    return states, jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), record)


def _act(
    policy: AbstractPolicy, before: PolicyState, observations: Array, key: Array
) -> tuple[PolicyState, PolicyOutput]:
    """**Returns** the state with the new actions in it, and the policy's output, leaves `[batch, …]`."""
    memory, output = jax.vmap(policy)(before.memory, observations, before.previous_actions)
    actions, wanted = output.distribution.sample(key), before.previous_actions
    if actions.shape != wanted.shape:
        raise ValueError(
            f"{type(policy).__name__} has the action space {policy.action_space}, but its output is a "
            f"{type(output.distribution).__name__} whose actions have shape {actions.shape[1:]}."
        )
    return PolicyState(memory, actions.astype(wanted.dtype)), output
