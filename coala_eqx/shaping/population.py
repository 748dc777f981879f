"""The co-players that the ego agent can meet: one policy, a population, or a function that makes policies."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from coala_eqx.arrays import concrete, floating, numbers
from coala_eqx.policies import AbstractPolicy


class Population(eqx.Module):
    """A finite set of co-players; one is drawn for each meta-episode.

    **Arguments:**

    - `policies`: at least one policy; all of the same structure and shapes.
    - `probabilities` `[policies]`: probability of each policy; equal unless given.

    **Raises** `ValueError` if the policies differ in structure, or the probabilities are not a distribution.
    """

    policies: tuple[AbstractPolicy, ...]
    probabilities: Float[Array, " policies"]

    def __init__(self, policies: Any, probabilities: Any = None):
        self.policies = tuple(policies)
        if not self.policies:
            raise ValueError("A `Population` needs at least one policy, but `policies` is empty.")
        for index, policy in enumerate(self.policies):
            if not isinstance(policy, AbstractPolicy):
                raise ValueError(f"`policies[{index}]` must be a policy, but is {policy!r}.")
            if _structure(policy) != _structure(self.policies[0]):
                raise ValueError(
                    f"All policies of a `Population` must have the same structure and shapes, but policies[{index}], "
                    f"{policy}, differs from policies[0], {self.policies[0]}."
                )
        if probabilities is None:
            probabilities = np.full(len(self.policies), 1 / len(self.policies))
        probabilities = numbers("probabilities", probabilities)
        if probabilities.shape != (len(self.policies),):
            raise ValueError(
                f"`probabilities` must have one entry for each of the {len(self.policies)} policies, "
                f"but has shape {probabilities.shape}."
            )
        if concrete(probabilities) and (
            (probabilities < 0).any() or not math.isclose(probabilities.sum(), 1, abs_tol=1e-6)
        ):
            raise ValueError(f"`probabilities` must be ≥ 0 and sum to one, but are {np.asarray(probabilities)}.")
        self.probabilities = floating(probabilities)

    def draw(self, key: Key[Array, ""]) -> AbstractPolicy:
        """One member, drawn with `probabilities`."""
        index = jax.random.categorical(key, jnp.log(self.probabilities))
        arrays, rest = zip(*(eqx.partition(policy, eqx.is_array) for policy in self.policies), strict=True)
        chosen = jax.tree.map(lambda *leaves: jnp.stack(leaves)[index], *arrays)
        return eqx.combine(chosen, rest[0])


CoPlayer = AbstractPolicy | Population | Callable[[Key[Array, ""]], AbstractPolicy]
"""A co-player of a `ShapingProblem`: always the same, one of a population, or made from a key."""


def draw_co_player(co_player: CoPlayer, key: Key[Array, ""]) -> AbstractPolicy:
    """The policy that this co-player starts a meta-episode with."""
    if isinstance(co_player, AbstractPolicy):
        return co_player
    if isinstance(co_player, Population):
        return co_player.draw(key)
    return co_player(key)


def _structure(policy: Any) -> tuple:
    leaves, structure = jax.tree.flatten(policy)
    return structure, tuple((leaf.shape, leaf.dtype) if eqx.is_array(leaf) else leaf for leaf in leaves)
