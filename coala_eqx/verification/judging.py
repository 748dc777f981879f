"""Whether an estimator is unbiased, from exact numbers and bounds on their errors."""

import math

import numpy as np

from coala_eqx.exact.rounding import UNDERFLOW, norm


def is_unbiased(
    true_norm: float, bias: float, error: float, true_error: float, noise: float, tolerance: float
) -> tuple[bool | None, str]:
    """Whether an estimator is unbiased. `None`, with the reason and a remedy, if that is open.

    **Arguments:**

    - `true_norm`, `true_error`: ‖∇J‖, and a bound on its error.
    - `bias`, `error`: ‖E[ĝ] − ∇J‖, and a bound on its error.
    - `noise`: the standard deviation of one estimate.
    - `tolerance`: relative bias below which the estimator counts as unbiased.
    """
    if not all(map(math.isfinite, (true_norm, bias, error, noise))):
        return None, "a number is beyond float64: divide the payoffs by their size"
    if true_norm <= max(true_error, UNDERFLOW):
        return _is_unbiased_where_nothing_is_left(true_norm, bias > error, true_error)
    if bias + error <= tolerance * (true_norm - true_error):
        return True, ""
    if bias - error > tolerance * (true_norm + true_error):
        return False, ""
    return None, (
        f"rounding may be as large as {error / true_norm:.1e} of the gradient, and {tolerance:g} is asked: "
        f"the terms are much larger than their sum. Subtract a constant from the coefficients or the payoffs, or "
        f"take a less deterministic policy or smaller sizes"
    )


def _is_unbiased_where_nothing_is_left(true_norm: float, is_biased: bool, true_error: float) -> tuple[bool | None, str]:
    """The same if the exact gradient is 0 to rounding, or nearly underflows."""
    if true_norm > true_error:
        return None, (
            f"the exact gradient ({true_norm:.1e}) is so small that float64 loses digits: multiply the payoffs, or "
            f"take a less deterministic policy"
        )
    if is_biased:
        return False, "the exact gradient is 0 to rounding, and the estimate's mean is not"
    return None, (
        f"the exact gradient ({true_norm:.1e}) is 0 to rounding, so the relative bias is not defined: take "
        f"another policy or other payoffs"
    )


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    """The cosine of the angle between two vectors; NaN if one of them is 0."""
    norms = norm(one), norm(other)
    return float((one / norms[0]) @ (other / norms[1])) if min(norms) > 0 else math.nan


def ratio(numerator: float, denominator: float) -> float:
    """The ratio of two numbers that are not negative; infinite beyond 0, and 0 for 0/0."""
    if denominator > 0:
        return numerator / denominator
    return math.inf if numerator > 0 else 0.0
