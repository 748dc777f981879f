"""How large an error can be that is nothing but rounding."""

from typing import Any

import numpy as np

from coala_eqx.shaping import ShapingProblem

EPS = float(np.finfo(np.float64).eps)

_OPERATIONS = 100
"""Rounded operations per player and step: logits (a small network's at most), a softmax, and its share of the updates
of the learners. None is badly conditioned, as logits, rewards and learning rates are of order one."""

_NORMALISED = 1 / EPS**0.5
"""But for advantages that are normalised: where all are equal they are divided by a deviation of √eps, so that the
update is known to √eps only."""


def rounding(problem: ShapingProblem, outcomes: int, *scales: Any) -> float:
    """A bound on the error of a sum over `outcomes` outcomes of `problem`: (outcomes + operations) · eps · condition.

    The weighted sum Σ p·x of n terms, each computed with k rounded operations, is off by at most
    (n + k) · eps · Σ p·|x|. By Jensen's inequality, Σ p·|x| ≤ √(Σ p·x²).

    **Arguments:**

    - `scales`: Σ p·|x|, or √(Σ p·x²), of every sum that enters the comparison.
    """
    operations = _OPERATIONS * problem.game.num_players * problem.batch * problem.episodes * problem.steps
    operations += _NORMALISED * any(getattr(learner, "normalise_advantages", False) for learner in problem.learners)
    return (outcomes + operations) * EPS * float(sum(scales))
