"""Running traced functions for enumeration: few outcomes by NumPy, as compiling would take longer, many by XLA."""

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
"""Outcomes. Below, NumPy is done before XLA has compiled; above, compiled programs are faster."""


_programs: contextvars.ContextVar[dict[Any, Any] | None] = contextvars.ContextVar("programs", default=None)
"""Traced functions of this evaluation; `None` outside of one."""


@contextlib.contextmanager
def evaluating() -> Iterator[None]:
    """A context for evaluation by NumPy.

    Functions are traced once for each structure of arguments, and what was traced, with the arrays that it holds, is
    dropped at the end of the outermost of such contexts. Linear algebra of small arrays does not keep a second core
    busy with waiting.
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

    Where arguments are traced it is the function itself, compiled with what surrounds it.
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
    # What numbers of Python become is a part of the signature.
    key = (function, structure, signature, jnp.result_type(float))
    if key not in known:
        known[key] = _traced(function, structure, signature)
    program, rebuild = known[key]
    return rebuild(program(arrays))


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


class _Static:
    """A leaf that is no array, told from others by its type and value."""

    def __init__(self, value: Any):
        self.value = value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Static) or type(self.value) is not type(other.value):
            return False
        # 0.0 and −0.0 are equal, and not the same.
        return self.value == other.value and (
            not isinstance(self.value, float) or repr(self.value) == repr(other.value)
        )


def _traced(
    function: Callable[..., Any], structure: Any, signature: tuple[Any, ...]
) -> tuple[Program, Callable[[list[Any]], Any]]:
    """A function at arguments of this structure, and what makes its result from the arrays in it."""
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
