"""Ground truth: the exact value and gradient of the objective."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from coala_eqx.exact.chunks import sum_chunk
from coala_eqx.exact.enumeration import LIMIT, Enumeration, Progress, list_meetings, list_outcomes
from coala_eqx.exact.objectives import as_episode_return, lookahead_return
from coala_eqx.exact.outcomes import InnerOutcomes
from coala_eqx.exact.precision import in_float64
from coala_eqx.interpreter.compiled import compiled
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, ShapingProblem
from coala_eqx.shaping.learning import Policies


@in_float64
def expectation(
    function: Callable[[ShapingProblem, AbstractPolicy, MetaEpisode], Any],
    problem: ShapingProblem,
    policy: AbstractPolicy,
    *,
    exchangeable: bool = False,
    limit: int = LIMIT,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> Any:
    """E[function(problem, policy, episode)] over every outcome of the problem, in float64.

    **Arguments:**

    - `function`: a traceable function that maps a meta-episode to a pytree of arrays.
    - `exchangeable`: set it if `function` does not depend on the order of the trajectories; then far
      fewer outcomes are enumerated (where the learners allow it).
    - `limit`: the largest number of outcomes that is enumerated.
    - `chunk`: number of outcomes at a time; peak memory is proportional to it. Chosen unless given.
    - `progress`: a function that is called with (outcomes done, outcomes in all).

    **Raises** `ValueError` if the problem cannot be enumerated, or has too many outcomes. A learner that uses its key
    must be an `AbstractDrawingLearner`.
    """
    space = Enumeration(problem, policy, exchangeable=exchangeable, limit=limit, chunk=chunk, progress=progress)
    return space.expectation(function)


@in_float64
def expected_return(
    problem: ShapingProblem,
    policy: AbstractPolicy,
    objective: str = "shaping_return",
    *,
    limit: int = LIMIT,
    progress: Progress | None = None,
) -> Float[Array, ""]:
    """The exact objective, J̄(φ) unless another is named, in float64.

    **Arguments:**

    - `objective`: `"shaping_return"`, `"last_episode_return"` or `"lookahead_return"`.
    - `limit`, `progress`: as in `expectation`.

    **Raises** `ValueError` if the objective is unknown or the problem cannot be enumerated.
    """
    function = as_episode_return(objective, problem.episodes)
    if function is None:
        return _average_lookahead(_lookahead_value, problem, policy, limit)
    return expectation(function, problem, policy, exchangeable=True, limit=limit, progress=progress)


@in_float64
def gradient(
    problem: ShapingProblem,
    policy: AbstractPolicy,
    objective: str = "shaping_return",
    *,
    limit: int = LIMIT,
    chunk: int | None = None,
    progress: Progress | None = None,
) -> Any:
    """The exact gradient of the objective, as the derivative of the enumerated sum; no score function is involved.

    Arguments and errors as for `expected_return`; **returns** a pytree like `policy`, in float64.
    """
    function = as_episode_return(objective, problem.episodes)
    if function is None:
        return _average_lookahead(_lookahead_gradient, problem, policy, limit)
    space = Enumeration(problem, policy, exchangeable=True, limit=limit, chunk=chunk, progress=progress)
    return space.expectation(function, run=_differentiate_chunk)


@compiled
def _differentiate_chunk(
    function: Callable[..., Any], problem: ShapingProblem, policy: AbstractPolicy, *args: Any
) -> tuple[Array, Any]:
    def value_and_total(policy: AbstractPolicy) -> tuple[Array, Array]:
        total, value = sum_chunk(function, problem, policy, *args)
        return value, total

    value, total = eqx.filter_grad(value_and_total, has_aux=True)(policy)
    return total, value


@compiled
def _lookahead_gradient(
    problem: ShapingProblem, policy: AbstractPolicy, co_players: Policies, outcomes: InnerOutcomes
) -> Any:
    return eqx.filter_grad(lambda policy: lookahead_return(problem, policy, co_players, outcomes))(policy)


_lookahead_value = compiled(lookahead_return)


def _average_lookahead(run: Callable[..., Any], problem: ShapingProblem, policy: AbstractPolicy, limit: int) -> Any:
    """`lookahead_return`, or its gradient, averaged over the co-players that can be met."""
    problem.check_policy(policy)
    outcomes = list_outcomes(problem, limit)
    meetings = list_meetings(problem)
    parts = [
        jax.tree.map(lambda leaf, p=probability: p * jnp.asarray(leaf), run(problem, policy, co_players, outcomes))
        for probability, co_players in meetings
    ]
    return jax.tree.map(lambda *leaves: sum(leaves), *parts)
