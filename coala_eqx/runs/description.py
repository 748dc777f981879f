"""Descriptions of modules, by which a run's folder tells whether it holds the same run."""

import dataclasses
import functools
import hashlib
import types
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Key

from coala_eqx.runs.processes import is_key

_DEEP = 50
"""Levels of containers and closures in which constants are looked for."""


def describe_module(module: Any, parts: Sequence[Any]) -> tuple[str, str]:
    """A module in words, and a checksum of its numbers.

    The checksum covers all arrays, and the constants in `parts`: in modules, in containers, and in what functions close
    over, such as an optimiser's learning rate.
    """
    digest = _Digests().of([jax.tree.leaves(module), *parts])
    return eqx.tree_pformat(module, width=1_000_000), digest[:16]


def key_numbers(key: Key[Array, ""]) -> tuple[int, ...]:
    """The numbers of a key."""
    return tuple(np.asarray(jax.random.key_data(key)).ravel().tolist())


class _Digests:
    """Digests of values: of the numbers and names in modules, containers, objects, and what functions close over."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[str, Any]] = {}  # the values, too: the number of one that is gone is used again

    def of(self, value: Any, depth: int = 0) -> str:
        """The digest of a value. It is the same for equal values in another process."""
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            return repr(value)
        if isinstance(value, np.ndarray | np.generic | jax.Array):
            array = np.asarray(jax.random.key_data(value) if is_key(value) else value)  # type: ignore[arg-type]
            return f"{array.dtype}{array.shape}{hashlib.sha256(array.tobytes()).hexdigest()}"
        if id(value) not in self._known and depth < _DEEP:
            self._known[id(value)] = "a circle", value
            inner = repr([self.of(one, depth + 1) for one in _inner(value)])
            self._known[id(value)] = hashlib.sha256(inner.encode()).hexdigest(), value
        return self._known.get(id(value), ("too deep", None))[0]


def _inner(value: Any) -> list[Any]:
    """What lies in a container, a module, a function or an object, with its type's name."""
    inner: list[Any] = [type(value).__qualname__]
    if isinstance(value, functools.partial):
        inner += [value.func, *value.args, *value.keywords.items()]
    elif isinstance(value, Mapping):
        inner += [[*pair] for pair in value.items()]
    elif isinstance(value, set | frozenset):
        inner += sorted(map(repr, value))
    elif isinstance(value, tuple | list):
        inner += [*value]
    elif isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if not _is_empty(cell)]
        inner += [value.__qualname__, *(value.__defaults__ or ()), *cells]
    elif isinstance(value, type | types.ModuleType | types.BuiltinFunctionType):
        inner += [value.__name__]
    elif dataclasses.is_dataclass(value):
        inner += [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    else:
        inner += [[*pair] for pair in sorted(getattr(value, "__dict__", {}).items())]
    return inner


def _is_empty(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False
