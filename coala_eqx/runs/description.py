"""Descriptions of modules, by which a run's folder tells whether it holds the same run."""

import dataclasses
import functools
import hashlib
import types
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Key

_DEEP = 12
"""Levels of containers and closures in which constants are looked for."""


def describe_module(module: Any, parts: Sequence[Any]) -> tuple[str, str]:
    """A module in words, and a checksum of its numbers.

    The checksum covers all arrays, and the constants in `parts`: in modules, in containers, and in what functions close
    over, such as an optimiser's learning rate.
    """
    digest = hashlib.sha256()
    leaves, structure = jax.tree.flatten(module)
    for leaf in leaves:
        digest.update(np.asarray(leaf).tobytes() if eqx.is_array(leaf) else repr(_constants(leaf)).encode())
    digest.update(repr([_constants(part) for part in [*parts, structure.num_leaves]]).encode())
    return eqx.tree_pformat(module, width=1_000_000), digest.hexdigest()[:16]


def key_numbers(key: Key[Array, ""]) -> tuple[int, ...]:
    """The numbers of a key."""
    return tuple(np.asarray(jax.random.key_data(key)).ravel().tolist())


def _constants(value: Any, depth: int = 0) -> list[Any]:
    """Numbers and names in a module, a container, or what a function closes over."""
    if depth > _DEEP or value is None or isinstance(value, bool | int | float | str):
        return [] if depth > _DEEP or value is None else [value]
    if isinstance(value, np.ndarray | jax.Array):
        return [str(value.dtype), *np.asarray(value).ravel().tolist()[:1000]]
    if isinstance(value, functools.partial):
        inner = [value.func, *value.args, *value.keywords.items()]
    elif isinstance(value, tuple | list):
        inner = [*value]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    elif isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if not _is_empty(cell)]
        inner = [value.__qualname__, *(value.__defaults__ or ()), *cells]
    else:
        inner = [type(value).__qualname__]
    return [constant for one in inner for constant in _constants(one, depth + 1)]


def _is_empty(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False
