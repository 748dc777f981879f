"""States of training on disk, so that what was killed goes on where it was."""

import io
import itertools
import logging
import shutil
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from coala_eqx.extras import how_to_get
from coala_eqx.runs.processes import by_the_first, is_key, on_host

Result = TypeVar("Result")

_ITEM = "state"
"""Of a checkpoint, by Orbax's name for its parts."""


class CorruptCheckpointWarning(UserWarning):
    """The newest checkpoint cannot be read; an earlier one is taken."""


class Checkpoints:
    """The last few states of one piece of work, by Orbax.

    Each is written beside the work that goes on, and is there at once or not at all: what a process that was killed
    had half written is removed by the next one. Checksums tell whether all of a state is as it was written.

    With several processes all of them must call each method. The first one alone reads and writes, and tells the
    others.

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

    def load(self, like: Any) -> tuple[int, Any]:
        """How much was done, and the state then, as NumPy arrays and keys; 0 and `like` if nothing was kept.

        A checkpoint that cannot be read is moved beside the folder, with a `CorruptCheckpointWarning`, and the one
        before is taken.

        **Raises** `ValueError`, and leaves everything as it is, if none can be read, or if one holds other arrays
        than `like`.
        """
        shapes = [_shape(leaf) for leaf in jax.tree.leaves(like)]
        done, found = by_the_first(lambda: self._load(shapes), (0, None), ValueError)
        if jax.process_count() > 1:
            done, found = _told(done, found, shapes)
        return (0, like) if found is None else (done, _as(like, found))

    def save(self, done: int, state: Any) -> None:
        """Begin to write a state.

        **Raises** `ValueError` unless `done` is larger than those before and all leaves are numbers, `OSError` if it,
        or the one before, cannot be written; those that are there stay.
        """
        leaves = [on_host(leaf) for leaf in jax.tree.leaves(state)]
        for leaf in leaves:
            if leaf.dtype.hasobject:  # would be written as code, and is not read again
                raise ValueError(f"A state must consist of arrays and numbers, but has {leaf.tolist()!r}.")

        def begin() -> bool:
            item = self._orbax.args.StandardSave({"bytes": _pack(leaves)})
            return self._manager().save(done, args=self._orbax.args.Composite(**{_ITEM: item}))

        if not by_the_first(lambda: self._try(begin), True, OSError):
            raise ValueError(f"`done` must be larger than that of the checkpoints in {self.folder}, but is {done}.")

    def wait(self) -> None:
        """Until all that was begun is written; raises as `save` does."""

        def finish() -> None:
            if self._open is not None:
                self._open.wait_until_finished()

        by_the_first(lambda: self._try(finish), None, OSError)

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
            self.folder.mkdir(parents=True, exist_ok=True)
            alone = self._orbax.options.MultiprocessingOptions(primary_host=0, active_processes={0})
            options = self._orbax.CheckpointManagerOptions(
                max_to_keep=self.keep, cleanup_tmp_directories=True, create=False, multiprocessing_options=alone
            )
            self._open = self._orbax.CheckpointManager(self.folder, item_names=(_ITEM,), options=options)
        return self._open

    def _load(self, shapes: list[jax.ShapeDtypeStruct]) -> tuple[int, list[np.ndarray] | None]:
        if not self.folder.exists():
            return 0, None
        steps, errors = sorted(self._manager().all_steps(), reverse=True), {}
        for step in steps:
            try:
                leaves = _typed(self._read(step), shapes)
            except Exception as error:  # of any kind, as it depends on what is broken
                errors[step] = " ".join(str(error).split())[:200] or type(error).__name__
                continue
            if (held := _described(leaves)) != (expected := _described(shapes)):
                differ = next((one for one in zip(held, expected, strict=False) if one[0] != one[1]), None)
                what = f"{differ[0]} instead of {differ[1]}" if differ else f"{len(held)} instead of {len(expected)}"
                raise ValueError(
                    f"{self.folder / str(step)} holds arrays of other shapes or types, and is kept as it is. Move it "
                    f"away to start this part again. (It holds {what}.)"
                )
            if errors:
                self.close()  # it knows of those that are moved now
                _move_away(self.folder, errors, step)
            return step, leaves
        if not steps:
            return 0, None
        reasons = "; ".join(f"{self.folder / str(step)}: {error}" for step, error in errors.items())
        raise ValueError(
            f"No checkpoint in {self.folder} can be read, and all are kept as they are ({reasons}). "
            "Move the folder away to start this part again."
        )

    def _read(self, step: int) -> list[np.ndarray]:
        item = self._orbax.args.Composite(**{_ITEM: self._orbax.args.StandardRestore()})
        return _unpack(self._manager().restore(step, args=item)[_ITEM]["bytes"])

    def _try(self, action: Callable[[], Result]) -> Result:
        try:
            return action()
        except Exception as error:
            self._open = None  # what it would still write is lost
            raise OSError(f"The checkpoint in {self.folder} could not be written: {error}") from error


def _told(
    done: int, found: list[np.ndarray] | None, shapes: list[jax.ShapeDtypeStruct]
) -> tuple[int, list[np.ndarray] | None]:
    """What the first process has found, in all of them."""
    there, done = map(int, multihost_utils.broadcast_one_to_all(np.asarray([found is not None, done], np.int32)))
    if not there:
        return 0, None
    leaves = found or [np.zeros(one.shape, one.dtype) for one in shapes]
    sent = multihost_utils.broadcast_one_to_all([np.frombuffer(leaf.tobytes(), np.uint8) for leaf in leaves])
    return done, [
        np.frombuffer(np.asarray(leaf).tobytes(), one.dtype).reshape(one.shape).copy()  # to be written to
        for leaf, one in zip(sent, shapes, strict=True)
    ]


def _import_orbax() -> Any:
    try:
        import orbax.checkpoint  # noqa: PLC0415 (only those who keep checkpoints need it)
    except ImportError as error:
        raise ImportError(f"Checkpoints need Orbax: {how_to_get('orbax-checkpoint', 'training')}.") from error
    logging.getLogger("absl").addFilter(_is_not_of_orbax)  # its errors are raised here; it logs each of its threads'
    return orbax.checkpoint


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _move_away(folder: Path, steps: Iterable[int], taken: int) -> None:
    for step in steps:
        name = f"{folder.name}-corrupt-{step}"
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        beside = next(path for path in map(folder.with_name, names) if not path.exists())
        (folder / str(step)).rename(beside)
        warnings.warn(
            f"The checkpoint {folder / str(step)} cannot be read and is kept as {beside}; going on from {taken}.",
            CorruptCheckpointWarning,
            stacklevel=5,
        )


_TYPES = "types"
"""Of the packed arrays, by JAX's names; `_pack` writes them, as NumPy's format has none for bfloat16 and the like."""


def _pack(leaves: list[np.ndarray]) -> np.ndarray:
    """As one array of bytes, in NumPy's format, which has checksums."""
    stream = io.BytesIO()
    np.savez(stream, *map(_as_bytes, leaves), types=np.array([leaf.dtype.name for leaf in leaves], dtype=str))
    return np.frombuffer(stream.getvalue(), np.uint8)


def _as_bytes(leaf: np.ndarray) -> np.ndarray:
    """An array of a type that NumPy has; of another, and of nothing but numbers, the bytes `[…, bytes of one]`."""
    if leaf.dtype.isbuiltin != 2:
        return leaf
    return np.frombuffer(leaf.tobytes(), np.uint8).reshape(*leaf.shape, leaf.dtype.itemsize)


def _unpack(packed: np.ndarray) -> list[np.ndarray]:
    with np.load(io.BytesIO(packed.tobytes())) as held:
        leaves = [held[name] for name in held.files if name != _TYPES]
        types = held[_TYPES].tolist() if _TYPES in held.files else [leaf.dtype.name for leaf in leaves]
    return [_from_bytes(leaf, name) for leaf, name in zip(leaves, types, strict=True)]


def _from_bytes(leaf: np.ndarray, name: str) -> np.ndarray:
    if leaf.dtype.name == name:
        return leaf
    return np.frombuffer(leaf.tobytes(), jax.numpy.dtype(name)).reshape(leaf.shape[:-1]).copy()  # to be written to


def _typed(leaves: list[np.ndarray], shapes: list[jax.ShapeDtypeStruct]) -> list[np.ndarray]:
    """Of earlier versions, which had no types, arrays of nothing but bytes get those that are expected."""
    if len(leaves) != len(shapes):
        return leaves
    return [
        leaf.view(one.dtype) if leaf.dtype.kind == "V" and leaf.dtype.isbuiltin != 2 and _fits(leaf, one) else leaf
        for leaf, one in zip(leaves, shapes, strict=True)
    ]


def _described(arrays: Iterable[Any]) -> list[str]:
    return [f"{array.dtype}{list(array.shape)}" for array in arrays]


def _fits(leaf: np.ndarray, one: jax.ShapeDtypeStruct) -> bool:
    return leaf.dtype.itemsize == one.dtype.itemsize and one.dtype.isbuiltin == 2


def _as(like: Any, found: list[np.ndarray]) -> Any:
    """What was read, in the form of `like`."""
    leaves, structure = jax.tree.flatten(like)
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
