"""Is E[ĝ] what a score-free formula says? The question that the claims about biased estimators come down to."""

import functools
from collections.abc import Callable
from typing import Any

import coala_eqx as ce
from coala_eqx.estimators import AbstractEstimator
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from coala_eqx.policies import AbstractPolicy
from proofs_checks.common.cases import Case
from proofs_checks.common.influence import Influence, Signal, Steps, measure_influence, steps_of
from proofs_checks.common.ledger import holds
from proofs_checks.common.rounding import rounding
from proofs_checks.common.trees import distance, norm, root_mean_square

Formula = Callable[[Any, Influence, Steps], Any]
"""(∇J̄, influence, steps) → E[ĝ]."""


class WithoutCritic(AbstractScoreFunctionEstimator):
    """An estimator's coefficients without the values of the policy's critic (networks have one)."""

    estimator: AbstractScoreFunctionEstimator

    @property
    def exchangeable(self) -> bool:
        return self.estimator.exchangeable

    def coefficients(self, rewards: Any, values: Any = None) -> Any:
        return self.estimator.coefficients(rewards)


def check_expectation(
    claim: str,
    estimator: AbstractEstimator,
    case: Case,
    formula: Formula,
    *,
    policy: AbstractPolicy | None = None,
    signal: Signal | None = None,
) -> float:
    """E[ĝ] is as the formula says; **returns** the relative bias, ‖E[ĝ] − ∇J̄‖ / ‖∇J̄‖.

    **Arguments:**

    - `policy`: in place of the case's own, the same with a critic, say.
    - `signal`: whose influence the formula is given; that of the rewards unless given.
    """
    as_it_is = policy is None and signal is None
    problem, own = case.build()
    policy = policy or own
    assert policy is not None
    truth, influence = _of_case(case) if as_it_is else _measured(problem, policy, signal)
    predicted = formula(truth, influence, steps_of(problem))
    mean = check_mean(claim, estimator, problem, policy, predicted, case.count() * case.batch, norm(truth))
    return distance(mean, truth) / (norm(truth) or 1.0)


@functools.lru_cache(maxsize=2)
def _of_case(case: Case) -> tuple[Any, Influence]:
    """∇J̄, and the influence of the rewards: kept, as several estimators are held against them."""
    return _measured(*case.build())


def _measured(problem: ce.ShapingProblem, policy: Any, signal: Signal | None = None) -> tuple[Any, Influence]:
    return ce.exact.gradient(problem, policy), measure_influence(problem, policy, signal)


def check_mean(
    claim: str,
    estimator: AbstractEstimator,
    problem: ce.ShapingProblem,
    policy: AbstractPolicy,
    predicted: Any,
    outcomes: int,
    scale: float = 0.0,
) -> Any:
    """E[ĝ] is as predicted; **returns** it.

    **Arguments:**

    - `outcomes`: of the sums that it is compared with.
    - `scale`: of what the prediction is made of, where that is larger than √E‖ĝ‖².
    """
    mean, variance = ce.exact.moments(estimator, problem, policy)
    size = root_mean_square(mean, variance) + scale or 1.0
    holds(claim, distance(mean, predicted) / size, rounding(problem, outcomes, 3.0))
    return mean
