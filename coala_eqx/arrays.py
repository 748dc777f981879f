"""Arrays and numbers from the user: read with clear errors, stored as static fields, and printed."""

import math
import numbers as kinds
from decimal import Decimal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

Scalar = float | Float[Array, ""]
"""A number. As an array it can be traced, so that another value does not compile another program."""

_TOO_LARGE = "`{name}` must hold numbers that fit into float64, but entry {where} is beyond 1.8e308; scale them down."


class Frozen:
    """A read-only NumPy array that can be a static field: it is compared and hashed by content.

    Only the array is pickled and copied, because the hash is valid in one process only.
    """

    def __init__(self, array: np.ndarray):
        self.array = np.array(array, order="C")
        self.array.flags.writeable = False
        self._hash = hash((self.array.shape, self.array.dtype.name, self.array.tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        return Frozen, (self.array,)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Frozen)
            and self._hash == other._hash
            and self.array.dtype == other.array.dtype
            and self.array.shape == other.array.shape
            and self.array.tobytes() == other.array.tobytes()
        )

    def __repr__(self) -> str:
        return f"Frozen({self.array.dtype}{list(self.array.shape)})"


def concrete(array: Any) -> bool:
    """Whether the values are known now, that is not traced by `jit`, `vmap` or `grad`."""
    return not isinstance(array, Tracer)


def numbers(name: str, value: Any, *, masks: bool = False) -> Any:
    """`value` as a NumPy array of finite real numbers. A traced value is returned as a JAX array without checks.

    With `masks`, −∞ is accepted: it is the logit of an action that is never taken.

    NumPy's own types stay as they are. bfloat16 and smaller floats become float32, and integers of less than a byte
    become int64, both exactly. Long doubles, Python integers beyond 64 bits, fractions and decimals are rounded to
    float64.

    **Raises** `ValueError` that names the offending value: ragged nesting, entries that are not real numbers, NaN,
    infinity, numbers too large for the floats that JAX computes with, or masked entries.
    """
    if not concrete(value) or any(not concrete(leaf) for leaf in jax.tree.leaves(value)):
        return jnp.asarray(value)
    if np.ma.is_masked(value):
        raise ValueError(f"`{name}` has masked entries; fill them with `.filled(…)`.")
    try:
        given = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"`{name}` must be a rectangular array of numbers; its rows differ in length.") from error
    except (TypeError, RuntimeError) as error:  # typed keys, arrays of other libraries
        raise ValueError(f"`{name}` must hold numbers only, but is {value!r}.") from error
    array = _as_standard(name, value, given)
    odd = ~np.isfinite(array)
    if masks:
        odd &= array != -np.inf
    if odd.any():
        where = tuple(int(i) for i in np.argwhere(odd)[0])
        if _is_long(given.dtype) and np.isfinite(given[where]):
            raise ValueError(_TOO_LARGE.format(name=name, where=list(where)))
        raise ValueError(f"`{name}` must hold finite numbers, but entry {list(where)} is {given[where]}.")
    _check_range(name, array)
    return array


def _as_standard(name: str, value: Any, given: np.ndarray) -> np.ndarray:
    """The array as one of NumPy's own real types, in this machine's byte order."""
    dtype = given.dtype
    if dtype.isbuiltin == 2:  # a type of ml_dtypes
        if jnp.issubdtype(dtype, jnp.floating):
            return given.astype(np.float32)
        if jnp.issubdtype(dtype, jnp.integer):
            return given.astype(np.int64)
        raise ValueError(f"`{name}` must hold real numbers, but is of type {dtype.name}; pass float32 or float64.")
    if dtype.kind == "c":
        raise ValueError(f"`{name}` must hold real numbers, but is of type {dtype.name}; pass its real part.")
    if dtype.kind == "O":
        return _from_objects(name, given)
    if dtype.kind not in "biuf":
        wrong = _first_non_number(value)
        raise ValueError(f"`{name}` must hold numbers only, but holds {wrong!r}.")
    if _is_long(dtype):
        with np.errstate(over="ignore", under="ignore"):
            return given.astype(np.float64)
    return given.astype(dtype.newbyteorder("="), copy=False)


def _from_objects(name: str, given: np.ndarray) -> np.ndarray:
    """The entries of an array of Python's or NumPy's numbers of several types, as float64."""
    rounded = np.empty(given.shape)
    for where in np.ndindex(given.shape):
        entry = given[where]
        if isinstance(entry, list | tuple) or np.ndim(entry) > 0:
            raise ValueError(f"`{name}` must be a rectangular array of numbers; its rows differ in length.")
        if not _is_real(entry):
            raise ValueError(f"`{name}` must hold numbers only, but holds {entry!r}.")
        try:
            rounded[where] = float(entry)
        except OverflowError as error:
            raise ValueError(_TOO_LARGE.format(name=name, where=list(where))) from error
    return rounded


def _is_long(dtype: np.dtype) -> bool:
    return dtype.kind == "f" and dtype.itemsize > 8


def _check_range(name: str, array: np.ndarray) -> None:
    """Check that all numbers are finite in JAX's default type. It is float32 unless 64-bit types are on."""
    dtype = jnp.result_type(float)
    too_large = np.isfinite(array) & (np.abs(array.astype(np.float64)) > float(jnp.finfo(dtype).max))
    if too_large.any():
        where = tuple(int(i) for i in np.argwhere(too_large)[0])
        raise ValueError(
            f"`{name}` must hold numbers that fit into {dtype}, but entry {list(where)} is {array[where]}; scale them "
            f'down, or switch on 64-bit types: jax.config.update("jax_enable_x64", True).'
        )


def floating(array: Any) -> Array:
    """The array as a JAX array of the default floating-point type. Everything that `numbers` returns fits."""
    return jnp.asarray(array, dtype=jnp.result_type(float))


def as_setting(value: Any) -> Any:
    """A setting that is one real number, in Python's or JAX's default precision.

    Anything else is returned unchanged, for a later check to refuse.
    """
    if isinstance(value, jax.Array):
        real = any(jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer))
        return value.astype(jnp.result_type(float)) if real else value
    if type(value) in (int, float) or not is_number(value):
        return value
    try:
        return float(value)
    except OverflowError:
        return value


def is_number(value: Any) -> bool:
    """Whether the value, which must not be traced, is one real number."""
    truth = isinstance(value, bool) or getattr(value, "dtype", None) == np.dtype(bool)
    return not truth and _is_real(value)


def _is_real(entry: Any) -> bool:
    """Whether the entry is one real number or truth value of Python, NumPy or JAX."""
    dtype = getattr(entry, "dtype", None)
    if dtype is None:
        return isinstance(entry, kinds.Real | Decimal)
    standard = isinstance(dtype, np.dtype) and dtype.kind != "m"  # NumPy counts time spans as integers
    real = standard and any(jnp.issubdtype(dtype, kind) for kind in (bool, np.floating, np.integer))
    return real and np.ndim(entry) == 0


def in_words(count: int) -> str:
    """A count in digits, or as a power of ten from 10^15."""
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
