"""Differentiable clipping of gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from coala_eqx.arrays import is_number


def clip_by_global_norm(norm: float) -> optax.GradientTransformation:
    """Optax's transformation of the same name, with a derivative where the gradient is 0, which LOLA needs.

    A learner without rewards has such a gradient, which is frequent where rewards are rare.

    **Raises** `ValueError` if `norm` is not a positive number.
    """
    if not (is_number(norm) and norm > 0):
        raise ValueError(f"`norm` must be a positive number, but is {norm!r}.")

    def init(params: Any) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        square = sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(updates)), jnp.zeros(()))
        is_long = square > norm**2
        scale = jnp.where(is_long, norm / jnp.sqrt(jnp.where(is_long, square, 1.0)), 1.0)
        return jax.tree.map(lambda leaf: (scale * leaf).astype(leaf.dtype), updates), state

    return optax.GradientTransformation(init, update)
