"""Loops along an axis, written out where they are short."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

FEW = 4
"""Steps. JAX's transformations trace the body of a `scan` several times each, and nested ones again and again."""


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, inputs: Any, *, reverse: bool = False
) -> tuple[Any, Any]:
    """`jax.lax.scan` over arrays `[steps, …]`; a few steps are written out one by one.

    **Returns** the last carry, and the records, stacked.
    """
    leaves, structure = jax.tree.flatten(inputs)
    length = len(leaves[0])
    if not 0 < length <= FEW:
        return jax.lax.scan(step, carry, inputs, reverse=reverse)
    rows = [*zip(*map(jnp.unstack, leaves), strict=True)]
    records = []
    for row in reversed(rows) if reverse else rows:
        carry, record = step(carry, jax.tree.unflatten(structure, row))
        records.append(record)
    if reverse:
        records.reverse()
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *records)
