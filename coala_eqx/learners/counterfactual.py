"""The updates that a learner would have made without some of its trajectories."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from coala_eqx.policies import AbstractPolicy

Updated = tuple[AbstractPolicy, Any]
"""The policy and the state after an update."""

Tree = TypeVar("Tree")


def others(batch: int, groups: int) -> Int[np.ndarray, "groups left"]:
    """The numbers of the trajectories outside of each group, in order."""
    members = np.arange(batch).reshape(groups, -1)
    return np.stack([np.delete(np.arange(batch), group) for group in members])


def replaced(batch: int, groups: int) -> Int[np.ndarray, "groups batch"]:
    """The numbers of all trajectories, where those of the next group stand in for one group's."""
    members = np.arange(batch).reshape(groups, -1)
    everyone = np.tile(np.arange(batch), (groups, 1))
    for number, group in enumerate(members):
        everyone[number, group] = members[(number + 1) % groups]
    return everyone


def update_on(
    update: Callable[[Any], Updated], policy: AbstractPolicy, state: Any, experience: Any, chosen: np.ndarray
) -> Updated:
    """The results of `update` on some trajectories, `[groups, trajectories]`: leaves `[groups, …]`."""

    def one(chosen: Int[Array, " trajectories"]) -> Any:
        return eqx.filter(update(jax.tree.map(lambda leaf: leaf[chosen], experience)), eqx.is_array)

    rest = eqx.filter((policy, state), eqx.is_array, inverse=True)
    return eqx.combine(jax.vmap(one)(jnp.asarray(chosen)), rest)


def repeat(tree: Tree, number: int) -> Tree:
    """The same arrays several times, along a new first axis."""
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (number, *leaf.shape)) if eqx.is_array(leaf) else leaf, tree
    )
