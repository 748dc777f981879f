"""How large an error can be that is nothing but rounding."""

from typing import Any

import numpy as np

from coala_eqx.shaping import ShapingProblem

EPS = float(np.finfo(np.float64).eps)

_OPERATIONS = 100
"""Rounded operations per player and step: logits (a small network's at most), a softmax, and its share of the updates
of the learners. None is badly conditioned, as logits, rewards and learning rates are of order one."""


def rounding(problem: ShapingProblem, outcomes: int, *scales: Any) -> float:
    """A bound on the error of a sum over `outcomes` outcomes of `problem`: (outcomes + operations) · eps · condition.

    The weighted sum Σ p·x of n terms, each computed with k rounded operations, is off by at most
    (n + k) · eps · Σ p·|x|. By Jensen's inequality, Σ p·|x| ≤ √(Σ p·x²).

    **Arguments:**

    - `scales`: Σ p·|x|, or √(Σ p·x²), of every sum that enters the comparison.
    """
    operations = _OPERATIONS * problem.game.num_players * problem.batch * problem.episodes * problem.steps
    return (outcomes + operations) * EPS * float(sum(scales))
