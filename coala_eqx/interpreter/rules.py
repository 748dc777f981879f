"""Rules for `coala_eqx.interpreter.program`: each of JAX's operations in NumPy.

A rule takes the operation's inputs, and its parameters by name. It returns a NumPy array, or several for operations
with several results, or `NotImplemented` for a case that it does not cover. The result is cast to the type that JAX has
inferred. The file is long because the rules are one table, a few lines for each operation.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import scipy.special

from coala_eqx.interpreter import keys

Rule = Callable[..., Any]


def _elementwise(function: Any) -> Rule:
    return lambda *arrays, **_: function(*arrays)


def _reduce(function: Any) -> Rule:
    return lambda array, *, axes, **_: function(array, axis=tuple(axes))


def _cumulative(function: Any) -> Rule:
    def apply(array: Any, *, axis: int, reverse: bool, **_: Any) -> Any:
        flipped = np.flip(array, axis) if reverse else array
        result = function(flipped, axis=axis)
        return np.flip(result, axis) if reverse else result

    return apply


def _remainder(one: Any, other: Any, **_: Any) -> Any:
    return np.fmod(one, other) if one.dtype.kind == "f" or np.all(other) else NotImplemented


def _divide(one: Any, other: Any, **_: Any) -> Any:
    if one.dtype.kind == "f":
        return np.true_divide(one, other)
    if one.dtype.kind not in "iu" or not np.all(other):
        return NotImplemented
    down = one // other  # XLA rounds towards 0
    return down + ((down < 0) & (down * other != one))


def _integer_pow(array: Any, *, y: int, **_: Any) -> Any:
    if y < 0 and array.dtype.kind != "f":
        return NotImplemented
    power, square = np.ones_like(array), array
    for bit in reversed(f"{abs(y):b}"):
        power = power * square if bit == "1" else power
        square = square * square
    return 1 / power if y < 0 else power


def _shift_right(array: Any, by: Any, **_: Any) -> Any:
    if array.dtype.kind != "u":
        return NotImplemented
    bits = 8 * array.dtype.itemsize
    return np.where(by < bits, array >> np.minimum(by, bits - 1).astype(array.dtype), 0)


def _convert(array: Any, *, new_dtype: Any, **_: Any) -> Any:
    if array.dtype.kind != "f" or np.dtype(new_dtype).kind not in "iu":
        return array.astype(new_dtype)
    # XLA's conversion saturates, and NaN becomes 0; NumPy leaves both open.
    whole, info = np.nan_to_num(np.trunc(array), posinf=np.inf, neginf=-np.inf), np.iinfo(new_dtype)
    low, high = whole <= float(info.min), whole >= float(info.max)
    inside = np.where(low | high, 0.0, whole).astype(new_dtype)
    return np.where(low, info.min, np.where(high, info.max, inside))


def _bitcast(array: Any, *, new_dtype: Any, **_: Any) -> Any:
    if np.dtype(new_dtype).itemsize != array.dtype.itemsize:
        return NotImplemented
    return np.ascontiguousarray(array).view(new_dtype).reshape(array.shape)


def _broadcast_in_dim(array: Any, *, shape: Any, broadcast_dimensions: Any, **_: Any) -> Any:
    expanded = [1] * len(shape)
    for axis, place in enumerate(broadcast_dimensions):
        expanded[place] = array.shape[axis]
    return np.broadcast_to(array.reshape(expanded), shape)


def _slice(array: Any, *, start_indices: Any, limit_indices: Any, strides: Any, **_: Any) -> Any:
    strides = strides or (1,) * len(start_indices)
    return array[tuple(map(slice, start_indices, limit_indices, strides))]


def _starts(starts: Sequence[Any], shape: Sequence[int], sizes: Sequence[int]) -> tuple[slice, ...]:
    """The window at the given starts, moved into bounds if necessary."""
    firsts = [int(np.clip(start, 0, whole - size)) for start, whole, size in zip(starts, shape, sizes, strict=True)]
    return tuple(slice(first, first + size) for first, size in zip(firsts, sizes, strict=True))


def _dynamic_slice(array: Any, *starts: Any, slice_sizes: Any, **_: Any) -> Any:
    return array[_starts(starts, array.shape, slice_sizes)]


def _dynamic_update_slice(array: Any, update: Any, *starts: Any, **_: Any) -> Any:
    changed = array.copy()
    changed[_starts(starts, array.shape, update.shape)] = update
    return changed


def _pad(array: Any, value: Any, *, padding_config: Any, **_: Any) -> Any:
    inner = [max(0, (1 + gap) * size - gap) for size, (_, _, gap) in zip(array.shape, padding_config, strict=True)]
    shape = [
        size + max(0, low) + max(0, high) for size, (low, high, _) in zip(inner, padding_config, strict=True)
    ]  # negative padding is cut off afterwards
    padded = np.full(shape, value, array.dtype)
    places = zip(inner, padding_config, strict=True)
    padded[tuple(slice(max(0, low), max(0, low) + size, 1 + gap) for size, (low, _, gap) in places)] = array
    cuts = [
        slice(max(0, -low), size - max(0, -high)) for size, (low, high, _) in zip(shape, padding_config, strict=True)
    ]
    return padded[tuple(cuts)]


def _select_n(which: Any, *cases: Any, **_: Any) -> Any:
    if which.dtype != bool:
        which = np.clip(which, 0, len(cases) - 1)
    if len(cases) != 2:
        return np.select([which == number for number in range(len(cases))], cases)
    return np.where(which, cases[1], cases[0])


def _split(array: Any, *, sizes: Any, axis: int, **_: Any) -> Any:
    return np.split(array, np.cumsum(sizes)[:-1], axis=axis)


def _unstack(array: Any, *, axis: int, **_: Any) -> Any:
    return [*np.moveaxis(array, axis, 0)]


def _dot_general(one: Any, other: Any, *, dimension_numbers: Any, preferred_element_type: Any = None, **_: Any) -> Any:
    if preferred_element_type is not None:
        one, other = one.astype(preferred_element_type, copy=False), other.astype(preferred_element_type, copy=False)
    (sums, sums_other), (batch, batch_other) = dimension_numbers
    free = [axis for axis in range(one.ndim) if axis not in (*sums, *batch)]
    free_other = [axis for axis in range(other.ndim) if axis not in (*sums_other, *batch_other)]
    left, right = one.transpose(*batch, *free, *sums), other.transpose(*batch_other, *sums_other, *free_other)
    together, summed = left.shape[: len(batch)], int(np.prod([one.shape[axis] for axis in sums], dtype=int))
    rows, columns = left.shape[len(batch) : len(batch) + len(free)], right.shape[len(batch) + len(sums) :]
    product = np.matmul(
        left.reshape(*together, int(np.prod(rows, dtype=int)), summed),
        right.reshape(*together, summed, int(np.prod(columns, dtype=int))),
    )
    return product.reshape((*together, *rows, *columns))


@functools.lru_cache(maxsize=64)
def _numbers(dtype: np.dtype, shape: tuple[int, ...], dimension: int) -> np.ndarray:
    column = [1] * len(shape)
    column[dimension] = shape[dimension]
    return np.broadcast_to(np.arange(shape[dimension], dtype=dtype).reshape(column), shape)


class _Window:
    """Position of the windows of a gather or scatter in the operand.

    `looked_up` are the operand's axes along which a window starts somewhere; the others are taken whole.
    """

    def __init__(self, shape: Sequence[int], indices: np.ndarray, sizes: Sequence[int], dimensions: tuple[Any, ...]):
        collapsed, index_map, batching, batching_of_indices = dimensions
        self.batch = indices.shape[:-1]
        starts = {int(axis): indices[..., number].astype(np.int64) for number, axis in enumerate(index_map)}
        for axis, of_indices in zip(batching, batching_of_indices, strict=True):
            starts[int(axis)] = _numbers(np.dtype(np.int64), self.batch, int(of_indices))
        self.looked_up = [*sorted(starts)]
        self.whole = [axis for axis in range(len(shape)) if axis not in starts]
        self.gone = {int(axis) for axis in (*collapsed, *batching)}
        self.spread = [axis for axis in self.looked_up if sizes[axis] > 1]
        self.simple = all(sizes[axis] == shape[axis] for axis in self.whole)
        self.last = {axis: shape[axis] - sizes[axis] for axis in self.looked_up}
        self._starts, self._sizes = starts, sizes

    @property
    def inside(self) -> np.ndarray:
        """Mask of the windows that are in bounds, `[*batch]`."""
        each = [(self._starts[axis] >= 0) & (self._starts[axis] <= self.last[axis]) for axis in self.looked_up]
        return np.asarray(np.logical_and.reduce(each)) if each else np.ones(self.batch, bool)

    def places(self) -> tuple[np.ndarray, ...]:
        """An index along each axis that is looked up, `[*batch, *spread]`, in bounds."""
        made = []
        for axis in self.looked_up:
            first = np.clip(self._starts[axis], 0, self.last[axis])
            first = np.reshape(first, (*self.batch, *(1,) * len(self.spread)))
            if axis in self.spread:
                shape = [1] * (len(self.batch) + len(self.spread))
                shape[len(self.batch) + self.spread.index(axis)] = self._sizes[axis]
                first = first + np.arange(self._sizes[axis]).reshape(shape)
            made.append(first)
        return tuple(np.broadcast_arrays(*made)) if made else ()

    def order(self, window_axes: Sequence[int]) -> tuple[list[int], list[int]]:
        """The axes of size 1 to append to `[*batch, *spread, *whole]`, and the permutation that makes JAX's order of
        axes from it.

        `window_axes` are the places of a window's axes.
        """
        kept = [axis for axis in range(len(self.looked_up) + len(self.whole)) if axis not in self.gone]
        single = [axis for axis in kept if axis in self.looked_up and axis not in self.spread]
        have = [*self.spread, *self.whole, *single]
        ndim = len(self.batch) + len(kept)
        others = iter(range(len(self.batch)))
        place_of = {place: kept[number] for number, place in enumerate(sorted(window_axes))}
        permutation = [
            len(self.batch) + have.index(place_of[place]) if place in place_of else next(others)
            for place in range(ndim)
        ]
        return single, permutation


def _gather(
    operand: Any, indices: Any, *, dimension_numbers: Any, slice_sizes: Any, mode: Any, fill_value: Any, **_: Any
) -> Any:
    numbers = dimension_numbers
    window = _Window(
        operand.shape,
        indices,
        slice_sizes,
        (
            numbers.collapsed_slice_dims,
            numbers.start_index_map,
            numbers.operand_batching_dims,
            numbers.start_indices_batching_dims,
        ),
    )
    if not window.simple:
        return NotImplemented
    found = operand.transpose(*window.looked_up, *window.whole)[window.places()]
    if not window.looked_up:
        found = np.broadcast_to(found, (*window.batch, *found.shape))
    single, permutation = window.order([*map(int, numbers.offset_dims)])
    found = np.reshape(found, (*np.shape(found), *(1,) * len(single))).transpose(permutation)
    if mode == jax.lax.GatherScatterMode.FILL_OR_DROP:
        inside = window.inside
        if not inside.all():
            windows = sorted(map(int, numbers.offset_dims))
            found = np.where(np.expand_dims(inside, tuple(windows)), found, _fill(fill_value, operand.dtype))
    return found


def _fill(value: Any, dtype: np.dtype) -> Any:
    if value is not None:
        return value
    if dtype.kind in "iu":
        return np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max
    return True if dtype.kind == "b" else np.nan


def _scatter(add: bool) -> Rule:
    def apply(
        operand: Any, indices: Any, updates: Any, *, dimension_numbers: Any, mode: Any, update_jaxpr: Any, **_: Any
    ) -> Any:
        if not add and update_jaxpr is not None:
            return NotImplemented  # the update depends on the present content
        numbers = dimension_numbers
        gone = {int(axis) for axis in (*numbers.inserted_window_dims, *numbers.operand_batching_dims)}
        kept = [axis for axis in range(operand.ndim) if axis not in gone]
        sizes = [1] * operand.ndim
        for axis, place in zip(kept, sorted(numbers.update_window_dims), strict=True):
            sizes[axis] = updates.shape[place]
        window = _Window(
            operand.shape,
            indices,
            sizes,
            (
                numbers.inserted_window_dims,
                numbers.scatter_dims_to_operand_dims,
                numbers.operand_batching_dims,
                numbers.scatter_indices_batching_dims,
            ),
        )
        if not window.simple or not window.looked_up or operand.dtype.kind not in "fiu":
            return NotImplemented
        single, permutation = window.order([*map(int, numbers.update_window_dims)])
        updates = updates.transpose(np.argsort(permutation))
        updates = updates.reshape(updates.shape[: updates.ndim - len(single)])
        inside = np.ones(window.batch, bool) if mode == jax.lax.GatherScatterMode.CLIP else window.inside
        axes = [*window.looked_up, *window.whole]
        shape = [operand.shape[axis] for axis in window.looked_up]
        place = np.ravel_multi_index(window.places(), shape)[inside].ravel()
        rows = operand.transpose(axes).reshape(math.prod(shape), -1)
        updates = updates[inside].reshape(len(place), rows.shape[1])
        changed = _increased(rows, place, updates) if add else _replaced(rows, place, updates)
        return changed.reshape([operand.shape[axis] for axis in axes]).transpose(np.argsort(axes))

    return apply


def _replaced(rows: np.ndarray, place: np.ndarray, updates: np.ndarray) -> np.ndarray:
    changed = rows.copy()
    changed[place] = updates
    return changed


def _increased(rows: np.ndarray, place: np.ndarray, updates: np.ndarray) -> np.ndarray:
    """Rows plus updates. Several updates may concern the same row."""
    if rows.dtype != np.float64:
        changed = rows.copy()
        np.add.at(changed, place, updates)
        return changed
    columns = rows.shape[1]
    flat = (place[:, None] * columns + np.arange(columns)).ravel()
    added = np.bincount(flat, weights=updates.ravel(), minlength=rows.size).reshape(rows.shape)
    is_zero = not any(rows.strides) and rows.size and rows.flat[0] == 0  # a derivative that starts at zero
    return added if is_zero else rows + added


RULES: dict[str, Rule] = {
    "add": _elementwise(np.add),
    "add_any": _elementwise(np.add),
    "sub": _elementwise(np.subtract),
    "mul": _elementwise(np.multiply),
    "div": _divide,
    "rem": _remainder,
    "neg": _elementwise(np.negative),
    "abs": _elementwise(np.abs),
    "sign": lambda array, **_: np.where(array == 0, array, np.sign(array)),
    "max": _elementwise(np.maximum),
    "min": _elementwise(np.minimum),
    "clamp": lambda low, array, high, **_: np.minimum(np.maximum(array, low), high),
    "floor": _elementwise(np.floor),
    "ceil": _elementwise(np.ceil),
    "is_finite": _elementwise(np.isfinite),
    "sqrt": _elementwise(np.sqrt),
    "rsqrt": lambda array, **_: 1 / np.sqrt(array),
    "cbrt": _elementwise(np.cbrt),
    "square": _elementwise(np.square),
    "pow": _elementwise(np.power),
    "integer_pow": _integer_pow,
    "exp": _elementwise(np.exp),
    "exp2": _elementwise(np.exp2),
    "expm1": _elementwise(np.expm1),
    "log": _elementwise(np.log),
    "log1p": _elementwise(np.log1p),
    "sin": _elementwise(np.sin),
    "cos": _elementwise(np.cos),
    "tan": _elementwise(np.tan),
    "tanh": _elementwise(np.tanh),
    "logistic": _elementwise(scipy.special.expit),
    "erf": _elementwise(scipy.special.erf),
    "erfc": _elementwise(scipy.special.erfc),
    "lgamma": lambda array, **_: np.where(np.isinf(array), np.inf, scipy.special.gammaln(array)),
    "eq": _elementwise(np.equal),
    "ne": _elementwise(np.not_equal),
    "lt": _elementwise(np.less),
    "le": _elementwise(np.less_equal),
    "gt": _elementwise(np.greater),
    "ge": _elementwise(np.greater_equal),
    "and": _elementwise(np.bitwise_and),
    "or": _elementwise(np.bitwise_or),
    "xor": _elementwise(np.bitwise_xor),
    "not": _elementwise(np.invert),
    "shift_right_logical": _shift_right,
    "copy": _elementwise(np.asarray),
    "stop_gradient": _elementwise(np.asarray),
    "convert_element_type": _convert,
    "bitcast_convert_type": _bitcast,
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": lambda array, *, new_sizes, **_: np.reshape(array, new_sizes),
    "squeeze": lambda array, *, dimensions, **_: np.squeeze(array, tuple(dimensions)),
    "transpose": lambda array, *, permutation, **_: np.transpose(array, permutation),
    "rev": lambda array, *, dimensions, **_: np.flip(array, tuple(dimensions)),
    "concatenate": lambda *arrays, dimension, **_: np.concatenate(arrays, axis=dimension),
    "stack": lambda *arrays, axis, **_: np.stack(arrays, axis=axis),
    "unstack": _unstack,
    "split": _split,
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "pad": _pad,
    "select_n": _select_n,
    "gather": _gather,
    "scatter": _scatter(add=False),
    "scatter-add": _scatter(add=True),
    "reduce_sum": _reduce(np.sum),
    "reduce_prod": _reduce(np.prod),
    "reduce_max": _reduce(np.max),
    "reduce_min": _reduce(np.min),
    "reduce_and": _reduce(np.bitwise_and.reduce),
    "reduce_or": _reduce(np.bitwise_or.reduce),
    "argmax": lambda array, *, axes, **_: np.argmax(array, axis=axes[0]),
    "argmin": lambda array, *, axes, **_: np.argmin(array, axis=axes[0]),
    "cumsum": _cumulative(np.cumsum),
    "cumprod": _cumulative(np.cumprod),
    "cummax": _cumulative(np.maximum.accumulate),
    "cummin": _cumulative(np.minimum.accumulate),
    "dot_general": _dot_general,
    "iota": lambda *, dtype, shape, dimension, **_: _numbers(np.dtype(dtype), tuple(shape), dimension),
}
"""Rules, keyed by the operation's name. An operation without one is left to JAX."""

KEY_RULES: dict[str, Rule] = {
    "random_split": keys.split,
    "random_bits": keys.bits,
    "random_fold_in": keys.fold_in,
    "random_seed": keys.seed,
    "random_wrap": keys.wrap,
    "random_unwrap": keys.unwrap,
    **{
        name: RULES[name]
        for name in (
            "broadcast_in_dim",
            "concatenate",
            "dynamic_slice",
            "reshape",
            "slice",
            "squeeze",
            "stack",
            "transpose",
            "unstack",
        )
    },
}
"""Rules for operations that take or return random keys."""
