"""Sums over the rest of a sequence."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from coala_eqx.arrays import Scalar
from coala_eqx.loops import scan


def sums_to_go(amounts: Float[Array, "batch steps"], decay: Scalar) -> Float[Array, "batch steps"]:
    """Σ_{k≥t} decay^{k−t} · amount_k for every step t: the return of rewards, or the advantage of TD errors."""

    def back(later: Array, amount: Array) -> tuple[Array, Array]:
        now = amount + decay * later
        return now, now

    by_step = amounts.T
    return scan(back, jnp.zeros_like(by_step[0]), by_step, reverse=True)[1].T
