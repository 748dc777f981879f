"""Optax's optimisers: a check, and steps down and up a gradient."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from coala_eqx.policies import AbstractPolicy


def is_optimiser(value: Any) -> bool:
    """Whether a value is one of optax's gradient transformations."""
    return isinstance(value, optax.GradientTransformation)


def check_optimiser(name: str, value: Any) -> None:
    """**Raises** `ValueError` unless the value is one of optax's gradient transformations."""
    if not is_optimiser(value):
        raise ValueError(
            f"`{name}` must be an optax gradient transformation, such as optax.adam(1e-3), but is {value!r}."
        )


def descend(
    optimiser: optax.GradientTransformation, policy: AbstractPolicy, state: Any, gradient: Any
) -> tuple[AbstractPolicy, Any]:
    """One step of an optimiser down `gradient`, a pytree like the policy with `None` where there is no parameter.

    JAX's strict promotion is off for it, as optax mixes types of numbers.
    """
    with jax.numpy_dtype_promotion("standard"):
        updates, state = optimiser.update(gradient, state, eqx.filter(policy, eqx.is_inexact_array))
        return eqx.apply_updates(policy, updates), state


def ascend(
    optimiser: optax.GradientTransformation, policy: AbstractPolicy, state: Any, gradient: Any
) -> tuple[AbstractPolicy, Any]:
    """One step of an optimiser up `gradient`: optax is given its negative."""
    return descend(optimiser, policy, state, jax.tree.map(jnp.negative, gradient))
