"""A traced function evaluated by NumPy, without compiling it.

To know an estimator's coefficients at 150 sizes, XLA would need 150 programs. Tracing is cheap, and the arrays are
small. What NumPy has no word for is left to JAX, one operation at a time.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend
import numpy as np

Rule = Callable[..., Any]


def evaluate(function: Callable[..., Any], *arguments: np.ndarray) -> np.ndarray:
    """`function(*arguments)`, one array, traced by JAX and computed by NumPy."""
    closed = jax.make_jaxpr(function)(*arguments)
    (result,) = _run(closed.jaxpr, closed.consts, arguments)
    return np.asarray(result)


def _run(jaxpr: Any, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    known: dict[Any, Any] = {}

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, jax.extend.core.Literal) else known[variable]

    known.update(zip(jaxpr.constvars, map(np.asarray, constants), strict=True))
    known.update(zip(jaxpr.invars, arguments, strict=True))
    for equation in jaxpr.eqns:
        inputs = [read(variable) for variable in equation.invars]
        outputs = _apply(equation, inputs)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _apply(equation: Any, inputs: list[Any]) -> list[Any]:
    name, parameters = equation.primitive.name, equation.params
    with np.errstate(all="ignore"):
        if name in _INNER:
            inner = parameters.get("jaxpr") or parameters.get("call_jaxpr")
            return _run(inner.jaxpr, inner.consts, inputs)
        if name == "scan":
            return _scan(inputs, **parameters)
        if name in _RULES:
            result = np.asarray(_RULES[name](*inputs, **parameters))
            return [result.astype(equation.outvars[0].aval.dtype, copy=False)]
    result = equation.primitive.bind(*map(jax.numpy.asarray, inputs), **parameters)
    results = result if equation.primitive.multiple_results else [result]
    return [*map(np.asarray, results)]


def _scan(
    inputs: list[Any], *, jaxpr: Any, length: int, reverse: bool, num_consts: int, num_carry: int, **_: Any
) -> list[Any]:
    constants, carry = inputs[:num_consts], inputs[num_consts : num_consts + num_carry]
    slices = inputs[num_consts + num_carry :]
    rows: list[list[Any]] = []
    for number in reversed(range(length)) if reverse else range(length):
        outputs = _run(jaxpr.jaxpr, jaxpr.consts, [*constants, *carry, *(np.asarray(one)[number] for one in slices)])
        carry = outputs[:num_carry]
        rows.append(outputs[num_carry:])
    if reverse:
        rows.reverse()
    return [*carry, *(np.stack(column) for column in zip(*rows, strict=True))]


def _broadcast_in_dim(array: Any, *, shape: Any, broadcast_dimensions: Any, **_: Any) -> Any:
    array, expanded = np.asarray(array), [1] * len(shape)
    for axis, place in enumerate(broadcast_dimensions):
        expanded[place] = array.shape[axis]
    return np.broadcast_to(array.reshape(expanded), shape)


def _slice(array: Any, *, start_indices: Any, limit_indices: Any, strides: Any, **_: Any) -> Any:
    strides = strides or (1,) * len(start_indices)
    return array[tuple(map(slice, start_indices, limit_indices, strides))]


def _cumulative(function: Any) -> Rule:
    def apply(array: Any, *, axis: int, reverse: bool, **_: Any) -> Any:
        flipped = np.flip(array, axis) if reverse else array
        result = function(flipped, axis=axis)
        return np.flip(result, axis) if reverse else result

    return apply


def _reduce(function: Any) -> Rule:
    return lambda array, *, axes, **_: function(array, axis=tuple(axes))


def _elementwise(function: Any) -> Rule:
    return lambda *arrays, **_: function(*arrays)


def _dot_general(one: Any, other: Any, *, dimension_numbers: Any, **_: Any) -> Any:
    (sums, sums_other), (batch, batch_other) = dimension_numbers
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    first = [next(letters) for _ in range(np.ndim(one))]
    second = [next(letters) for _ in range(np.ndim(other))]
    for axis, axis_other in [*zip(sums, sums_other, strict=True), *zip(batch, batch_other, strict=True)]:
        second[axis_other] = first[axis]
    together = [first[axis] for axis in batch]
    left = [letter for axis, letter in enumerate(first) if axis not in (*sums, *batch)]
    right = [letter for axis, letter in enumerate(second) if axis not in (*sums_other, *batch_other)]
    formula = f"{''.join(first)},{''.join(second)}->{''.join([*together, *left, *right])}"
    return np.einsum(formula, one, other)


def _select_n(which: Any, *cases: Any, **_: Any) -> Any:
    if len(cases) != 2:
        return np.choose(np.asarray(which, dtype=int), cases)
    return np.where(which, cases[1], cases[0])


_INNER = frozenset({"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat"})

_RULES: dict[str, Rule] = {
    "add": _elementwise(np.add),
    "add_any": _elementwise(np.add),
    "sub": _elementwise(np.subtract),
    "mul": _elementwise(np.multiply),
    "div": _elementwise(np.true_divide),
    "neg": _elementwise(np.negative),
    "abs": _elementwise(np.abs),
    "max": _elementwise(np.maximum),
    "min": _elementwise(np.minimum),
    "sqrt": _elementwise(np.sqrt),
    "square": _elementwise(np.square),
    "eq": _elementwise(np.equal),
    "ne": _elementwise(np.not_equal),
    "lt": _elementwise(np.less),
    "le": _elementwise(np.less_equal),
    "gt": _elementwise(np.greater),
    "ge": _elementwise(np.greater_equal),
    "and": _elementwise(np.bitwise_and),
    "or": _elementwise(np.bitwise_or),
    "not": _elementwise(np.invert),
    "copy": _elementwise(np.asarray),
    "convert_element_type": lambda array, **_: array,
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": lambda array, *, new_sizes, **_: np.reshape(array, new_sizes),
    "squeeze": lambda array, *, dimensions, **_: np.squeeze(array, tuple(dimensions)),
    "expand_dims": lambda array, *, dimensions, **_: np.expand_dims(array, tuple(dimensions)),
    "transpose": lambda array, *, permutation, **_: np.transpose(array, permutation),
    "rev": lambda array, *, dimensions, **_: np.flip(array, tuple(dimensions)),
    "concatenate": lambda *arrays, dimension, **_: np.concatenate(arrays, axis=dimension),
    "slice": _slice,
    "select_n": _select_n,
    "reduce_sum": _reduce(np.sum),
    "reduce_max": _reduce(np.max),
    "reduce_min": _reduce(np.min),
    "cumsum": _cumulative(np.cumsum),
    "dot_general": _dot_general,
    "iota": lambda *, dtype, shape, dimension, **_: _iota(np.dtype(dtype), tuple(shape), dimension),
}


@functools.lru_cache(maxsize=64)
def _iota(dtype: np.dtype, shape: tuple[int, ...], dimension: int) -> np.ndarray:
    column = [1] * len(shape)
    column[dimension] = shape[dimension]
    return np.broadcast_to(np.arange(shape[dimension], dtype=dtype).reshape(column), shape)


def has_rules(function: Callable[..., Any], *arguments: np.ndarray) -> bool:
    """Whether every operation of the function has a rule here, so that nothing is left to JAX."""

    def known(jaxpr: Any) -> bool:
        for equation in jaxpr.eqns:
            inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
            name = equation.primitive.name
            if name in _INNER or name == "scan":
                if not known(inner.jaxpr):
                    return False
            elif name not in _RULES:
                return False
        return True

    return known(jax.make_jaxpr(function)(*arguments).jaxpr)
