"""Exact mean and variance of any estimator."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from coala_eqx.arrays import concrete
from coala_eqx.estimators import AbstractEstimator
from coala_eqx.exact.chunks import sum_chunk
from coala_eqx.exact.enumeration import LIMIT, Enumeration, Progress
from coala_eqx.exact.precision import in_float64
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, ShapingProblem


class Moments(NamedTuple):
    """Exact mean and total variance of a gradient estimator."""

    mean: Any
    """E[ĝ], a pytree like the policy."""

    variance: Float[Array, ""]
    """E‖ĝ − E[ĝ]‖², the trace of the covariance."""


@in_float64
def moments(
    estimator: AbstractEstimator,
    problem: ShapingProblem,
    policy: AbstractPolicy,
    *,
    limit: int = LIMIT,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> Moments:
    """Exact E[ĝ] and exact total variance of an estimator: `from_episode` is called on every possible episode.

    Holds for every estimator whose randomness is the roll-out's. Arguments `limit`, `chunk` and
    `progress` as in `expectation`.

    **Returns** `Moments(mean, variance)`: a pytree like `policy`, and a scalar, in float64.

    **Raises** `ValueError` as `expectation` does, and if the estimator returns another structure or shape
    than the policy's, or a value that is not finite.
    """
    if not isinstance(estimator, AbstractEstimator):
        raise ValueError(f"`estimator` must be an estimator (an instance, CoalaPG() say), but is {estimator!r}.")
    estimator.check_problem(problem)
    space = Enumeration(
        problem, policy, exchangeable=estimator.exchangeable, limit=limit, chunk=chunk, progress=progress
    )
    centre = _centre(estimator, space)
    deviation, square = space.expectation(_Deviation(estimator, centre))
    _check_finite(estimator, deviation)
    # Around a centre near the mean nothing cancels, so that a variance of 0 comes out as 0 to rounding.
    return _around(centre, deviation, square)


class _Deviation(eqx.Module):
    """ĝ − centre and its squared norm."""

    estimator: AbstractEstimator
    centre: Any

    def __call__(self, problem: ShapingProblem, policy: AbstractPolicy, episode: MetaEpisode) -> tuple[Any, Array]:
        estimate = self.estimator.from_episode(problem, policy, episode)
        _check_tree(self.estimator, policy, estimate)
        deviation = jax.tree.map(jnp.subtract, estimate, self.centre)
        return deviation, _squared_norm(deviation)


@jax.jit
def _around(centre: Any, deviation: Any, square: Array) -> Moments:
    variance = jnp.maximum(square - _squared_norm(deviation), 0.0)
    return Moments(jax.tree.map(jnp.add, centre, deviation), variance)


def _centre(estimator: AbstractEstimator, space: Enumeration) -> Any:
    """Something near E[ĝ]: the mean over the first chunk."""
    zero = jax.tree.map(jnp.zeros_like, eqx.filter(space.policy, eqx.is_inexact_array))
    total, (mean, _) = sum_chunk(_Deviation(estimator, zero), *space.first_chunk())
    _check_finite(estimator, mean)
    return _divide(mean, total)


@jax.jit
def _divide(sums: Any, total: Array) -> Any:
    # A chunk of outcomes that are all impossible has no mean; 0 will do.
    return jax.tree.map(lambda leaf: leaf / jnp.where(total > 0, total, 1.0), sums)


def _squared_norm(tree: Any) -> Array:
    return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)), start=jnp.zeros(()))


def _check_tree(estimator: AbstractEstimator, policy: AbstractPolicy, estimate: Any) -> None:
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


def _check_finite(estimator: AbstractEstimator, tree: Any) -> None:
    leaves = jax.tree.leaves(tree)
    if not all(map(concrete, leaves)):
        return
    if not all(np.isfinite(leaf).all() for leaf in leaves):
        message = f"{type(estimator).__name__}.from_episode returned NaN or infinity for some outcome"
        if estimator.needs_differentiable_learner:
            message += (
                "; it differentiates through the co-player's update, which must be differentiable everywhere: "
                "optax.adam needs eps_root > 0, and clipping by a norm is not differentiable at 0"
            )
        raise ValueError(message + ".")
