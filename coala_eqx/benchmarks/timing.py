"""How long something takes."""

import time
from collections.abc import Callable
from typing import Any

import jax


def shortest_seconds(function: Callable[[], Any], *, repeats: int) -> float:
    """The shortest of some runs, compilation not included."""
    jax.block_until_ready(function())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return min(times)
