"""The state of a pool."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from coala_eqx.policies import AbstractPolicy
from coala_eqx.streams import stream
from coala_eqx.training.algorithms.base import AlgorithmState
from coala_eqx.training.critics import CriticState

Tree = TypeVar("Tree")


class PoolState(eqx.Module):
    """Everything that changes in training, for one seed."""

    groups: tuple[AbstractPolicy, ...]
    """The meta agents, one entry for each group of the pool, leaves `[agents, …]`."""

    algorithms: tuple[AlgorithmState, ...]
    """States of their algorithms, leaves `[agents, …]`."""

    populations: tuple[AbstractPolicy, ...]
    """Policies that naive learners start from, one entry for each kind of seat, leaves `[population, …]`."""

    key: Key[Array, ""]
    """Source of all random numbers, together with the number of the iteration."""

    iteration: Int[Array, ""]
    """Number of iterations so far."""

    critics: tuple[CriticState | None, ...] = ()
    """Critics that see the learner, one entry for each group, leaves `[agents, …]`, or `None` without one."""

    @property
    def agents(self) -> Any:
        """The meta agents, leaves `[agents, …]`. If there are several groups, a tuple with an entry for each."""
        return self.groups[0] if len(self.groups) == 1 else self.groups

    @property
    def naive(self) -> Any:
        """Policies that naive learners start from, leaves `[population, …]`. If there are several kinds of seats, a
        tuple with an entry for each.
        """
        return self.populations[0] if len(self.populations) == 1 else self.populations

    def critics_key(self) -> Key[Array, ""]:
        """The key of this iteration for the training of critics that see the learner."""
        return jax.random.fold_in(stream(self.key, "training of critics"), self.iteration)

    def spare_key(self, number: int) -> Key[Array, ""]:
        """One of three keys, numbered 1 to 3, that no iteration uses. Iterations use the numbers below 2³⁰."""
        return jax.random.fold_in(self.key, self.iteration.astype(jnp.uint32) + jnp.uint32(number * 2**30))


def stack(name: str, make: Callable[[Key[Array, ""]], AbstractPolicy], keys: Key[Array, " number"]) -> AbstractPolicy:
    """Policies made by a function, one for each key, leaves `[number, …]`.

    **Raises** `ValueError` if the function returns no policy.
    """
    made = eqx.filter_vmap(make)(keys)
    if not isinstance(made, AbstractPolicy):
        raise ValueError(f"`{name}` must return a policy (an AbstractPolicy), but returned {made!r}.")
    return made


def members(stacked: Tree, indices: int | Int[Array, "*members"]) -> Tree:
    """One or several of the policies that are stacked along the first axis of all arrays."""
    return jax.tree.map(lambda leaf: leaf[indices] if eqx.is_array(leaf) else leaf, stacked)


def number_of(stacked: AbstractPolicy) -> int:
    """The number of policies that are stacked along the first axis of all arrays."""
    return len(jax.tree.leaves(eqx.filter(stacked, eqx.is_array))[0])
