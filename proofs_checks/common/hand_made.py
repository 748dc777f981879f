"""Worlds that the package cannot express because they break a condition of its theorem. They are enumerated by hand.

Everything in such a world follows from the ego agent's actions `[batch, episodes, steps]`, two at each step. A world
consists of observations, rewards and action probabilities, as functions of all actions. The world must ensure that
nothing depends on later actions.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from proofs_checks.common.rounding import EPS


class World(NamedTuple):
    """A world: functions of the actions, `[batch, episodes, steps]` each."""

    batch: int
    episodes: int
    steps: int
    log_probs: Callable[[Any, jax.Array], jax.Array]
    """A function (parameters, actions) → log π(action | past)."""

    rewards: Callable[[jax.Array], jax.Array]
    values: Callable[[jax.Array], jax.Array]
    """The critic's V̂ of the past."""


def exact_gradient(world: World, parameters: Any) -> np.ndarray:
    """∇J̄, by differentiating the enumerated return."""

    def objective(parameters: Any) -> jax.Array:
        def one(actions: jax.Array) -> jax.Array:
            probability = jnp.exp(world.log_probs(parameters, actions).sum())
            return probability * world.rewards(actions).sum() / world.batch

        return jax.vmap(one)(_all_actions(world)).sum()

    return np.asarray(jax.grad(objective)(parameters))


def mean_estimate(estimator: AbstractScoreFunctionEstimator, world: World, parameters: Any) -> np.ndarray:
    """E[ Σ_b Σ_l ∇ log π(a_l^b) · C_l^b ] with the estimator's own coefficients C."""

    def one(actions: jax.Array) -> jax.Array:
        coefficients = estimator.coefficients(world.rewards(actions), world.values(actions))
        score = jax.grad(lambda p: jnp.sum(world.log_probs(p, actions) * coefficients))(parameters)
        return jnp.exp(world.log_probs(parameters, actions).sum()) * score

    return np.asarray(jax.vmap(one)(_all_actions(world)).sum(axis=0))


def _all_actions(world: World) -> jax.Array:
    shape = (world.batch, world.episodes, world.steps)
    return jnp.asarray(list(itertools.product((0, 1), repeat=int(np.prod(shape))))).reshape(-1, *shape)


def rounding_by_hand(largest: float) -> float:
    """Rounding bound for 16 outcomes of 4 actions each, with a few operations each on numbers below `largest`."""
    return (16 + 4 * 25) * EPS * 4 * largest
