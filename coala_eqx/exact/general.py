"""Moments of estimators that are any functions of a meta-episode."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from coala_eqx.estimators import AbstractEstimator
from coala_eqx.exact.chunks import values_of
from coala_eqx.exact.enumeration import Enumeration
from coala_eqx.exact.rounding import EPS, Sum, norm
from coala_eqx.exact.seen import Estimated, Exact, Seen
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, ShapingProblem
from coala_eqx.shaping.learning import Policies


class General:
    """The moments of ĝ = `from_episode` of one estimator."""

    def __init__(self, estimator: AbstractEstimator, space: Enumeration):
        self.estimator = estimator
        self.space = space
        self.deviation = 0.0
        """Relative change of the estimates with the order of a batch."""

        self._sums = Sum()
        self._centre: np.ndarray | None = None
        self._unit = 1.0

    def estimates(self, episodes: MetaEpisode, co_players: Policies) -> Float[np.ndarray, "chunk parameters"]:
        """ĝ of each meta-episode, leaves `[chunk, …]`, against these co-players."""
        function, space = _Estimate(self.estimator), self.space
        return np.asarray(values_of(function, space.problem, space.policy, co_players, episodes, quick=space.quick))

    def leaves(self, seen: Seen, co_players: Policies) -> Sequence[np.ndarray]:
        """ĝ of each meta-episode, one array for each leaf."""
        sizes = [leaf.size for leaf in jax.tree.leaves(eqx.filter(self.space.policy, eqx.is_inexact_array))]
        return np.split(self.estimates(seen.episodes, co_players), np.cumsum(sizes)[:-1], axis=1)

    def add(self, seen: Seen, co_players: Policies, weights: Float[np.ndarray, " chunk"]) -> None:
        """Add a chunk to the sums."""
        estimates = self.estimates(seen.episodes, co_players)
        if estimates.strides[0] == 0:  # the same for all meta-episodes
            estimates, weights = estimates[:1], weights.sum(keepdims=True)
        if self._centre is None:
            self._centre = self._look(estimates, weights)
        self._sums.add(_sums(weights, estimates, self._centre, self._unit))

    def result(self, factor: float) -> Estimated:
        """The moments. Their error is `factor` times the sum of absolute values."""
        deviation, square, size = self._sums.value
        mean = self._centre + deviation
        variance = max(float(square) - norm(deviation / self._unit) ** 2, 0.0)
        noise = self._unit * variance**0.5
        error = (factor + self.deviation) * (float(size) + norm(mean))
        # Estimates that are the same for all meta-episodes differ by rounding.
        return Estimated(Exact(mean, error), noise if noise > 4 * EPS * float(size) else 0.0)

    def _look(self, estimates: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Choose a unit in which no square over- or underflows.

        **Returns** an estimate near E[ĝ]. Around it nothing cancels: a variance of 0 comes out as 0 to rounding.
        """
        likely = estimates[weights > 0]
        check_finite(self.estimator, likely)
        largest = float(np.abs(likely).max(initial=0.0))
        self._unit = 1.0 if largest == 0 or 1e-50 < largest < 1e50 else largest
        if not len(likely):
            return np.zeros(estimates.shape[1])
        return np.average(likely, axis=0, weights=weights[weights > 0])


class _Estimate(eqx.Module):
    """An estimator as a function of a meta-episode to a vector `[parameters]`."""

    estimator: AbstractEstimator

    def __call__(self, problem: ShapingProblem, policy: AbstractPolicy, episode: MetaEpisode) -> Array:
        estimate = self.estimator.from_episode(problem, policy, episode)
        _check_tree(self.estimator, policy, estimate)
        return ravel_pytree(estimate)[0].astype(float)


def _sums(
    weights: Float[np.ndarray, " chunk"],
    estimates: Float[np.ndarray, "chunk parameters"],
    centre: Float[np.ndarray, " parameters"],
    unit: float,
) -> tuple[np.ndarray, float, float]:
    """Σ p·(ĝ − centre), Σ p·‖(ĝ − centre)/unit‖², and Σ p·‖ĝ‖."""
    if not weights.all():
        weights, estimates = weights[weights > 0], estimates[weights > 0]
    deviations = estimates - centre
    if unit != 1:
        deviations /= unit
    squares = np.einsum("cp,cp->c", deviations, deviations)
    # ‖ĝ‖ is no larger than ‖ĝ − centre‖ + ‖centre‖.
    sizes = unit * (np.sqrt(squares) + norm(centre / unit))
    return unit * (weights @ deviations), weights @ squares, weights @ sizes


def _check_tree(estimator: AbstractEstimator, policy: AbstractPolicy, estimate: Any) -> None:
    """**Raises** `ValueError` unless an estimate has the structure and shapes of the policy."""
    expected = eqx.filter(policy, eqx.is_inexact_array)
    if jax.tree.structure(estimate) != jax.tree.structure(expected):
        raise ValueError(
            f"{type(estimator).__name__}.from_episode must return a pytree like the policy, "
            f"{jax.tree.structure(expected)}, but returned {jax.tree.structure(estimate)}."
        )
    for path, leaf in jax.tree.leaves_with_path(expected):
        other = dict(jax.tree.leaves_with_path(estimate))[path]
        if jnp.shape(other) != leaf.shape:
            raise ValueError(
                f"{type(estimator).__name__}.from_episode must return leaves of the policy's shapes: "
                f"{jax.tree_util.keystr(path)} should be {leaf.shape}, but is {jnp.shape(other)}."
            )


def check_finite(estimator: AbstractEstimator, vector: np.ndarray) -> None:
    """**Raises** `ValueError` if an estimate is NaN or infinite."""
    if not np.isfinite(vector).all():
        message = f"{type(estimator).__name__}.from_episode returned NaN or infinity for some outcome"
        if estimator.needs_differentiable_learner:
            message += (
                "; it differentiates through the co-player's update, which must be differentiable everywhere: "
                "optax.adam needs eps_root > 0, and clipping by a norm is not differentiable at 0"
            )
        raise ValueError(message + ".")
