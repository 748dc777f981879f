"""Leaves of a pytree: their paths, shapes and types, and how two pytrees differ."""

import dataclasses
import urllib.parse
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from coala_eqx.runs.processes import is_key

MOST = 10
"""Differences that an error names."""


@dataclasses.dataclass(frozen=True)
class Leaf:
    """Shape and type of a leaf, as NumPy holds it; of typed keys their numbers."""

    shape: tuple[int, ...]
    dtype: str
    """By its name, or NumPy's code where the name does not say all, as of other orders of bytes."""

    key: str | None = None
    """Implementation of the random numbers, if the leaf is an array of keys."""

    @property
    def type(self) -> np.dtype:
        """NumPy's type."""
        return jax.numpy.dtype(self.dtype)

    def in_words(self) -> str:
        """Such as `float32[5, 3]`, or `key<threefry2x32>[5]`."""
        shape, kind = (self.shape, self.dtype) if self.key is None else (self.shape[:-1], f"key<{self.key}>")
        return f"{kind}{list(shape)}"


def paths_of(tree: Any) -> list[str]:
    """The paths of the leaves, such as `groups/0/cell/weight`, in their order.

    Signs in keys of dictionaries that have a meaning in paths are escaped.

    **Raises** `ValueError` if two leaves have one path.
    """
    paths = [_join(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise ValueError(f"Each leaf of a state needs a path of its own, but {twice!r} is the path of several.")
    return paths


def _join(path: tuple[Any, ...]) -> str:
    names = (jax.tree_util.keystr((entry,), simple=True) for entry in path)
    return "/".join(urllib.parse.quote(name, safe=" ,:+-=").replace(".", "%2E") or "%" for name in names) or "%"


def describe(leaf: Any) -> Leaf:
    """The description of a leaf: an array, an array of typed keys, or a number."""
    key = str(jax.random.key_impl(leaf)) if is_key(leaf) else None
    if key is not None:
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return Leaf(tuple(leaf.shape), name_of(leaf.dtype), key)


def leaves_of(tree: Any) -> dict[str, Leaf]:
    """The descriptions of all leaves, by their paths."""
    return {path: describe(leaf) for path, leaf in zip(paths_of(tree), jax.tree.leaves(tree), strict=True)}


def name_of(kind: np.dtype) -> str:
    """The name of a type, from which `jax.numpy.dtype` makes it again."""
    return kind.name if kind.isbuiltin == 2 or kind.isnative else kind.str


def differences(held: Mapping[str, Leaf], expected: Mapping[str, Leaf]) -> list[str]:
    """Differences between leaves and those that are expected, by their paths, in words."""
    missing = [f"{path} is missing, {leaf.in_words()}" for path, leaf in expected.items() if path not in held]
    extra = [f"{path} is not expected, {leaf.in_words()}" for path, leaf in held.items() if path not in expected]
    other = [
        f"{path} is {held[path].in_words()} instead of {leaf.in_words()}"
        for path, leaf in expected.items()
        if path in held and held[path] != leaf
    ]
    found = other + missing + extra
    return found[:MOST] + ([f"and {len(found) - MOST} more"] if len(found) > MOST else [])
