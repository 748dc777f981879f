"""The ego agent's trajectories: log-probabilities, values and scores of their actions.

A score, ∇_φ log π(a_l | h_l), is a function of the ego agent's own trajectory. So it is computed once for each
trajectory, and not for each batch that it is part of. Where trajectories are few, the inner products of all scores are
kept, too: with them an estimate's norm follows from its coefficients.
"""

import functools
from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from coala_eqx.exact.outcomes import InnerOutcomes
from coala_eqx.exact.rounding import Sum
from coala_eqx.interpreter.compiled import QUICK_BELOW, compiled
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import replay_ego, score_function

_BLOCK_BYTES = 16 * 2**20
_TABLE_FLOATS = 2**26
_MOST_PRODUCTS = 2**24
"""The most numbers in a table: 512 MiB of scores, 128 MiB of their inner products."""


class EgoTrajectories:
    """All trajectories as the ego agent sees them. A trajectory is a sequence of `episodes` inner outcomes.

    Arrays have the axis `long`: l = 1..MT, and `parameters`: all of the policy's in a row.
    """

    def __init__(self, policy: AbstractPolicy, outcomes: InnerOutcomes, episodes: int):
        self.policy = policy
        self.outcomes = outcomes
        self.episodes = episodes
        self.count = len(outcomes.chance) ** episodes
        self.long = episodes * outcomes.actions.shape[1]
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(policy, eqx.is_inexact_array)))
        self.quick = self.count < QUICK_BELOW
        fits = max(1, _BLOCK_BYTES // (8 * self.long * (self.parameters + 16)))
        self.block = 1 << min(fits.bit_length() - 1, (self.count - 1).bit_length())
        self.few = (self.count * self.long) ** 2 <= _MOST_PRODUCTS
        self.in_table = self.few or self.count * self.long * (self.parameters + 2) <= _TABLE_FLOATS

    def log_probs_and_values(
        self, trajectories: Int[np.ndarray, "*some"]
    ) -> tuple[Float[np.ndarray, "*some long"], Float[np.ndarray, "*some long"]]:
        """The log-probabilities log π(a_l | h_l) and values V̂(h_l) of some trajectories."""
        log_probs, values, _ = self._table if self.in_table else self._computed(trajectories)
        if self.in_table:
            return log_probs[trajectories], values[trajectories]
        return log_probs, values

    def scores(self, trajectories: Int[np.ndarray, "*some"]) -> Float[np.ndarray, "*some long parameters"]:
        """∇_φ log π(a_l | h_l) of some trajectories."""
        if self.in_table:
            return self._table[2][trajectories]
        return self._computed(trajectories)[2]

    @functools.cached_property
    def norms(self) -> Float[np.ndarray, "trajectories long"]:
        """‖∇_φ log π(a_l | h_l)‖ of all trajectories, where they are in the table."""
        return np.linalg.norm(self._table[2], axis=-1)

    @functools.cached_property
    def products(self) -> Float[np.ndarray, "scores scores"]:
        """Inner products of all scores, those of one trajectory next to each other, where they are few."""
        scores = self._table[2].reshape(self.count * self.long, -1)
        if np.count_nonzero(scores) < 0.05 * scores.size:
            sparse = scipy.sparse.csr_array(scores)
            return (sparse @ sparse.T).toarray()
        return scores @ scores.T

    def weigh(self, coefficients: Float[np.ndarray, "... trajectories long"]) -> Float[np.ndarray, "... parameters"]:
        """Σ coefficient · score over all trajectories and steps, where they are in the table."""
        leading = coefficients.shape[:-2]
        scores = self._table[2].reshape(self.count * self.long, -1)
        return (coefficients.reshape(-1, len(scores)) @ scores).reshape(*leading, -1)

    def pull_back(self, trajectories: np.ndarray, weights: np.ndarray) -> Float[np.ndarray, " parameters"]:
        """∇_φ Σ weight · Σ_l log π(a_l | h_l) over trajectories, by reverse passes instead of scores."""
        total = Sum()
        for numbers, padding, start in self._blocks(trajectories):
            some = np.pad(weights[start : start + self.block], (0, padding))
            total.add(_pull_back(self.policy, *self._seen_and_done(numbers), some, quick=self.quick))
        return total.value

    def _computed(self, trajectories: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        made = self._compute(trajectories.ravel())
        log_probs, values, scores = (leaf.reshape(*trajectories.shape, *leaf.shape[1:]) for leaf in made)
        return log_probs, values, scores

    @functools.cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self._compute(np.arange(self.count))

    def _compute(self, trajectories: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        parts = []
        for numbers, padding, _ in self._blocks(trajectories):
            made = steps_of(self.policy, *self._seen_and_done(numbers), quick=self.quick)
            parts.append([np.asarray(leaf)[: self.block - padding] for leaf in made])
        log_probs, values, scores = (np.concatenate(leaves) for leaves in zip(*parts, strict=True))
        return log_probs, values, scores

    def _seen_and_done(self, trajectories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Observations and actions, `[trajectories, episodes, steps, …]`."""
        numbers = digits(trajectories, len(self.outcomes.chance), self.episodes)
        observations, actions = np.asarray(self.outcomes.observations), np.asarray(self.outcomes.actions)
        return observations[numbers, :, 0], actions[numbers, :, 0]

    def _blocks(self, trajectories: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
        """Yields blocks of equal length, the length of their padding, and where they start."""
        for start in range(0, len(trajectories), self.block):
            numbers = trajectories[start : start + self.block]
            padding = self.block - len(numbers)
            yield np.pad(numbers, (0, padding)), padding, start


def digits(number: Int[Array | np.ndarray, "*many"], base: int, digits: int) -> Int[Array | np.ndarray, "*many digits"]:
    """The inner outcomes of a trajectory, from its number."""
    places = np.array([base**place for place in reversed(range(digits))])
    return number[..., None] // places.reshape((1,) * np.ndim(number) + (-1,)) % base


def scores_of(
    policy: AbstractPolicy, observations: Array, actions: Array
) -> tuple[Float[Array, " long"], Float[Array, " long"], Float[Array, "long parameters"]]:
    """Log-probabilities, values and scores of one trajectory, arrays `[episodes, steps, …]`."""
    arrays, static = eqx.partition(policy, eqx.is_inexact_array)
    flat, unravel = ravel_pytree(arrays)

    def replayed(flat: Array) -> tuple[Array, Array]:
        own = eqx.combine(unravel(flat), static)
        log_probs, values = replay_ego(own, observations[None], actions[None])
        return log_probs.ravel(), values.ravel()

    log_probs, pull, values = jax.vjp(replayed, flat, has_aux=True)
    (scores,) = jax.vmap(pull)(jnp.eye(len(log_probs), dtype=log_probs.dtype))
    return log_probs, values, scores


@compiled
def steps_of(policy: AbstractPolicy, observations: Array, actions: Array) -> tuple[Array, Array, Array]:
    """`scores_of` for several trajectories, arrays `[trajectories, episodes, steps, …]`."""
    return jax.vmap(lambda o, a: scores_of(policy, o, a))(observations, actions)


@compiled
def _pull_back(policy: AbstractPolicy, observations: Array, actions: Array, weights: Array) -> Array:
    each = jnp.broadcast_to(weights[:, None, None], actions.shape)
    return ravel_pytree(score_function(policy, observations, actions)(each))[0]
