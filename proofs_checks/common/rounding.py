"""Bounds on errors from rounding alone."""

from typing import Any

from coala_eqx.exact.rounding import EPS, PER_STEP
from coala_eqx.shaping import ShapingProblem

_NORMALISED = 1 / EPS**0.5
"""Relative rounding, in eps, of normalised advantages. Equal ones are divided by a deviation of √eps, so the update is
known to √eps only.
"""


def rounding(problem: ShapingProblem, outcomes: int, *scales: Any) -> float:
    """A bound on the error of a sum over `outcomes` outcomes of `problem`: (outcomes + operations) · eps · condition.

    The weighted sum Σ p·x of n terms, each computed with k rounded operations, is off by at most
    (n + k) · eps · Σ p·|x|. By Jensen's inequality, Σ p·|x| ≤ √(Σ p·x²).

    **Arguments:**

    - `scales`: Σ p·|x|, or √(Σ p·x²), of every sum that enters the comparison.
    """
    operations = PER_STEP * problem.game.num_players * problem.batch * problem.episodes * problem.steps
    operations += _NORMALISED * any(getattr(learner, "normalise_advantages", False) for learner in problem.learners)
    return (outcomes + operations) * EPS * float(sum(scales))
