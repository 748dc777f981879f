"""Compiled programs are forgotten before there are too many of them.

The code of every program that JAX compiles lies in memory mappings of its own. Linux allows a process some 65,000 of
them; the next one fails, and the process dies without a word.
"""

import functools
import gc
import time
from pathlib import Path

import jax

_MAPPINGS = Path("/proc/self/maps")
_MANY = 30_000
_SECONDS = 5.0
"""In which mappings become more by some thousands at most; to count them takes as long as a small test."""


def forget_programs_at_times() -> None:
    """`forget_programs_if_many`, unless that was asked in the same few seconds."""
    _forget_programs_once_in(int(time.monotonic() // _SECONDS))


@functools.lru_cache(maxsize=1)
def _forget_programs_once_in(_time: int) -> None:
    forget_programs_if_many()


def forget_programs_if_many(many: int = _MANY) -> bool:
    """Clear JAX's caches if the process has more mappings than that; **returns** whether it was done.

    Where a process cannot read its mappings (not on Linux), nothing is done.
    """
    if not _MAPPINGS.exists() or _MAPPINGS.read_bytes().count(b"\n") <= many:
        return False
    jax.clear_caches()
    gc.collect()
    return True
