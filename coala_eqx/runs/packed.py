"""Checkpoints of former versions, which packed all leaves of a state into one array of bytes."""

import io
from collections.abc import Sequence

import jax
import numpy as np

from coala_eqx.runs.leaves import Leaf

_TYPES = "types"
"""Entry of the packed arrays with the names of their types; the first versions had none."""


def unpack(packed: np.ndarray, expected: Sequence[Leaf]) -> list[np.ndarray]:
    """The leaves, in their order. Checksums of the packed format are verified."""
    with np.load(io.BytesIO(packed.tobytes())) as held:
        leaves = [held[name] for name in held.files if name != _TYPES]
        if _TYPES in held.files:
            return [_from_bytes(leaf, name) for leaf, name in zip(leaves, held[_TYPES].tolist(), strict=True)]
    if len(leaves) != len(expected):
        return leaves
    return [_typed(leaf, one.type) for leaf, one in zip(leaves, expected, strict=True)]


def _from_bytes(leaf: np.ndarray, name: str) -> np.ndarray:
    if leaf.dtype.name == name:
        return leaf
    return np.frombuffer(leaf.tobytes(), jax.numpy.dtype(name)).reshape(leaf.shape[:-1]).copy()  # to be written to


def _typed(leaf: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Arrays of nothing but bytes, as the first versions wrote types that NumPy has no name for."""
    fits = kind.isbuiltin == 2 and leaf.dtype.itemsize == kind.itemsize
    return leaf.view(kind) if fits and leaf.dtype.kind == "V" and leaf.dtype.isbuiltin != 2 else leaf
