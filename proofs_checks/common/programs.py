"""Drop compiled programs before there are too many of them.

Every program that JAX compiles occupies memory mappings of its own. Linux allows a process some 65,000 mappings. The
next one fails, and the process ends without a message.
"""

import functools
import gc
import time
from pathlib import Path

import jax

_MAPPINGS = Path("/proc/self/maps")
_MANY = 30_000
_SECONDS = 5.0
"""Seconds between counts. At most some thousands of mappings are added meanwhile, and a count takes as long as a small
test.
"""


def forget_programs_at_times() -> None:
    """Call `forget_programs_if_many`, unless it was called a few seconds ago."""
    _forget_programs_once_in(int(time.monotonic() // _SECONDS))


@functools.lru_cache(maxsize=1)
def _forget_programs_once_in(_time: int) -> None:
    forget_programs_if_many()


def forget_programs_if_many(many: int = _MANY) -> bool:
    """Clear JAX's caches if the process has more than `many` mappings. **Returns** whether it did.

    Nothing is done where a process cannot read its mappings (outside Linux).
    """
    if not _MAPPINGS.exists() or _MAPPINGS.read_bytes().count(b"\n") <= many:
        return False
    jax.clear_caches()
    gc.collect()
    return True
