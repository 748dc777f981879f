"""Evaluate traced functions by NumPy, without compiling them.

Enumeration calls each of many functions once, for a few arrays. XLA would compile for longer than it computes, and anew
for every size. JAX traces the function, and differentiates and vectorises it. The result is a list of operations on
arrays, which NumPy carries out one by one. An operation without a rule here is left to JAX, one at a time.
"""

import dataclasses
import functools
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

import jax
import jax.extend
import numpy as np

from coala_eqx.interpreter import keys
from coala_eqx.interpreter.rules import KEY_RULES, RULES

_INNER = frozenset(
    {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint", "remat2"}
)
"""Operations that only call another function."""

_LOOPS = frozenset({"scan", "while", "cond"})


def evaluate(function: Callable[..., Any], *arguments: np.ndarray) -> np.ndarray:
    """`function(*arguments)` as one array, traced by JAX and computed by NumPy."""
    (result,) = Program(jax.make_jaxpr(function)(*arguments))(arguments)
    return np.asarray(result)


def has_rules(function: Callable[..., Any], *arguments: np.ndarray) -> bool:
    """Whether every operation of the function has a rule here, so that nothing is left to JAX."""
    return Program(jax.make_jaxpr(function)(*arguments)).is_plain


Operation = Callable[[list[Any]], Sequence[Any]]


def _apply_nothing(inputs: list[Any]) -> Sequence[Any]:
    return inputs


@dataclasses.dataclass
class _Step:
    """One operation: the places that it reads, those that it writes, and those that are not read any more
    afterwards.
    """

    equation: Any
    reads: list[int]
    writes: list[int]
    done: Sequence[int] = ()
    apply: Operation = _apply_nothing
    """The function that carries out the operation. It is made from the equation once the step is known to be needed."""


@dataclasses.dataclass
class _Settled:
    """Results that need not be computed again as long as some arguments stay the same."""

    arguments: set[int]
    places: list[Any]
    steps: list[_Step]
    """The remaining steps."""

    is_new: bool = True
    """Whether it has not been used yet. In that case more arguments may turn out to stay the same."""


class Program:
    """A traced function (a `ClosedJaxpr`) as a list of operations.

    Results are reused if they depend only on arguments that are the same objects as in the last call and are immutable.
    """

    def __init__(self, closed: Any):
        self.is_plain = True
        """Whether nothing is left to JAX."""

        self._start: list[Any] = []
        self._steps: list[_Step] = []
        self._arguments = [self._new() for _ in closed.jaxpr.invars]
        self._results = self._inline(closed.jaxpr, closed.consts, self._arguments)
        self._steps = [self._ready(step) for step in _needed(self._steps, self._results)]
        self._last: list[Any] = [None] * len(self._arguments)
        self._settled: _Settled | None = None

    def __call__(self, arguments: Sequence[Any]) -> list[Any]:
        """The results for these arguments: NumPy arrays, or JAX arrays where they hold random keys."""
        return [_to_jax(one) if keys.is_keys(one) else one for one in self.run(arguments)]

    def run(self, arguments: Sequence[Any]) -> list[Any]:
        """The results for these arguments, with random keys in the form of `keys`."""
        same = {n for n, one in enumerate(arguments) if one is self._last[n] and _is_immutable(one)}
        settled = self._settled
        if settled is None or not settled.arguments <= same or (settled.is_new and settled.arguments < same):
            settled = self._settled = self._settle(arguments, same)
        else:
            settled.is_new = False
        self._last = [*arguments]
        places = [*settled.places]
        for number, place in enumerate(self._arguments):
            if number not in settled.arguments:
                places[place] = _to_numpy(arguments[number])
        _run(settled.steps, places)
        return [places[place] for place in self._results]

    def _settle(self, arguments: Sequence[Any], same: set[int]) -> "_Settled":
        """Compute everything that follows from the arguments in `same`, which have not changed since the last call."""
        places = [*self._start]
        changing = {place for number, place in enumerate(self._arguments) if number not in same}
        for number in same:
            places[self._arguments[number]] = _to_numpy(arguments[number])
        once, again = [], []
        for step in self._steps:
            if changing.isdisjoint(step.reads) and not step.equation.effects:
                once.append(step)
            else:
                again.append(step)
                changing.update(step.writes)
        kept = {*self._results, *(place for step in again for place in step.reads)}
        _run(_needed(once, kept), places)
        places = [one if place in kept else None for place, one in enumerate(places)]
        return _Settled(same, places, _needed(again, self._results, changing))

    def _new(self, value: Any = None) -> int:
        self._start.append(value)
        return len(self._start) - 1

    def _inline(self, jaxpr: Any, constants: Sequence[Any], arguments: Sequence[int]) -> list[int]:
        """Add the operations of a jaxpr. **Returns** the places of its results."""
        known: dict[Any, int] = dict(zip(jaxpr.invars, arguments, strict=True))
        known.update(
            (variable, self._new(_to_numpy(one))) for variable, one in zip(jaxpr.constvars, constants, strict=True)
        )

        def place(variable: Any) -> int:
            if isinstance(variable, jax.extend.core.Literal):
                aval: Any = variable.aval
                return self._new(np.asarray(variable.val, aval.dtype))
            return known[variable]

        for equation in jaxpr.eqns:
            reads = [place(variable) for variable in equation.invars]
            if equation.primitive.name in _INNER:
                inner, inner_constants = _inner(equation.params)
                writes = self._inline(inner, inner_constants, reads)
            else:
                writes = [self._new() for _ in equation.outvars]
                self._steps.append(_Step(equation, reads, writes))
            known.update(zip(equation.outvars, writes, strict=True))
        return [place(variable) for variable in jaxpr.outvars]

    def _ready(self, step: _Step) -> _Step:
        return dataclasses.replace(step, apply=self._operation(step.equation))

    def _operation(self, equation: Any) -> Operation:
        name, parameters = equation.primitive.name, equation.params
        if name in _LOOPS:
            return self._loop(equation.primitive, parameters)
        by_jax = functools.partial(_by_jax, equation.primitive, parameters)
        dtypes = [getattr(variable.aval, "dtype", None) for variable in equation.outvars]
        if (rule := _rule(equation)) is None:
            self.is_plain = False
            return by_jax
        dtypes = [one if isinstance(one, np.dtype) else None for one in dtypes]
        if equation.primitive.multiple_results:
            return lambda inputs: [np.asarray(o, d) for o, d in zip(rule(*inputs, **parameters), dtypes, strict=True)]
        (dtype,) = dtypes

        def apply(inputs: list[Any]) -> Sequence[Any]:
            made = rule(*inputs, **parameters)
            return by_jax(inputs) if made is NotImplemented else (np.asarray(made, dtype),)

        return apply

    def _loop(self, primitive: Any, parameters: dict[str, Any]) -> Operation:
        name = primitive.name
        names = {"scan": ["jaxpr"], "while": ["cond_jaxpr", "body_jaxpr"], "cond": ["branches"]}[name]
        jaxprs = [parameters[one] for one in names]
        programs = [Program(one) for one in (jaxprs[0] if name == "cond" else jaxprs)]
        self.is_plain &= all(one.is_plain for one in programs)
        if name == "scan":
            if not parameters["length"]:
                return functools.partial(_by_jax, primitive, parameters)
            return lambda inputs: _scan(programs[0], inputs, **parameters)
        if name == "while":
            condition, body = programs
            return lambda inputs: _while(condition, body, inputs, **parameters)
        return lambda inputs: programs[int(np.clip(inputs[0], 0, len(programs) - 1))].run(inputs[1:])


def _needed(steps: Sequence[_Step], results: Iterable[int], passing: Container[int] | None = None) -> list[_Step]:
    """The steps that results depend on or that have effects, each with the places that are not read after it.

    If `passing` is given, only places in it are freed.
    """
    needed, kept = {*results}, []
    for step in reversed(steps):
        if needed.isdisjoint(step.writes) and not step.equation.effects:
            continue
        places = {*step.reads, *step.writes} - needed
        done = [one for one in places if passing is None or one in passing]
        needed.update(step.reads)
        kept.append(dataclasses.replace(step, done=done))
    return kept[::-1]


def _run(steps: Sequence[_Step], places: list[Any]) -> None:
    with np.errstate(all="ignore"):
        for step in steps:
            outputs = step.apply([places[place] for place in step.reads])
            for place, output in zip(step.writes, outputs, strict=True):
                places[place] = output
            for place in step.done:
                places[place] = None


def _inner(parameters: dict[str, Any]) -> tuple[Any, Sequence[Any]]:
    inner = next(parameters[name] for name in ("jaxpr", "call_jaxpr", "fun_jaxpr") if name in parameters)
    return (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, ())


def _rule(equation: Any) -> Callable[..., Any] | None:
    """The rule for an operation. `None` leaves it to JAX, as for complex numbers, for types that are not NumPy's own,
    and for arrays without entries.
    """
    avals = [variable.aval for variable in (*equation.invars, *equation.outvars)]
    dtypes = {getattr(aval, "dtype", None) for aval in avals}
    others = {one for one in dtypes if not isinstance(one, np.dtype)}
    if any(isinstance(one, np.dtype) and one.kind not in "biuf" for one in dtypes) or any(
        0 in getattr(a, "shape", ()) for a in avals
    ):
        return None
    if others:  # possibly random keys
        return KEY_RULES.get(equation.primitive.name) if all(map(keys.is_known, others)) else None
    return RULES.get(equation.primitive.name)


def _is_immutable(value: Any) -> bool:
    while isinstance(value, np.ndarray):
        if value.flags.writeable:
            return False
        value = value.base
    return True


def _to_numpy(value: Any) -> Any:
    if isinstance(value, jax.Array) and not isinstance(value.dtype, np.dtype):
        return keys.from_jax(value) if keys.is_known(value.dtype) else value
    return (
        np.asarray(value) if isinstance(value, jax.Array | np.ndarray | np.generic | int | float | complex) else value
    )


def _to_jax(value: Any) -> Any:
    if keys.is_keys(value):
        return keys.to_jax(value)
    return jax.numpy.asarray(value) if isinstance(value, np.ndarray | np.generic) else value


def _by_jax(primitive: Any, parameters: dict[str, Any], inputs: list[Any]) -> Sequence[Any]:
    made = primitive.bind(*map(_to_jax, inputs), **parameters)
    return [*map(_to_numpy, made if primitive.multiple_results else [made])]


def _scan(
    body: Program, inputs: list[Any], *, length: int, reverse: bool, num_consts: int, num_carry: int, **_: Any
) -> list[Any]:
    constants, carry = inputs[:num_consts], inputs[num_consts : num_consts + num_carry]
    slices = inputs[num_consts + num_carry :]
    rows: list[list[Any]] = []
    for number in reversed(range(length)) if reverse else range(length):
        outputs = body.run([*constants, *carry, *(one[number] for one in slices)])
        carry = outputs[:num_carry]
        rows.append(outputs[num_carry:])
    if reverse:
        rows.reverse()
    return [*carry, *(_stack(column) for column in zip(*rows, strict=True))]


def _stack(rows: Sequence[Any]) -> Any:
    return jax.numpy.stack(rows) if isinstance(rows[0], jax.Array) else np.stack(rows)


def _while(
    condition: Program, body: Program, inputs: list[Any], *, cond_nconsts: int, body_nconsts: int, **_: Any
) -> list[Any]:
    for_condition, for_body = inputs[:cond_nconsts], inputs[cond_nconsts : cond_nconsts + body_nconsts]
    carry = inputs[cond_nconsts + body_nconsts :]
    # If the condition is vectorised, each element goes on for as long as its own condition holds.
    while (going := np.asarray(condition.run([*for_condition, *carry])[0])).any():
        made = body.run([*for_body, *carry])
        carry = made if going.all() else [_where(going, *pair) for pair in zip(made, carry, strict=True)]
    return carry


def _where(condition: np.ndarray, one: Any, other: Any) -> Any:
    """`where` for a condition that has only the leading axes of the others."""
    condition = condition.reshape(condition.shape + (1,) * (one.ndim - condition.ndim))
    return jax.numpy.where(condition, one, other) if isinstance(one, jax.Array) else np.where(condition, one, other)
