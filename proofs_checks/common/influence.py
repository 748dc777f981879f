"""Influence of an action on every later reward, without a score function.

The ego policy gets one copy of its parameters for each step l and trajectory b, φ_{l,b}, so that action a_l^b is drawn
from π(·|h_l^b; φ_{l,b}). The expected reward of every step of every trajectory is then a function of all copies. It is
a sum over all outcomes of (product of probabilities) · reward. This sum is differentiated; no log-probability is
weighed by a return.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from coala_eqx.games import AbstractEnumerableGame, TabularGame
from coala_eqx.learners import AbstractLearner, Experience, init_rule, update_rule
from coala_eqx.policies import AbstractPolicy, replay_actions
from coala_eqx.shaping import Population, ShapingProblem

Signal = Callable[[jax.Array, jax.Array], jax.Array]
"""A function (rewards, values) → the quantity of interest at each step; all arrays are `[batch, episodes, steps]`."""

_CHUNK = 2048


class Influence(NamedTuple):
    """∂E[x_l]/∂φ_{k,b}: pytrees like the policy, leaves `[L, L, …]`, indexed by the step k of the action and the step
    l.
    """

    own: Any
    """The derivative of E[x_l^b], in the trajectory of the action."""

    other: Any
    """The derivative of E[x_l^{b'}] for any one other trajectory b' ≠ b; 0 if there is none."""


class Steps(NamedTuple):
    """Relations between pairs of steps (k, l): arrays `[L, L]`, of 0 and 1 except for `distance`."""

    current: np.ndarray
    """1 if l ≥ k in the same inner episode."""

    future: np.ndarray
    """1 if l lies in a later inner episode."""

    distance: np.ndarray
    """l − k."""


def steps_of(problem: ShapingProblem) -> Steps:
    """The relations between the steps of a meta-trajectory."""
    times = np.arange(problem.episodes * problem.steps)
    episode = times // problem.steps
    distance = times[None, :] - times[:, None]
    same = episode[None, :] == episode[:, None]
    future = episode[None, :] > episode[:, None]
    return Steps(same & (distance >= 0), future, distance)


def weigh(influence: Influence, batch: int, own: Any, other: Any) -> Any:
    """The expectation of Σ_b Σ_k ∇ log π(a_k^b) · ( Σ_l own[k, l]·x_l^b + Σ_{b'≠b} Σ_l other[k, l]·x_l^{b'} )."""

    def total(mine: np.ndarray, others: np.ndarray) -> np.ndarray:
        weighed = np.tensordot(np.asarray(own, float), mine, axes=2)
        return batch * (weighed + (batch - 1) * np.tensordot(np.asarray(other, float), others, axes=2))

    return jax.tree.map(total, *influence)


def measure_influence(problem: ShapingProblem, policy: AbstractPolicy, signal: Signal | None = None) -> Influence:
    """Measure the influence by enumeration. It is differentiated in the copies of the first trajectory, which by
    symmetry stands for all.

    **Arguments:**

    - `signal`: the quantity that is influenced; default: the rewards. It is a constant for the derivative.

    **Raises** `ValueError` if a learner depends on the order of the trajectories.
    """
    if not all(learner.exchangeable for learner in problem.learners):
        raise ValueError("One trajectory can stand for all only if the learners do not depend on their order.")
    assert isinstance(problem.game, AbstractEnumerableGame)
    outcomes = _inner_outcomes(problem.game.table(), problem.steps)
    length = problem.episodes * problem.steps
    arrays, rest = eqx.partition(policy, eqx.is_inexact_array)
    copies = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (length, *leaf.shape)), arrays)
    total = None
    for probability, co_players in _meetings(problem):
        for picks, weights in _batches(len(outcomes[0]) ** problem.episodes, problem.batch):
            part = _jacobian(
                copies, (arrays, rest), problem, co_players, outcomes, picks, probability * weights, signal or _rewards
            )
            total = part if total is None else jax.tree.map(np.add, total, part)
    by_action = jax.tree.map(lambda leaf: np.swapaxes(leaf, 1, 2), total)
    return Influence(*(jax.tree.map(lambda leaf, which=which: leaf[which], by_action) for which in (0, 1)))


def _rewards(rewards: jax.Array, values: jax.Array) -> jax.Array:
    del values
    return rewards


@eqx.filter_jit
def _jacobian(
    copies: Any,
    policy: tuple[Any, Any],
    problem: ShapingProblem,
    co_players: tuple[AbstractPolicy, ...],
    outcomes: tuple[np.ndarray, ...],
    picks: np.ndarray,
    weights: np.ndarray,
    signal: Signal,
) -> Any:
    """Jacobian, in the copies, of Σ weight · probability · (x of the first trajectory, mean x of the others), which is
    `[2, L]`.
    """
    original = eqx.combine(*policy)
    digits = picks[..., None] // len(outcomes[0]) ** np.arange(problem.episodes) % len(outcomes[0])

    def one(copies: Any, digits: jax.Array) -> jax.Array:
        observations, actions, rewards, chance = (jnp.asarray(array)[digits] for array in outcomes)
        players = [
            tuple(array[..., player] for array in (observations, actions, rewards))
            for player in range(problem.game.num_players)
        ]
        seen, done, earned = (array.reshape(problem.batch, -1) for array in players[0])

        def with_copy(copy: Any, step: jax.Array) -> jax.Array:
            return replay_actions(eqx.combine(copy, policy[1]), seen[:1], done[:1])[0][0, step]

        probability = jnp.prod(chance)
        probability *= jnp.prod(jnp.exp(jax.vmap(with_copy)(copies, jnp.arange(seen.shape[1]))))
        log_probs, values = replay_actions(original, seen, done)
        probability *= jnp.exp(jnp.sum(log_probs[1:]))
        for player, (learner, co_player) in enumerate(zip(problem.learners, co_players, strict=True), start=1):
            probability *= _likelihood(learner, co_player, players[player], problem.episodes)
        shape = players[0][2].shape
        x = jax.lax.stop_gradient(signal(earned.reshape(shape), values.reshape(shape))).reshape(problem.batch, -1)
        others = jnp.mean(x[1:], axis=0) if problem.batch > 1 else jnp.zeros_like(x[0])
        return probability * jnp.stack([x[0], others])

    def expected(copies: Any) -> jax.Array:
        return jnp.tensordot(weights, jax.vmap(one, in_axes=(None, 0))(copies, jnp.asarray(digits)), axes=1)

    return jax.jacrev(expected)(copies)


def _likelihood(learner: AbstractLearner, co_player: AbstractPolicy, lived: Any, episodes: int) -> jax.Array:
    """Likelihood of all actions of a co-player that learns after each inner episode. `lived` holds arrays `[batch,
    episodes, steps]`.
    """
    likelihood, state = jnp.ones(()), init_rule(learner, co_player)
    for episode in range(episodes):
        experience = Experience(*(array[:, episode] for array in lived))
        log_probs, _ = replay_actions(co_player, experience.observations, experience.actions)
        likelihood *= jnp.exp(log_probs.sum())
        co_player, state = update_rule(learner, co_player, state, experience)
    return likelihood


def _meetings(problem: ShapingProblem) -> list[tuple[Any, tuple[AbstractPolicy, ...]]]:
    choices = []
    for co_player in problem.co_players:
        if isinstance(co_player, Population):
            choices.append(list(zip(co_player.probabilities, co_player.policies, strict=True)))
        else:
            choices.append([(1.0, co_player)])
    return [(math.prod(p for p, _ in met), tuple(policy for _, policy in met)) for met in itertools.product(*choices)]


def _inner_outcomes(table: TabularGame, steps: int) -> tuple[np.ndarray, ...]:
    """Observations, actions, rewards `[outcomes, steps, players]`, and the probability of the game's own draws."""
    initial, transition, rewards, seen = map(
        np.asarray, (table.initial, table.transition, table.rewards, table.observations)
    )
    paths = [((state,), (), initial[state]) for state in range(len(initial)) if initial[state] > 0]
    for step in range(steps):
        acted = [
            (s, (*a, joint), p) for s, a, p in paths for joint in itertools.product(*map(range, table.num_actions))
        ]
        paths = [
            ((*s, follows), a, p * transition[(s[-1], *a[-1], follows)])
            for s, a, p in acted
            for follows in range(len(initial))
            if step + 1 < steps and transition[(s[-1], *a[-1], follows)] > 0
        ] or acted
    return (
        np.array([[seen[:, state] for state in s] for s, _, _ in paths]),
        np.array([a for _, a, _ in paths]),
        np.array(
            [[rewards[(slice(None), state, *joint)] for state, joint in zip(s, a, strict=True)] for s, a, _ in paths]
        ),
        np.array([p for _, _, p in paths]),
    )


def _batches(trajectories: int, batch: int) -> Any:
    """Yield chunks of batches `[chunk, batch]` and the number of orders that each stands for. The first trajectory
    keeps its place.
    """
    rest = list(itertools.combinations_with_replacement(range(trajectories), batch - 1))
    orders = [math.factorial(batch - 1) / math.prod(math.factorial(r.count(x)) for x in set(r)) for r in rest]
    every = itertools.product(range(trajectories), zip(rest, orders, strict=True))
    while some := list(itertools.islice(every, _CHUNK)):
        picks = np.array([(first, *others) for first, (others, _) in some])
        weights = np.array([count for _, (_, count) in some])
        padding = (0, _CHUNK - len(some)) if trajectories * len(rest) > _CHUNK else (0, 0)
        yield np.pad(picks, (padding, (0, 0))), np.pad(weights, padding)
