"""States of training on disk, so that what was killed goes on where it was."""

import io
import itertools
import logging
import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np

from coala_eqx.training.mesh import is_key, on_host


class CorruptCheckpointWarning(UserWarning):
    """The newest checkpoint cannot be read; an earlier one is taken."""


class Checkpoints:
    """The last few states of one piece of work, by Orbax.

    Each is written beside the work that goes on, and is there at once or not at all: what a process that was killed
    had half written is removed by the next one. Checksums tell whether all of a state is as it was written.

    With several processes all of them must call each method; the first one writes.

    **Arguments:**

    - `folder`: made by the first `save`; no other files may be kept there.
    - `keep`: how many states.

    **Raises** `ImportError` if Orbax is missing, `ValueError` if `keep` is below 1.
    """

    def __init__(self, folder: Path, *, keep: int = 3):
        if keep < 1:
            raise ValueError(f"`keep` must be at least 1, but is {keep}.")
        self.folder = Path(folder).absolute()
        self.keep = keep
        self._orbax = _import_orbax()
        self._open: Any = None

    def newest(self) -> int:
        """How much was done at the newest one that is there, read or not; 0 without any."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.exists() else []
        return max((int(name) for name in names if name.isdigit()), default=0)

    def load(self, like: Any) -> tuple[int, Any]:
        """How much was done, and the state then, as NumPy arrays and keys; 0 and `like` if nothing was kept.

        A checkpoint that cannot be read is moved beside the folder, with a `CorruptCheckpointWarning`, and the one
        before is taken.

        **Raises** `ValueError`, and leaves everything as it is, if none can be read, or if one holds other arrays
        than `like`.
        """
        if not self.folder.exists():
            return 0, like
        steps, errors = sorted(self._manager().all_steps(), reverse=True), {}
        for step in steps:
            try:
                leaves = self._read(step)
            except Exception as error:  # of any kind, as it depends on what is broken
                errors[step] = " ".join(str(error).split())[:200] or type(error).__name__
                continue
            if errors:
                self.close()  # it knows of those that are moved now
                _move_away(self.folder, errors, step)
            return step, _as(like, leaves, self.folder / str(step))
        if not steps:
            return 0, like
        reasons = "; ".join(f"{self.folder / str(step)}: {error}" for step, error in errors.items())
        raise ValueError(
            f"No checkpoint in {self.folder} can be read, and all are kept as they are ({reasons}). "
            "Move the folder away to start this part again."
        )

    def save(self, done: int, state: Any) -> None:
        """Begin to write a state.

        **Raises** `ValueError` unless `done` is larger than those before, `OSError` if it, or the one before, cannot
        be written; those that are there stay.
        """
        packed = _pack([on_host(leaf) for leaf in jax.tree.leaves(state)])
        try:
            begun = self._manager().save(done, args=self._orbax.args.StandardSave({"state": packed}))
        except Exception as error:
            self._failed(error)
        if not begun:
            raise ValueError(f"`done` must be larger than that of the checkpoints in {self.folder}, but is {done}.")

    def wait(self) -> None:
        """Until all that was begun is written; raises as `save` does."""
        if self._open is None:
            return
        try:
            self._open.wait_until_finished()
        except Exception as error:
            self._failed(error)

    def remove(self) -> None:
        """All of them."""
        self.close()
        if jax.process_index() == 0:
            shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Wait, and let go of the folder; a later `save` or `load` opens it again."""
        if self._open is not None:
            self._open, manager = None, self._open
            manager.close()

    def _manager(self) -> Any:
        if self._open is None:
            options = self._orbax.CheckpointManagerOptions(max_to_keep=self.keep, cleanup_tmp_directories=True)
            self._open = self._orbax.CheckpointManager(self.folder, options=options)
        return self._open

    def _read(self, step: int) -> list[np.ndarray]:
        return _unpack(self._manager().restore(step, args=self._orbax.args.StandardRestore())["state"])

    def _failed(self, error: Exception) -> NoReturn:
        self._open = None  # what it would still write is lost
        raise OSError(f"The checkpoint in {self.folder} could not be written: {error}") from error


def _import_orbax() -> Any:
    try:
        import orbax.checkpoint  # noqa: PLC0415 (only those who keep checkpoints need it)
    except ImportError as error:
        raise ImportError("Checkpoints need Orbax: pip install 'coala_eqx[training]'.") from error
    logging.getLogger("absl").addFilter(_is_not_of_orbax)  # its errors are raised here; it logs each of its threads'
    return orbax.checkpoint


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _move_away(folder: Path, steps: Iterable[int], taken: int) -> None:
    for step in steps:
        name = f"{folder.name}-corrupt-{step}"
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        beside = next(path for path in map(folder.with_name, names) if not path.exists())
        if jax.process_index() == 0:
            (folder / str(step)).rename(beside)
        warnings.warn(
            f"The checkpoint {folder / str(step)} cannot be read and is kept as {beside}; going on from {taken}.",
            CorruptCheckpointWarning,
            stacklevel=3,
        )


def _pack(leaves: list[np.ndarray]) -> np.ndarray:
    """As one array of bytes, in NumPy's format, which has checksums."""
    stream = io.BytesIO()
    np.savez(stream, *leaves)
    return np.frombuffer(stream.getvalue(), np.uint8)


def _unpack(packed: np.ndarray) -> list[np.ndarray]:
    with np.load(io.BytesIO(packed.tobytes())) as held:
        return [held[name] for name in held.files]


def _as(like: Any, found: list[np.ndarray], where: Path) -> Any:
    """What was read, in the form of `like`."""
    leaves, structure = jax.tree.flatten(like)
    expected = [(leaf.shape, leaf.dtype) for leaf in map(_shape, leaves)]
    if [(leaf.shape, leaf.dtype) for leaf in found] != expected:
        raise ValueError(
            f"{where} holds arrays of other shapes or types, and is kept as it is. Move it away to start this part "
            "again."
        )
    keyed = (
        jax.random.wrap_key_data(jax.numpy.asarray(leaf), impl=jax.random.key_impl(one)) if is_key(one) else leaf
        for one, leaf in zip(leaves, found, strict=True)
    )
    return jax.tree.unflatten(structure, keyed)


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    if is_key(leaf):
        return jax.eval_shape(jax.random.key_data, leaf)
    leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
