"""Leaves of a state in Orbax's files."""

import importlib
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np


def is_number(kind: np.dtype) -> bool:
    """Whether a type is one of numbers, which can be stored."""
    return kind.isbuiltin == 2 or kind.kind in "biufc"


def _is_native(kind: np.dtype) -> bool:
    """Whether Orbax's files have a name for the type."""
    return kind.name == "bfloat16" or (kind.isbuiltin == 1 and kind.isnative and kind.char not in "gG")


def to_stored(leaf: np.ndarray) -> np.ndarray:
    """The leaf, or its bytes `[…, bytes of one]`."""
    if _is_native(leaf.dtype):
        return leaf
    return np.frombuffer(leaf.tobytes(), np.uint8).reshape(*leaf.shape, leaf.dtype.itemsize)


def from_stored(array: np.ndarray | None, about: Mapping[str, Any]) -> np.ndarray:
    """The leaf that was stored; **raises** `ValueError` unless it has its checksum."""
    kind, shape, path = jax.numpy.dtype(about["dtype"]), tuple(about["shape"]), about["path"]
    content = b"" if array is None else array.tobytes()  # arrays without numbers are not stored
    if zlib.crc32(content) != about["crc32"]:
        raise ValueError(f"{path} is not as it was written")
    return np.frombuffer(content, kind).reshape(shape).copy()  # to be written to


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Dictionaries within each other, by paths."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *names, last = path.split("/")
        inner = tree
        for name in names:
            inner = inner.setdefault(name, {})
        inner[last] = leaf
    return tree


def read_arrays(folder: Path, paths: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays that Orbax wrote, by their paths.

    They are read by the library that Orbax reads them by. Orbax itself reads all of them at once in a loop that it
    closes when one cannot be read, and the others then write errors to the terminal.
    """
    tensorstore = importlib.import_module("tensorstore")
    context = tensorstore.Context()

    def begin(path: str) -> Any:
        base = {"driver": "file", "path": f"{folder}/"}
        place = {"driver": "ocdbt", "base": base, "path": path.replace("/", ".") + "/"}
        return tensorstore.open({"driver": "zarr", "kvstore": place}, context=context, read=True, open=True)

    opened = [begin(path) for path in paths]
    begun = [one.result().read() for one in opened]
    return {path: np.asarray(one.result()) for path, one in zip(paths, begun, strict=True)}
