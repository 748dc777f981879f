"""Check whether E[ĝ] is the gradient of an objective. Several claims reduce to this."""

import coala_eqx as ce
from coala_eqx.estimators import AbstractEstimator
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import ShapingProblem
from proofs_checks.common.ledger import holds
from proofs_checks.common.rounding import rounding
from proofs_checks.common.trees import distance, norm, root_mean_square

TARGET = 1e-9
"""Bound on the relative error, unless the estimate is mostly noise around a vanishing gradient."""

_WELL_CONDITIONED = 1e3


def check_unbiased(
    claim: str, estimator: AbstractEstimator, problem: ShapingProblem, policy: AbstractPolicy, objective: str
) -> None:
    """Check that ‖E[ĝ] − ∇J‖ / ‖∇J‖ ≤ (outcomes + operations) · eps · condition, and below 1e-9 unless the condition is
    bad.

    The condition is √E‖ĝ‖² / ‖∇J‖. If ∇J = 0, errors are absolute.
    """
    truth = ce.exact.gradient(problem, policy, objective)
    mean, variance = ce.exact.moments(estimator, problem, policy)
    size = root_mean_square(mean, variance)
    outcomes = ce.exact.count_outcomes(problem, exchangeable=estimator.exchangeable)
    unit = norm(truth) or 1.0
    bound = rounding(problem, outcomes, size / unit)
    if size / unit < _WELL_CONDITIONED:
        bound = min(bound, TARGET)
    holds(claim, distance(mean, truth) / unit, bound)
