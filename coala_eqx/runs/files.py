"""Files that are written at once or not at all, and locks."""

import errno
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from coala_eqx.runs.processes import is_first

FAR = 1 << 30
"""Offset of the byte that Windows locks. Others cannot read a byte that is locked."""


def write(file: Path, by: Callable[[Path], object]) -> None:
    """Write a file at once or not at all: `by` writes another file, which then takes its place.

    With several processes only the first one writes.

    **Raises** `OSError` if the file cannot be written; the former one stays.
    """
    if is_first():
        temporary = file.with_name("." + file.name)
        try:
            by(temporary)
            os.replace(temporary, file)  # noqa: PTH105 (atomic on every system)
        except (OSError, RuntimeError, *_errors_of_polars()) as error:  # RuntimeError is Equinox's
            temporary.unlink(missing_ok=True)
            reason = " ".join(str(error).split())
            raise OSError(
                f"{file} could not be written: {reason}. When that is mended, the same command goes on from what is "
                "kept."
            ) from error


def _errors_of_polars() -> tuple[type[Exception], ...]:
    """Errors of polars, if it is loaded."""
    polars = sys.modules.get("polars")
    return () if polars is None else (polars.exceptions.PolarsError,)


def read_leaves(path: Path, like: Any) -> Any:
    """Read the leaves of a tree, to the bit, from a file `agents-PART.eqx` of a former version.

    **Raises** `RuntimeError` unless the file has the leaves of `like`.
    """

    def load(stream: Any, leaf: Any) -> Any:
        if has_no_name(leaf):
            bits = np.load(stream)
            if bits.dtype.kind not in "uV":  # as older versions wrote them
                raise ValueError(f"{bits.dtype} where {leaf.dtype} is expected")
            return jnp.asarray(bits.view(leaf.dtype))
        return eqx.default_deserialise_filter_spec(stream, leaf)

    return eqx.tree_deserialise_leaves(path, like, filter_spec=load)


def has_no_name(leaf: Any) -> bool:
    """Whether NumPy's files have no name for the type of an array, such as bfloat16."""
    kind = getattr(leaf, "dtype", None)
    return isinstance(kind, np.dtype) and kind.isbuiltin == 2


def lock(stream: IO[str]) -> None:
    """Keep other processes off the file until it is closed, or this process ends.

    Where the system has no locks for it, that is said, and the run goes on without.

    **Raises** `BlockingIOError` if another process has it.
    """
    try:
        _try_to_lock(stream)
    except BlockingIOError:
        raise
    except (ImportError, OSError) as error:
        print(
            f"coala_eqx: {stream.name} cannot be locked here ({error}): see to it that no other process uses this "
            "folder. The run goes on.",
            file=sys.stderr,
        )


def _try_to_lock(stream: IO[str]) -> None:
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:
        msvcrt = importlib.import_module("msvcrt")  # of Windows
        os.lseek(stream.fileno(), FAR, os.SEEK_SET)
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EDEADLK}:
                raise BlockingIOError(*error.args) from error
            raise
    else:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
