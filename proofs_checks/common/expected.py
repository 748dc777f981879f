"""Is E[ĝ] what a score-free formula says? The question that the claims about biased estimators come down to."""

from collections.abc import Callable
from typing import Any

import coala_eqx as ce
from coala_eqx.estimators import AbstractEstimator
from coala_eqx.policies import AbstractPolicy
from proofs_checks.common.cases import Case
from proofs_checks.common.influence import Influence, Signal, Steps, measure_influence, steps_of
from proofs_checks.common.ledger import holds
from proofs_checks.common.rounding import rounding
from proofs_checks.common.trees import distance, norm

Formula = Callable[[Any, Influence, Steps], Any]
"""(∇J̄, influence, steps) → E[ĝ]."""


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
    problem, own = case.build()
    policy = policy or own
    assert policy is not None
    mean, variance = ce.exact.moments(estimator, problem, policy)
    truth = ce.exact.gradient(problem, policy)
    predicted = formula(truth, measure_influence(problem, policy, signal), steps_of(problem))
    size = float(variance + norm(mean) ** 2) ** 0.5 + norm(truth) or 1.0
    holds(claim, distance(mean, predicted) / size, rounding(problem, case.count() * case.batch, 3.0))
    return distance(mean, truth) / (norm(truth) or 1.0)
