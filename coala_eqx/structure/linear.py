"""The matrices of a function of several arrays, and whether it is linear in them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from coala_eqx.interpreter.program import evaluate
from coala_eqx.structure.findings import NotLinear, Size

_LINEAR_UP_TO = 1e-9
"""Largest relative difference from the linear map. Rounding stays below 1e-13."""


def linear_map(
    function: Callable[..., Any], size: Size, shapes: Mapping[str, tuple[int, ...]], tried: Sequence[np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray], float]:
    """The constant of a function of arrays, its matrices, and the precision of their entries.

    **Arguments:**

    - `function`: traceable; from one array of each shape to an array of `size`.
    - `size`: (B, M, T).
    - `shapes`: those of the arguments, by name.
    - `tried`: one array `[tries, …]` for each argument, at which linearity is tried.

    **Returns** matrices by name, axes of the result first.

    **Raises** `NotLinear`, a `ValueError`, if the function is not linear.
    """
    numbers = [int(np.prod(shape)) for shape in shapes.values()]
    total, ends = sum(numbers), np.cumsum(numbers)[:-1]
    flat = np.concatenate([one.reshape(len(one), -1) for one in tried], axis=1)
    inputs = np.split(np.concatenate([np.zeros((1, total)), np.eye(total), flat]), ends, axis=1)
    made = evaluate(
        jax.vmap(function), *(one.reshape(-1, *shape) for one, shape in zip(inputs, shapes.values(), strict=True))
    )
    constant, columns, others = made[0], made[1 : 1 + total] - made[0], made[1 + total :]
    with np.errstate(all="ignore"):
        expected = constant + np.tensordot(flat, columns, axes=1)
        # Terms that cancel on the way, such as values in TD errors, are rounded relative to their own size.
        scale = np.abs(constant) + np.abs(columns).max() * np.abs(flat).sum(axis=1)[:, None, None, None]
        bent = ~(np.abs(others - expected) <= _LINEAR_UP_TO * np.maximum(scale, np.abs(others)))
    if not (np.isfinite(constant).all() and np.isfinite(columns).all()) or bent.any():
        raise NotLinear(size)
    matrices = {
        name: np.moveaxis(some, 0, -1).reshape(*size, *shape)
        for some, (name, shape) in zip(np.split(columns, ends), shapes.items(), strict=True)
    }
    resolution = float(np.spacing(np.abs(constant)).max()) if np.any(constant) else 0.0
    return constant, matrices, resolution
