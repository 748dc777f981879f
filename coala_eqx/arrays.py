"""Arrays and numbers at the border to the user: read with clear errors, held as static fields, put into words."""

import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

Scalar = float | Float[Array, ""]
"""A number; as an array it can be traced, and another value needs no other program."""


class Frozen:
    """A NumPy array that can be a static field: read-only, compared and hashed by content."""

    def __init__(self, array: np.ndarray):
        self.array = np.ascontiguousarray(array)
        self.array.flags.writeable = False
        self._hash = hash((self.array.shape, self.array.dtype.str, self.array.tobytes()))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Frozen)
            and self._hash == other._hash
            and self.array.dtype == other.array.dtype
            and np.array_equal(self.array, other.array)
        )

    def __repr__(self) -> str:
        return f"Frozen({self.array.dtype}{list(self.array.shape)})"


def concrete(array: Any) -> bool:
    """Whether the values are known now (not traced by `jit`, `vmap` or `grad`)."""
    return not isinstance(array, Tracer)


def numbers(name: str, value: Any) -> Any:
    """`value` as a NumPy array of finite real numbers; a traced one passes through as it is.

    **Raises** `ValueError` that names the offending value: ragged nesting, entries that are not numbers,
    NaN or infinity.
    """
    if not concrete(value) or any(not concrete(leaf) for leaf in jax.tree.leaves(value)):
        return jnp.asarray(value)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"`{name}` must be a rectangular array of numbers; its rows differ in length.") from error
    if array.dtype.kind not in "biuf":
        wrong = _first_non_number(value)
        raise ValueError(f"`{name}` must hold numbers only, but holds {wrong!r}.")
    if not np.isfinite(array).all():
        where = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
        raise ValueError(f"`{name}` must hold finite numbers, but entry {where} is {array[tuple(where)]}.")
    return array


def is_number(value: Any) -> bool:
    """Whether the value, which is not traced, is one real number."""
    kind = np.asarray(value).dtype
    return np.ndim(value) == 0 and np.issubdtype(kind, np.number) and not np.issubdtype(kind, np.complexfloating)


def check_share(name: str, value: Any) -> None:
    """**Raises** `ValueError` unless the value lies between 0 and 1; skipped where it is traced."""
    if concrete(value) and not (is_number(value) and 0 <= value <= 1):
        raise ValueError(f"`{name}` must lie between 0 and 1, but is {value!r}.")


def check_whole(name: str, value: Any, least: int, why: str = "") -> None:
    """**Raises** `ValueError` unless the value is a whole number, and at least that; it says why."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise ValueError(f"`{name}` must be a whole number, but is {value!r}.")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, {f'{why}, ' if why else ''}but is {value}.")


def check_finite(name: str, value: Any) -> None:
    """**Raises** `ValueError` unless the value is a finite number; skipped where it is traced."""
    if concrete(value) and not (is_number(value) and math.isfinite(value)):
        raise ValueError(f"`{name}` must be a finite number, but is {value!r}.")


def check_not_negative(name: str, value: Any) -> None:
    """**Raises** `ValueError` unless the value is a finite number, at least 0; skipped where it is traced."""
    check_finite(name, value)
    if concrete(value) and value < 0:
        raise ValueError(f"`{name}` must not be negative, but is {value}.")


def check_positive(name: str, value: Any) -> None:
    """**Raises** `ValueError` unless the value is a finite number above 0; skipped where it is traced."""
    check_finite(name, value)
    if concrete(value) and value <= 0:
        raise ValueError(f"`{name}` must be positive, but is {value}.")


def check_flag(name: str, value: Any) -> None:
    """**Raises** `ValueError` unless the value is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"`{name}` must be True or False, but is {value!r}.")


def check_choice(name: str, value: Any, known: Iterable[Any]) -> None:
    """**Raises** `ValueError` unless the value is one of those that are known, and of their type."""
    known = [*known]
    if not any(value == one and type(value) is type(one) for one in known):
        *others, last = map(repr, known)
        raise ValueError(f"`{name}` must be {', '.join(others)} or {last}, but is {value!r}.")


def in_words(count: int) -> str:
    """A count in digits, or as a power of ten where nobody would read the digits."""
    if count < 10**15:
        return f"{count:,}"
    return f"about 10^{round((count.bit_length() - 1) * math.log10(2))}"


def _first_non_number(value: Any) -> Any:
    for leaf in jax.tree.leaves(value, is_leaf=lambda x: x is None):
        entries = leaf.ravel().tolist() if isinstance(leaf, np.ndarray) else [leaf]
        for entry in entries:
            if isinstance(entry, bool) or not isinstance(entry, int | float | np.number):
                return entry
    return value
