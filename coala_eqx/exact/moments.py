"""Exact mean and variance of any estimator."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from coala_eqx.arrays import concrete
from coala_eqx.estimators import AbstractEstimator
from coala_eqx.exact.enumeration import LIMIT, Enumeration, Progress
from coala_eqx.exact.precision import in_float64
from coala_eqx.exact.survey import survey
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import ShapingProblem


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
    """Exact E[ĝ] and exact total variance of an estimator, from every possible meta-episode.

    It holds for every estimator that is a function of the meta-episode. Arguments `limit`, `chunk` and
    `progress` as in `expectation`.

    **Returns** `Moments(mean, variance)`: a pytree like `policy`, and a scalar, in float64.

    **Raises** `ValueError` as `expectation` does, if the estimator returns another structure or shape
    than the policy's, or a value that is not finite, and under `jit`, `vmap` or `grad`.
    """
    if not isinstance(estimator, AbstractEstimator):
        raise ValueError(f"`estimator` must be an estimator (an instance, CoalaPG() say), but is {estimator!r}.")
    if not all(map(concrete, jax.tree.leaves((estimator, problem, policy)))):
        raise ValueError("`moments` must be called outside of `jit`, `vmap` and `grad`; use `expectation` there.")
    estimator.check_problem(problem)
    space = Enumeration(
        problem,
        policy,
        exchangeable=estimator.exchangeable,
        limit=limit,
        chunk=chunk,
        progress=progress,
        probe=estimator.probe,
    )
    (estimated,) = survey(space, (estimator,)).estimated
    _, unravel = ravel_pytree(eqx.filter(policy, eqx.is_inexact_array))
    return Moments(unravel(jnp.asarray(estimated.mean.vector)), jnp.asarray(estimated.noise * estimated.noise))
