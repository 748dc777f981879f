"""Exact functions compute in float64, whatever the rest of the program does."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

Function = TypeVar("Function", bound=Callable[..., Any])


def in_float64(function: Function) -> Function:
    """Run `function` with 64-bit types on, and all floating-point arrays among its arguments as float64."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with jax.enable_x64(True):
            args, kwargs = jax.tree.map(_to_float64, (args, kwargs), is_leaf=lambda leaf: leaf is None)
            return function(*args, **kwargs)

    return wrapped  # pyright: ignore[reportReturnType]


def _to_float64(leaf: Any) -> Any:
    return leaf.astype(jnp.float64) if eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
