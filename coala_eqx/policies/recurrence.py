"""Linear recurrences along a sequence."""

import jax
from jaxtyping import Array, Float

from coala_eqx.loops import scan as scan_steps

SCANS = ("auto", "sequential", "associative")
"""Algorithms of a recurrence."""


def linear_recurrence(
    decay: Float[Array, "steps width"],
    inputs: Float[Array, "steps width"],
    start: Float[Array, " width"],
    scan: str = "auto",
) -> Float[Array, "steps width"]:
    """h_t = decay_t · h_{t−1} + inputs_t from h_0 = `start`, for all steps.

    `scan` is `"sequential"`, one step after another, or `"associative"`, of logarithmic depth and with more work.
    `"auto"` takes the first on a CPU, where it is faster, and the second elsewhere.
    """
    if scan == "auto":
        scan = "sequential" if jax.default_backend() == "cpu" else "associative"
    if scan == "associative":
        inputs = inputs.at[0].add(decay[0] * start)
        return jax.lax.associative_scan(_compose, (decay, inputs))[1]

    def step(state: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        state = now[0] * state + now[1]
        return state, state

    return scan_steps(step, start, (decay, inputs))[1]


def _compose(earlier: tuple[Array, Array], later: tuple[Array, Array]) -> tuple[Array, Array]:
    """The affine map of `later` after that of `earlier`."""
    return later[0] * earlier[0], later[0] * earlier[1] + later[1]
