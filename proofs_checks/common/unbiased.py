"""Is E[ĝ] the gradient of an objective? The question that several claims come down to."""

import coala_eqx as ce
from coala_eqx.estimators import AbstractEstimator
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import ShapingProblem
from proofs_checks.common.ledger import holds
from proofs_checks.common.rounding import rounding
from proofs_checks.common.trees import distance, norm, root_mean_square

TARGET = 1e-9
"""Of the relative error, where the estimate is not mostly noise around a vanishing gradient."""

_WELL_CONDITIONED = 1e3


def check_unbiased(
    claim: str, estimator: AbstractEstimator, problem: ShapingProblem, policy: AbstractPolicy, objective: str
) -> None:
    """‖E[ĝ] − ∇J‖ / ‖∇J‖ ≤ (outcomes + operations) · eps · condition, and below 1e-9 unless the condition is bad.

    The condition is √E‖ĝ‖² / ‖∇J‖. Where ∇J = 0, errors are absolute.
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
