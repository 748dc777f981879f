"""Losses, advantages and settings that actor-critics share, naive learners and algorithms alike.

Losses are of single steps, arrays of any shape; the caller adds them up.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from coala_eqx._checks import check_choice, check_finite, check_positive
from coala_eqx.arrays import Scalar, concrete

_LEAST_DEVIATION = 1e-8
"""Added to the standard deviation of advantages (in quadrature, so that it stays differentiable at 0)."""


def policy_losses(log_probs: Float[Array, "*steps"], advantages: Float[Array, "*steps"]) -> Float[Array, "*steps"]:
    """−A · log π(a|h), whose gradient is that of the plain policy gradient."""
    return -log_probs * advantages


def clipped_losses(
    ratios: Float[Array, "*steps"], advantages: Float[Array, "*steps"], clip: Scalar
) -> Float[Array, "*steps"]:
    """−min(ρ·A, clip(ρ, 1 − clip, 1 + clip)·A), with ρ the ratio of probabilities.

    Source: Schulman et al. (2017), Eq. 7.
    """
    near = jnp.clip(ratios, 1 - clip, 1 + clip)
    return -jnp.minimum(ratios * advantages, near * advantages)


def value_losses(
    values: Float[Array, "*steps"],
    targets: Float[Array, "*steps"],
    before: Float[Array, "*steps"] | None = None,
    limit: Scalar | None = None,
) -> Float[Array, "*steps"]:
    """(V − target)², or with a limit the larger of it and the same of V moved from `before` by at most the limit."""
    errors = (values - targets) ** 2
    if limit is None or before is None:
        return errors
    near = before + jnp.clip(values - before, -limit, limit)
    return jnp.maximum(errors, (near - targets) ** 2)


def normalised(advantages: Float[Array, "batch steps"]) -> Float[Array, "batch steps"]:
    """Advantages with mean 0 and standard deviation 1 over everything; equal ones come out near 0."""
    mean, deviation = moments(advantages)
    return (advantages - mean) / deviation


def moments(advantages: Float[Array, "batch steps"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and standard deviation of advantages over everything."""
    mean = advantages.mean()
    # Equal advantages differ by rounding only, and must come out near 0, not blown up to 1.
    floor = jnp.finfo(advantages.dtype).eps * (advantages**2).mean() + _LEAST_DEVIATION**2
    return mean, jnp.sqrt(((advantages - mean) ** 2).mean() + floor)


def value_limit(clip: Any, value_clip: Any) -> Any:
    """The limit of `value_losses` from the settings of PPO: `"clip"` is the same as `clip`."""
    return clip if isinstance(value_clip, str) else value_clip


def check_clips(clip: Any, value_clip: Any) -> None:
    """**Raises** `ValueError` unless `clip` exceeds the rounding of ratios, and `value_clip` is a limit, `"clip"` or
    `None`.
    """
    check_finite("clip", clip)
    rounding = float(jnp.finfo(jnp.result_type(float)).eps) ** 0.5
    if concrete(clip) and clip < rounding:
        raise ValueError(
            "`clip` must be positive, and above the rounding of probability ratios, which alone would clip the "
            f"first step otherwise: at least {rounding:.2g}, but is {clip}."
        )
    if isinstance(value_clip, str):
        check_choice("value_clip", value_clip, ("clip", None))
    elif value_clip is not None:
        check_positive("value_clip", value_clip)
