"""How far a part of a run has come: what the progress bar is told, and what is kept of a part that is half done."""

import os
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

INTERVAL = 10.0
"""Seconds from one checkpoint to the next, at least."""


class Progress:
    """Of one part of a run.

    **Arguments:**

    - `advance`: told how much more of the work is done.
    - `folder`: where checkpoints are kept; without one there are none.
    - `part`: its name.
    """

    def __init__(self, advance: Callable[[int], object] | None = None, folder: Path | None = None, part: str = ""):
        self.advance = advance
        self.folder = folder
        self.prefix = "checkpoint-" + re.sub(r"[^a-z0-9.]+", "-", part.lower()).strip("-")
        self._checkpoints: list[Checkpoint] = []

    def __call__(self, done: int) -> None:
        if self.advance is not None:
            self.advance(done)

    def checkpoint(self) -> "Checkpoint":
        """Of the part's next piece of work: pieces are told apart by the order in which they ask."""
        number = len(self._checkpoints) + 1
        file = None if self.folder is None else self.folder / f"{self.prefix}-{number}.npz"
        self._checkpoints.append(Checkpoint(file))
        return self._checkpoints[-1]

    def end(self) -> None:
        """Remove the part's checkpoints: its records are written."""
        for checkpoint in self._checkpoints:
            checkpoint.remove()


class Checkpoint:
    """What is kept of one piece of work: how much is done, and a pytree of arrays."""

    def __init__(self, file: Path | None):
        self.file = file
        self._saved = time.monotonic()

    def load(self, like: Any) -> tuple[int, Any]:
        """How much was done, and the state then; 0 and `like` if there is no checkpoint.

        **Raises** `ValueError`, and keeps the file, if it cannot be read or holds other arrays than `like`.
        """
        if self.file is None or not self.file.exists():
            return 0, like
        leaves, structure = jax.tree.flatten(like)
        try:
            with self.file.open("rb") as stream, np.load(stream) as held:  # np.load alone leaves a bad file open
                done, *found = [held[name] for name in held.files]
            expected = [(leaf.shape, leaf.dtype) for leaf in map(_plain, leaves)]
            if [(leaf.shape, leaf.dtype) for leaf in found] != expected:
                raise ValueError("it holds arrays of other shapes or types")
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{self.file} cannot be read, and is kept as it is: {error}. Move it away to start this part again."
            ) from error
        return int(done), jax.tree.unflatten(structure, map(_as, leaves, found))

    def save(self, done: int, state: Any, always: bool = False) -> None:
        """Replace the checkpoint, at once or not at all; does nothing soon after the last one unless `always`."""
        if self.file is None or not (always or time.monotonic() - self._saved >= INTERVAL):
            return
        temporary = _temporary(self.file)
        np.savez(temporary, done, *map(_plain, jax.tree.leaves(state)), allow_pickle=False)
        os.replace(temporary, self.file)  # noqa: PTH105 (atomic on every system)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """It, and what a process that was killed had half written of it."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)
            _temporary(self.file).unlink(missing_ok=True)


def _plain(leaf: Any) -> np.ndarray:
    """A leaf as it is written: typed keys as their numbers."""
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _as(like: Any, found: np.ndarray) -> Any:
    """What was read, as a key if it was one."""
    return (
        jax.random.wrap_key_data(jax.numpy.asarray(found), impl=jax.random.key_impl(like)) if _is_key(like) else found
    )


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _temporary(file: Path) -> Path:
    return file.with_name("." + file.name)
