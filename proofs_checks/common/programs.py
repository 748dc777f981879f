"""Drop compiled programs before there are too many of them.

Every program that JAX compiles occupies memory mappings of its own. Linux allows a process some 65,000 mappings. The
next one fails, and the process ends without a message. A process that compiles programs for half an hour also comes to
hold several GB of them.
"""

import ctypes
import functools
import gc
import time
from pathlib import Path

import jax

_MAPPINGS = Path("/proc/self/maps")
_STATUS = Path("/proc/self/status")
_MANY = 30_000
_MOST = 1.5
"""GB of memory with which programs are forgotten."""
_MORE = 0.4
"""GB that must have come since they were forgotten last."""
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


_left = [0.0]
"""Memory in GB after programs were forgotten last."""


def forget_programs_if_many(many: int = _MANY, most: float = _MOST) -> bool:
    """Clear JAX's caches if the process has more than `many` mappings, or uses more than `most` GB. **Returns** whether
    it did.

    Nothing is done where a process cannot read its mappings (outside Linux).
    """
    if not (_MAPPINGS.exists() and _STATUS.exists()):
        return False
    if _MAPPINGS.read_bytes().count(b"\n") <= many and memory() <= max(most, _left[0] + _MORE):
        return False
    jax.clear_caches()
    gc.collect()
    _give_back()
    _left[0] = memory()
    return True


def memory() -> float:
    """GB that the process uses."""
    line = next(line for line in _STATUS.read_text(encoding="utf-8").splitlines() if line.startswith("VmRSS"))
    return float(line.split()[1]) * 1024 / 1e9


def _give_back() -> None:
    """Give memory that is free in the process back to the system; the GNU C library keeps it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
