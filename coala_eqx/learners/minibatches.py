"""Epochs over minibatches of a batch: drawing them, listing all of them, and stepping through them."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Int, Key

from coala_eqx.policies import AbstractPolicy

Step = Callable[[AbstractPolicy, Any, Int[Array, " minibatch"]], tuple[AbstractPolicy, Any, Any]]
"""(policy, state of the optimiser, chosen trajectories) → (policy, state, measurements)."""


def minibatch_size(trajectories: int, minibatches: int, of_what: str = "") -> int:
    """The number of trajectories in a minibatch.

    **Raises** `ValueError` if minibatches do not divide the trajectories; `of_what` says how these are counted.
    """
    if trajectories % minibatches:
        raise ValueError(
            f"`minibatches` must divide the number of trajectories, {of_what}{trajectories}, but is {minibatches}."
        )
    return trajectories // minibatches


def draw_minibatches(key: Key[Array, ""], trajectories: int, epochs: int, size: int) -> Int[Array, "minibatches size"]:
    """The trajectories of all minibatches of all epochs: each epoch is a new permutation, cut into pieces."""
    shuffled = jax.vmap(lambda key: jax.random.permutation(key, trajectories))(jax.random.split(key, epochs))
    return shuffled.reshape(-1, size)


def count_minibatches(trajectories: int, epochs: int, size: int) -> int:
    """The number of ways in which `list_minibatches` divides the epochs."""
    each = math.factorial(trajectories) // math.factorial(size) ** (trajectories // size)
    return each**epochs


def list_minibatches(trajectories: int, epochs: int, size: int) -> Int[np.ndarray, "ways minibatches size"]:
    """All ways to divide the epochs into minibatches, which are equally likely.

    The order within a minibatch does not matter, so that each way stands for (size!)^(trajectories/size) permutations
    in each epoch.
    """
    one_epoch = [np.array(way) for way in _divisions(tuple(range(trajectories)), size)]
    return np.stack([np.concatenate(ways) for ways in itertools.product(one_epoch, repeat=epochs)])


def _divisions(left: tuple[int, ...], size: int) -> Iterator[list[tuple[int, ...]]]:
    if not left:
        yield []
    for first in itertools.combinations(left, size) if left else ():
        rest = tuple(one for one in left if one not in first)
        for others in _divisions(rest, size):
            yield [first, *others]


def over_minibatches(
    step: Step, policy: AbstractPolicy, state: Any, minibatches: Int[Array, "minibatches size"]
) -> tuple[AbstractPolicy, Any, Any]:
    """Take one step for each minibatch, one after the other.

    **Returns** the last policy and state of the optimiser, and the measurements `[minibatches, …]`.
    """
    arrays, static = eqx.partition(policy, eqx.is_array)

    def one(carry: tuple[Any, Any], chosen: Array) -> tuple[tuple[Any, Any], Any]:
        arrays, state = carry
        moved, state, info = step(eqx.combine(arrays, static), state, chosen)
        return (eqx.filter(moved, eqx.is_array), state), info

    (arrays, state), infos = jax.lax.scan(one, (arrays, state), minibatches)
    return eqx.combine(arrays, static), state, infos
