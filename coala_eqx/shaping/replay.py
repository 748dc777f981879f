"""The likelihood of a meta-episode whose actions are known."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from coala_eqx.learners import Draw, Experience
from coala_eqx.policies import AbstractPolicy
from coala_eqx.policies.base import (
    PolicyOutput,
    PolicyState,
    initial_policy_state,
    log_probs_of,
    replay_on,
    replay_outputs,
)
from coala_eqx.shaping.episode import MetaEpisode
from coala_eqx.shaping.learning import Policies, PolicyStates, alternate, initial_policy_states
from coala_eqx.shaping.probing import AbstractProbe, LearnerFeatures
from coala_eqx.shaping.problem import ShapingProblem


def replay_ego(
    policy: AbstractPolicy, observations: Array, actions: Array
) -> tuple[Float[Array, "batch episodes steps"], Float[Array, "batch episodes steps"]]:
    """Log-probabilities and values of the ego agent's actions. Its memory lasts across inner episodes.

    Arrays `[batch, episodes, steps]`, with the axes of an observation or action behind them; differentiable in
    `policy`.
    """
    output = replay_ego_outputs(policy, observations, actions)
    return log_probs_of(output, actions), output.values


def score_function(
    policy: AbstractPolicy, observations: Array, actions: Array
) -> Callable[[Float[Array, "batch episodes steps"]], Any]:
    """A function of weights: Σ weight · ∇log π over the ego agent's actions, arrays `[batch, episodes, steps]`.

    It returns a tree like `policy` filtered to inexact arrays. All weights share one replay. An action of probability
    0 adds nothing.
    """
    arrays, static = eqx.partition(policy, eqx.is_inexact_array)

    def log_probs(arrays: Any) -> Array:
        return replay_ego(eqx.combine(arrays, static), observations, actions)[0]

    known, pull = jax.vjp(log_probs, arrays)
    return lambda weights: pull(jnp.asarray(weights, known.dtype))[0]


def replay_ego_outputs(policy: AbstractPolicy, observations: Array, actions: Array) -> PolicyOutput:
    """The ego agent's outputs in a meta-episode, arrays `[batch, episodes, steps, …]`."""
    times = actions.shape[:3]

    def joined(array: Array) -> Array:
        return array.reshape(times[0], times[1] * times[2], *array.shape[3:])

    start = initial_policy_state(policy, times[0])
    _, output = replay_outputs(policy, start, joined(observations), joined(actions))
    return jax.tree.map(lambda leaf: leaf.reshape(*times, *leaf.shape[2:]), output)


def replay(
    problem: ShapingProblem,
    policy: AbstractPolicy,
    co_players: Policies,
    experiences: tuple[Experience, ...],
    draws: tuple[Draw, ...] = (),
) -> tuple[MetaEpisode, Float[Array, ""]]:
    """The meta-episode with the given experience of every player.

    The co-players learn as in `ShapingProblem.play`, from these experiences.

    **Arguments:**

    - `co_players`: their policies before the first update.
    - `experiences`: one per player, the ego agent's first, arrays `[batch, episodes, steps]`.
    - `draws`: the draws of learners with randomness, as in `alternate`.

    **Returns** the meta-episode, and log Π (probability of every action of every player), to which the
    game's own randomness has still to be added. Differentiable in `policy`.
    """
    ego, *others = experiences
    log_probs, values = replay_ego(policy, ego.observations, ego.actions)
    log_prob = log_probs.sum() + replay_co_players(problem, co_players, tuple(others), draws)
    episode = MetaEpisode(
        observations=ego.observations,
        actions=ego.actions,
        rewards=ego.rewards,
        log_probs=log_probs,
        values=values,
        co_players=tuple(others),
        co_player_policies=co_players,
    )
    return episode, log_prob


def replay_co_players(
    problem: ShapingProblem, co_players: Policies, experiences: tuple[Experience, ...], draws: tuple[Draw, ...] = ()
) -> Float[Array, ""]:
    """The log-probability of all actions of the co-players, who learn from `experiences` as in `play`.

    Arguments are those of `replay`, without the ego agent's experience. Given all actions, the ego agent's policy has
    no influence on it.
    """
    if not experiences:
        return jnp.zeros(())

    def visit(
        before: PolicyStates, co_players: Policies, experiences: tuple[Experience, ...]
    ) -> tuple[PolicyStates, tuple[Experience, ...], Array]:
        after, log_prob = [], jnp.zeros(())
        for co_player, state, remembers, experience in zip(
            co_players, before, problem.remembering, experiences, strict=True
        ):
            begins = state if remembers else initial_policy_state(co_player, problem.batch)
            left, log_probs, _ = replay_on(co_player, begins, experience.observations, experience.actions)
            after.append(left)
            log_prob += log_probs.sum()
        return tuple(after), experiences, log_prob

    by_episode = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), experiences)
    start = initial_policy_states(co_players, problem.batch)
    _, log_probs = alternate(problem.learners, co_players, visit, start, by_episode, draws=draws)
    # After an inner episode of probability 0, learners may do anything, and may return NaN.
    impossible = jnp.cumsum(jnp.isneginf(log_probs)) > 0
    return jnp.where(impossible, -jnp.inf, log_probs).sum()


def replay_features(
    problem: ShapingProblem,
    policy: AbstractPolicy,
    co_players: Policies,
    experiences: tuple[Experience, ...],
    draws: tuple[Draw, ...],
    probe: AbstractProbe,
) -> LearnerFeatures:
    """The features that `ShapingProblem.play` records with this probe. Arguments are those of `replay`."""
    ego, *others = experiences

    def visit(
        state: PolicyState, _: Policies, experiences: tuple[Experience, ...]
    ) -> tuple[PolicyState, tuple[Experience, ...], Array]:
        own, *rest = experiences
        after = replay_outputs(policy, state, own.observations, own.actions)[0]
        return after, tuple(rest), probe.memory(policy, state)

    by_episode = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), (ego, *others))
    start = initial_policy_state(policy, problem.batch)
    _, (memories, shown) = alternate(problem.learners, co_players, visit, start, by_episode, draws=draws, probe=probe)
    return shown.with_memories(jnp.moveaxis(memories, 0, 1))
