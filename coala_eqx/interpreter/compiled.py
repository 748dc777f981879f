"""Run traced functions for enumeration by NumPy or XLA.

If there are few outcomes NumPy is faster, because XLA would compile for longer than NumPy computes.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import ThreadpoolController

from coala_eqx.arrays import concrete
from coala_eqx.interpreter.program import Program

QUICK_BELOW = 500_000
"""Number of outcomes below which NumPy finishes before XLA has compiled. Above it, compiled programs are faster."""


_programs: contextvars.ContextVar[dict[Any, Any] | None] = contextvars.ContextVar("programs", default=None)
"""Traced functions of this evaluation; `None` outside of one."""


@contextlib.contextmanager
def evaluating() -> Iterator[None]:
    """Context for evaluation by NumPy.

    Each function is traced once for each structure of arguments. Traced functions, and the arrays that they hold, are
    dropped at the end of the outermost such context. Linear algebra uses one thread: for small arrays a second one
    would only wait.
    """
    if _programs.get() is not None:
        yield
        return
    outside = _programs.set({})
    try:
        with _libraries().limit(limits=1, user_api="blas"):
            yield
    finally:
        _programs.reset(outside)


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


class compiled:  # noqa: N801 (used as a decorator)
    """A function from pytrees to pytrees, evaluated by NumPy (`quick=True`) or compiled by XLA.

    If arguments are traced, the function is called as it is and compiled with the surrounding code.
    """

    def __init__(self, function: Callable[..., Any]):
        functools.update_wrapper(self, function)
        self.function = function
        self._by_xla = eqx.filter_jit(function)

    def __call__(self, *args: Any, quick: bool = True) -> Any:
        if not all(map(concrete, jax.tree.leaves(args))):
            return self.function(*args)
        return _by_numpy(self.function, args) if quick else self._by_xla(*args)


def _by_numpy(function: Callable[..., Any], args: Any) -> Any:
    leaves, structure = jax.tree.flatten(args)
    arrays = [leaf for leaf in leaves if _is_array(leaf)]
    signature = tuple(jax.typeof(leaf) if _is_array(leaf) else _Static(leaf) for leaf in leaves)
    known = _programs.get()
    if known is None:
        known = {}
    # The default floating-point type belongs to the signature, as Python's numbers are converted to it.
    key = (function, structure, signature, jnp.result_type(float))
    if key not in known:
        known[key] = _traced(function, structure, signature)
    program, rebuild = known[key]
    return rebuild(program(arrays))


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


class _Static:
    """A leaf that is not an array. Two are equal if type and value are."""

    def __init__(self, value: Any):
        self.value = value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Static) or type(self.value) is not type(other.value):
            return False
        # 0.0 and −0.0 compare equal but are different values.
        return self.value == other.value and (
            not isinstance(self.value, float) or repr(self.value) == repr(other.value)
        )


def _traced(
    function: Callable[..., Any], structure: Any, signature: tuple[Any, ...]
) -> tuple[Program, Callable[[list[Any]], Any]]:
    """Trace a function at arguments of this structure. **Returns** the program, and a function that rebuilds its result
    from arrays.
    """
    rest: list[Any] = []

    def flat(*arrays: Any) -> list[Any]:
        given = iter(arrays)
        leaves = [one.value if isinstance(one, _Static) else next(given) for one in signature]
        made, static = eqx.partition(function(*jax.tree.unflatten(structure, leaves)), _is_array)
        made, made_structure = jax.tree.flatten(made)
        rest[:] = [made_structure, static]
        return made

    closed = jax.make_jaxpr(flat)(*(one for one in signature if not isinstance(one, _Static)))

    def rebuild(results: list[Any]) -> Any:
        made_structure, static = rest
        return eqx.combine(jax.tree.unflatten(made_structure, results), static)

    return Program(closed), rebuild
