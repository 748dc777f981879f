"""States of training on disk, so that a run that was killed goes on where it was."""

import itertools
import json
import logging
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from coala_eqx.extras import how_to_get
from coala_eqx.runs.leaves import Leaf, describe, differences, leaves_of
from coala_eqx.runs.packed import unpack
from coala_eqx.runs.processes import by_the_first, is_key, on_host
from coala_eqx.runs.stored import from_stored, is_number, nested, read_arrays, to_stored
from coala_eqx.version import __version__

Result = TypeVar("Result")

FORMAT = 2
"""Version of the files. Version 1 packed all leaves into one array of bytes."""

_STATE, _ABOUT = "state", "about"
"""Orbax's items in a checkpoint: the leaves, in a tree by their paths, and what they are."""

_PACKED = "bytes"
"""The only leaf of version 1."""


class CorruptCheckpointWarning(UserWarning):
    """The newest checkpoint cannot be read; an earlier one is taken."""


class _UnfitError(Exception):
    """A checkpoint that can be read is of another state, or of a later version."""


class Checkpoints:
    """The last few states of one piece of work, as Orbax's trees.

    A state is written while the work goes on, and is there at once or not at all: what a process that was killed had
    half written is removed by the next one. Beside the leaves, a checkpoint holds their paths, shapes, types and
    checksums, the version of its format and that of the package. Orbax alone reads the leaves, too:
    `orbax.checkpoint.PyTreeCheckpointer().restore(folder / "30" / "state")`. Types that Orbax's files have no name for
    are bytes there, `[…, bytes of one]`.

    With several processes all of them must call each method. Only the first one reads and writes; it tells the others.

    **Arguments:**

    - `folder`: made by the first `save`; no other files may be kept there.
    - `keep`: number of states.

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
        """Load the newest state that can be read.

        A checkpoint that cannot be read is moved beside the folder, with a `CorruptCheckpointWarning`, and the one
        before is taken.

        **Returns** how much was done, and the state then, with NumPy arrays and typed keys; 0 and `like` if there is
        no checkpoint.

        **Raises** `ValueError`, and leaves everything as it is, if none can be read, or if a checkpoint does not fit
        `like`: the error names the leaves that differ.
        """
        expected = leaves_of(like)
        done, found = by_the_first(lambda: self._load(expected), (0, None), ValueError)
        if jax.process_count() > 1:
            done, found = _told(done, found, [*expected.values()])
        return (0, like) if found is None else (done, _as(like, found))

    def save(self, done: int, state: Any) -> None:
        """Begin to write a state.

        **Raises** `ValueError` unless `done` is larger than those before and all leaves are numbers, `OSError` if this
        state, or the one before, cannot be written; checkpoints that are there stay.
        """
        about = leaves_of(state)
        leaves = [np.array(on_host(leaf)) for leaf in jax.tree.leaves(state)]  # copies: the work goes on meanwhile
        for leaf in leaves:
            if not is_number(leaf.dtype):  # objects would be written as code, and not be read again
                raise ValueError(f"A state must consist of arrays and numbers, but has {leaf.tolist()!r}.")

        def begin() -> bool:
            args = self._orbax.args
            items = {_ABOUT: args.JsonSave(_described(about, leaves))}
            if tree := nested({path: to_stored(leaf) for path, leaf in zip(about, leaves, strict=True) if leaf.size}):
                items[_STATE] = args.PyTreeSave(tree)
            return self._manager().save(done, args=args.Composite(**items))

        if not by_the_first(lambda: self._try(begin), True, OSError):
            raise ValueError(f"`done` must be larger than that of the checkpoints in {self.folder}, but is {done}.")

    def wait(self) -> None:
        """Wait until all that was begun is written; **raises** as `save` does."""

        def finish() -> None:
            if self._open is not None:
                self._open.wait_until_finished()

        by_the_first(lambda: self._try(finish), None, OSError)

    def remove(self, *, but_the_last: bool = False) -> None:
        """Remove all states, or all but the last."""
        self.close()
        if jax.process_index() != 0:
            return
        if not but_the_last:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif self.folder.exists():
            steps = sorted((path for path in self.folder.iterdir() if path.name.isdigit()), key=lambda p: int(p.name))
            for path in steps[:-1]:
                shutil.rmtree(path, ignore_errors=True)

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
            handlers = {
                _STATE: self._orbax.PyTreeCheckpointHandler(use_zarr3=False, multiprocessing_options=alone),
                _ABOUT: self._orbax.JsonCheckpointHandler(multiprocessing_options=alone),
            }
            self._open = self._orbax.CheckpointManager(self.folder, item_handlers=handlers, options=options)
        return self._open

    def _load(self, expected: Mapping[str, Leaf]) -> tuple[int, list[np.ndarray] | None]:
        if not self.folder.exists():
            return 0, None
        steps, errors = sorted(self._manager().all_steps(), reverse=True), {}
        for step in steps:
            try:
                leaves = self._read(step, expected)
            except _UnfitError as error:
                raise ValueError(
                    f"{self.folder / str(step)} does not fit, and is kept as it is: {error}. Move it away to start "
                    "this part again."
                ) from None
            except Exception as error:  # of any kind, as it depends on what is broken
                errors[step] = " ".join(str(error).split())[:200] or type(error).__name__
                continue
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

    def _read(self, step: int, expected: Mapping[str, Leaf]) -> list[np.ndarray]:
        if not (self.folder / str(step) / _ABOUT).exists():
            return self._read_packed(step, expected)
        about = self._restore(step, _ABOUT, self._orbax.args.JsonRestore())
        _check_about(about)
        held = {one["path"]: Leaf(tuple(one["shape"]), one["dtype"], one["key"]) for one in about["leaves"]}
        _check_fits(held, expected, about)
        stored = [path for path, leaf in held.items() if 0 not in leaf.shape]
        arrays = read_arrays(self.folder / str(step) / _STATE, stored)
        read = {one["path"]: from_stored(arrays.get(one["path"]), one) for one in about["leaves"]}
        return [read[path] for path in expected]

    def _read_packed(self, step: int, expected: Mapping[str, Leaf]) -> list[np.ndarray]:
        """A checkpoint of version 1, which has no paths."""
        packed = self._restore(step, _STATE, self._orbax.args.PyTreeRestore())[_PACKED]
        leaves = unpack(packed, [*expected.values()])
        paths = [*expected, *(f"leaf {number + 1}" for number in range(len(expected), len(leaves)))]
        keys = [leaf.key for leaf in expected.values()] + [None] * len(leaves)
        held = {
            path: Leaf(leaf.shape, describe(leaf).dtype, key)
            for path, leaf, key in zip(paths, leaves, keys, strict=False)
        }
        _check_fits(held, expected, {"format": 1})
        return leaves

    def _restore(self, step: int, item: str, how: Any) -> Any:
        return self._manager().restore(step, args=self._orbax.args.Composite(**{item: how}))[item]

    def _try(self, action: Callable[[], Result]) -> Result:
        try:
            return action()
        except Exception as error:
            self._open = None  # what it would still write is lost
            raise OSError(f"The checkpoint in {self.folder} could not be written: {error}") from error


def _check_fits(held: Mapping[str, Leaf], expected: Mapping[str, Leaf], about: Mapping[str, Any]) -> None:
    if found := differences(held, expected):
        by = f", of coala_eqx {about['coala_eqx']}" if "coala_eqx" in about else ""
        raise _UnfitError(f"it holds another state (format {about['format']}{by}): {'; '.join(found)}")


def _described(leaves: Mapping[str, Leaf], arrays: Sequence[np.ndarray]) -> dict[str, Any]:
    """The description of a checkpoint."""
    about = {
        "format": FORMAT,
        "coala_eqx": __version__,
        "leaves": [
            {
                "path": path,
                "shape": list(leaf.shape),
                "dtype": leaf.dtype,
                "key": leaf.key,
                "crc32": zlib.crc32(array.tobytes()),
            }
            for (path, leaf), array in zip(leaves.items(), arrays, strict=True)
        ],
    }
    return about | {"crc32": _checksum(about)}


def _check_about(about: dict[str, Any]) -> None:
    """**Raises** `ValueError` unless it is as it was written, `_UnfitError` if a later version wrote it."""
    content = {name: value for name, value in about.items() if name != "crc32"}
    if about.get("crc32") != _checksum(content):
        raise ValueError("its description is not as it was written")
    if about["format"] > FORMAT:
        raise _UnfitError(
            f"it has format {about['format']}, of coala_eqx {about['coala_eqx']}; this version reads up to {FORMAT}"
        )


def _checksum(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _told(done: int, found: list[np.ndarray] | None, shapes: Sequence[Leaf]) -> tuple[int, list[np.ndarray] | None]:
    """Tell all processes what the first one has found."""
    there, done = map(int, multihost_utils.broadcast_one_to_all(np.asarray([found is not None, done], np.int32)))
    if not there:
        return 0, None
    leaves = found or [np.zeros(one.shape, one.type) for one in shapes]
    sent = multihost_utils.broadcast_one_to_all([np.frombuffer(leaf.tobytes(), np.uint8) for leaf in leaves])
    return done, [
        np.frombuffer(np.asarray(leaf).tobytes(), one.type).reshape(one.shape).copy()  # to be written to
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


def _as(like: Any, found: list[np.ndarray]) -> Any:
    """The leaves that were read, in the form of `like`."""
    leaves, structure = jax.tree.flatten(like)
    keyed = (
        jax.random.wrap_key_data(jax.numpy.asarray(leaf), impl=jax.random.key_impl(one)) if is_key(one) else leaf
        for one, leaf in zip(leaves, found, strict=True)
    )
    return jax.tree.unflatten(structure, keyed)
