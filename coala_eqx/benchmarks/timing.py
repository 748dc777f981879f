"""Timing of functions."""

import time
from collections.abc import Callable
from typing import Any

import jax


def shortest_seconds(function: Callable[[], Any], *, repeats: int) -> float:
    """The shortest time of `repeats` runs, in seconds, without compilation."""
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return min(times)
