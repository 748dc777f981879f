"""Scans along an axis; short ones are unrolled."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

FEW = 4
"""Largest number of steps that are unrolled. JAX's transformations trace the body of a `scan` several times each, and
more often for nested scans.
"""


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, inputs: Any, *, reverse: bool = False
) -> tuple[Any, Any]:
    """`jax.lax.scan` over arrays `[steps, …]`; up to `FEW` steps are unrolled.

    **Returns** the last carry, and the stacked outputs.

    **Raises** `ValueError` if the arrays differ in length, and `TypeError` if the step changes the carry's structure,
    shapes or types. (Longer loops raise what `jax.lax.scan` does.)
    """
    leaves, structure = jax.tree.flatten(inputs)
    length = len(leaves[0])
    if not 0 < length <= FEW:
        return jax.lax.scan(step, carry, inputs, reverse=reverse)
    if any(len(leaf) != length for leaf in leaves):
        raise ValueError(f"All arrays must have the same number of steps, but have {[len(leaf) for leaf in leaves]}.")
    rows = [*zip(*map(jnp.unstack, leaves), strict=True)]
    records = []
    for row in reversed(rows) if reverse else rows:
        before = carry
        carry, record = step(carry, jax.tree.unflatten(structure, row))
        _check_carry(before, carry)
        records.append(record)
    if reverse:
        records.reverse()
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *records)


def _check_carry(before: Any, after: Any) -> None:
    """Check that shapes and types of the carry stay the same, as `jax.lax.scan` does."""
    signatures = [
        (jax.tree.structure(carry), [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in jax.tree.leaves(carry)])
        for carry in (before, after)
    ]
    if signatures[0] != signatures[1]:
        raise TypeError(f"A step must return a carry like the one it was given, {before}, but returned {after}.")
