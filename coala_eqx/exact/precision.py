"""Float64 for exact functions, independent of the rest of the program."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from coala_eqx.arrays import concrete

Function = TypeVar("Function", bound=Callable[..., Any])


def in_float64(function: Function) -> Function:
    """A decorator that runs a function with 64-bit types on and floating-point arrays of its arguments as float64.

    Where 64-bit types are off, traced arguments raise `ValueError`: a derivative would be taken half in float32.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        enabled = jnp.result_type(float) == jnp.float64
        if not enabled and not all(map(concrete, jax.tree.leaves((args, kwargs)))):
            raise ValueError(
                f"`{function.__name__}` is called under `jit`, `vmap` or `grad` with 64-bit types off; switch them on "
                f'first: jax.config.update("jax_enable_x64", True).'
            )
        with jax.enable_x64(True):
            args, kwargs = to_float64((args, kwargs))
            return function(*args, **kwargs)

    return wrapped  # pyright: ignore[reportReturnType]


def to_float64(tree: Any) -> Any:
    """A tree with all floating-point arrays as float64; 64-bit types must be on."""
    return jax.tree.map(_leaf_to_float64, tree)


def _leaf_to_float64(leaf: Any) -> Any:
    return leaf.astype(jnp.float64) if eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
