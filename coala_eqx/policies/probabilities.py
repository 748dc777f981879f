"""Log-probabilities of actions, exact for nearly deterministic policies and for masked actions.

For logits z, log p_a = −log(1 + Σ_{k≠a} exp(z_k − z_a)). Written like this, the derivative of the likeliest action's
log-probability is a sum over the other actions, and not 1 − p_a, which loses all digits as p_a tends to 1. A logit of
−∞ masks an action: its probability is 0, its log-probability −∞, and its logit has no influence on anything.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def chosen_log_probs(logits: Float[Array, "*steps actions"], actions: Int[Array, "*steps"]) -> Float[Array, "*steps"]:
    """The log-probability of one action each; NaN where a logit is NaN or +∞, or all of them are −∞."""
    chosen = jnp.take_along_axis(logits, actions[..., None], axis=-1)
    number = jax.lax.broadcasted_iota(actions.dtype, logits.shape, logits.ndim - 1)
    is_chosen = number == actions[..., None]
    return _log_prob(logits, chosen, is_chosen)


def log_probabilities(logits: Float[Array, "*steps actions"]) -> Float[Array, "*steps actions"]:
    """The log-probability of every action; `chosen_log_probs` of each of them."""
    one_each = jnp.eye(logits.shape[-1], dtype=bool)
    is_chosen = one_each.reshape((1,) * (logits.ndim - 1) + one_each.shape)
    return _log_prob(logits[..., None, :], logits[..., :, None], is_chosen)


def _log_prob(
    logits: Float[Array, "*others actions"], chosen: Float[Array, "*chosen 1"], is_chosen: Array
) -> Float[Array, "*chosen"]:
    """Log-probability of the entry of `logits` that `is_chosen` marks, of logit `chosen`; leading axes broadcast."""
    masked = chosen == -jnp.inf
    lost = ~((logits < jnp.inf).all(axis=-1) & (logits > -jnp.inf).any(axis=-1))
    above = _where(is_chosen, -jnp.inf, logits - _where(masked, 0.0, chosen))
    # Subtracted from all exponents, so that none overflows; the result does not depend on it.
    largest = jax.lax.stop_gradient(jnp.maximum(above.max(axis=-1), 0.0))
    others = jnp.exp(above - largest[..., None]).sum(axis=-1)
    # log(e^−largest + others): if `largest` is 0, log1p(others) to the last digit; else `others` is at least 1.
    normaliser = jnp.log1p(others + jnp.expm1(-largest))
    never = _where(lost, jnp.nan, jnp.full_like(normaliser, -jnp.inf))
    return _where(masked[..., 0] | lost, never, -(largest + normaliser))


def _where(condition: Array, one: Array | float, other: Array | float) -> Array:
    """`jnp.where` of arrays of one shape and numbers, as one operation.

    `jnp.where` is a compiled function, and slow to differentiate and vectorise thousands of times.
    """
    shape, dtype = jnp.broadcast_shapes(*map(jnp.shape, (condition, one, other))), jnp.result_type(one, other, 0.0)
    made = [
        jnp.broadcast_to(leaf, shape).astype(dtype) if isinstance(leaf, Array) else jnp.full(shape, leaf, dtype)
        for leaf in (one, other)
    ]
    return jax.lax.select(jnp.broadcast_to(condition, shape), *made)
