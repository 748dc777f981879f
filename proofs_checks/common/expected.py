"""Check whether E[ĝ] follows a score-free formula. The claims about biased estimators reduce to this."""

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
"""A function (∇J̄, influence, steps) → E[ĝ]."""


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
    """Check that E[ĝ] follows the formula. **Returns** the relative bias, ‖E[ĝ] − ∇J̄‖ / ‖∇J̄‖.

    **Arguments:**

    - `policy`: a policy in place of the case's own, for instance the same with a critic.
    - `signal`: the quantity whose influence the formula is given; default: the rewards.
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
    """∇J̄, and the influence of the rewards. They are cached, because several estimators are compared with them."""
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
    """Check that E[ĝ] is as predicted. **Returns** E[ĝ].

    **Arguments:**

    - `outcomes`: number of outcomes of the sums that it is compared with.
    - `scale`: size of the prediction's terms, which is added to √E‖ĝ‖².
    """
    mean, variance = ce.exact.moments(estimator, problem, policy)
    size = root_mean_square(mean, variance) + scale or 1.0
    holds(claim, distance(mean, predicted) / size, rounding(problem, outcomes, 3.0))
    return mean
