"""Compiling for enumeration: many programs that each run for a moment, so that compiling is most of the time."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from coala_eqx.arrays import concrete

_QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
"""Options of XLA on CPUs. Measured: compiling takes a fifth of the CPU time."""


@functools.cache
def quick_options() -> dict[str, Any]:
    """Options under which XLA compiles fast; none where the backend does not know them."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(jnp.negative, compiler_options=_QUICK)(1.0)
    except Exception:  # of any kind, as it depends on the version of XLA
        return {}
    return _QUICK


QUICK_BELOW = 500_000
"""Outcomes. Programs that are compiled fast take twice as long to run, which pays off below."""


class compiled:  # noqa: N801 (used as a decorator)
    """A function as a program that is compiled fast (`quick=True`) or well.

    Where arguments are traced it is the function itself, compiled with what surrounds it.
    """

    def __init__(self, function: Callable[..., Any]):
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any, quick: bool = True) -> Any:
        if not all(map(concrete, jax.tree.leaves(args))):
            return self.function(*args)
        return self._program(quick)(*args)

    @functools.lru_cache(maxsize=2)  # noqa: B019 (decorated functions live as long as their module)
    def _program(self, quick: bool) -> Callable[..., Any]:
        options: Any = {"compiler_options": quick_options()} if quick else {}
        return eqx.filter_jit(self.function, **options)
