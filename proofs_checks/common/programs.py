"""Compiled programs are forgotten before there are too many of them.

The code of every program that JAX compiles lies in memory mappings of its own. Linux allows a process some 65,000 of
them; the next one fails, and the process dies without a word.
"""

import gc
from pathlib import Path

import jax

_MAPPINGS = Path("/proc/self/maps")
_MANY = 30_000


def forget_programs_if_many(many: int = _MANY) -> bool:
    """Clear JAX's caches if the process has more mappings than that; **returns** whether it was done.

    Where a process cannot read its mappings (not on Linux), nothing is done.
    """
    if not _MAPPINGS.exists() or _MAPPINGS.read_bytes().count(b"\n") <= many:
        return False
    jax.clear_caches()
    gc.collect()
    return True
