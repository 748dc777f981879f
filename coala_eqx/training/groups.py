"""Groups of agents. One vectorised program trains the agents of a group."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Key

from coala_eqx.training.agent import Agent


def groups_of(agents: Sequence[Agent]) -> tuple[tuple[int, ...], ...]:
    """Numbers of the agents in each group: agents with the same class, network and algorithm."""
    groups: list[list[int]] = []
    for number, agent in enumerate(agents):
        for group in groups:
            if alike(agent, agents[group[0]]):
                group.append(number)
                break
        else:
            groups.append([number])
    return tuple(map(tuple, groups))


def take(keys: Key[Array, " agents"], group: tuple[int, ...]) -> Key[Array, " group"]:
    """The keys of a group's agents."""
    return keys if group == tuple(range(len(keys))) else keys[np.asarray(group)]


def alike(one: Agent, other: Agent) -> bool:
    """Whether two agents can be trained by one vectorised program."""
    names = ("policy", "seats", "by_advantages", "critic")
    same = all(getattr(one, name) == getattr(other, name) for name in names)
    return (
        same and equal(one.algorithm, other.algorithm) and (one.by_advantages or equal(one.estimator, other.estimator))
    )


def equal(one: Any, other: Any) -> bool:
    """Whether two modules are equal. Arrays never are, because they may be traced at one time and known at another."""
    ours, theirs = jax.tree.leaves(one), jax.tree.leaves(other)
    plain = all(isinstance(leaf, int | float) or not eqx.is_array_like(leaf) for leaf in ours)
    return plain and jax.tree.structure(one) == jax.tree.structure(other) and ours == theirs
