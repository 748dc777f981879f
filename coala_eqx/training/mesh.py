"""Training on several devices: seeds, and then the meta-batch, are shared among them."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

SEEDS, META_BATCH = "seeds", "meta_batch"
"""The axes of a mesh."""


def make_mesh(seeds: int, opponents: Sequence[int], devices: Sequence[Any]) -> Mesh:
    """A mesh of these devices: as many along the seeds as divide them, the rest along the meta-batch.

    **Arguments:**

    - `seeds`: how many there are.
    - `opponents`: how many naive and how many meta opponents an agent meets in each iteration.
    - `devices`: JAX's, of all processes.

    **Raises** `ValueError` if there are none, or the rest does not divide the opponents.
    """
    if not devices:
        raise ValueError("`devices` must name one or more, such as jax.devices(), but is empty.")

    def fits(number: int) -> bool:
        rest = number // math.gcd(seeds, number)
        return all(count % rest == 0 for count in opponents)

    along_seeds = math.gcd(seeds, len(devices))
    rest = len(devices) // along_seeds
    if not fits(len(devices)):
        raise ValueError(
            f"{len(devices)} devices do not divide {seeds} seeds and {' + '.join(map(str, opponents))} opponents: "
            f"{along_seeds} along the seeds leave {rest} for the opponents. "
            f"Take {max(filter(fits, range(1, len(devices))))}."
        )
    return jax.make_mesh((along_seeds, rest), (SEEDS, META_BATCH), axis_types=(AxisType.Auto,) * 2, devices=devices)


def place(tree: Any, mesh: Mesh) -> Any:
    """Arrays `[seeds, …]`, the same in all processes, as arrays on the devices of a mesh."""
    sharding = NamedSharding(mesh, PartitionSpec(SEEDS))

    def one(leaf: Any) -> jax.Array:
        if is_key(leaf):
            return jax.random.wrap_key_data(one(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        numbers = np.asarray(leaf)
        return jax.make_array_from_callback(numbers.shape, sharding, lambda index: numbers[index])

    return jax.tree.map(one, tree)


def on_host(leaf: Any) -> Any:
    """All of a leaf, as NumPy, in every process, which must all call it; of typed keys their numbers."""
    if is_key(leaf):
        leaf = jax.random.key_data(leaf)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        leaf = multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)


def is_key(leaf: Any) -> bool:
    """Whether it is an array of typed keys."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def spread(tree: Any) -> Any:
    """Arrays `[opponents, …]`, in a program that runs under `jax.set_mesh`, shared along the meta-batch; else as is.

    What is no array stays as it is.
    """
    if sharing() is None:
        return tree
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.lax.with_sharding_constraint(arrays, PartitionSpec(META_BATCH)), rest)


def sharing() -> int | None:
    """How many devices share a meta-batch; None outside of a mesh of this kind."""
    return dict(jax.sharding.get_abstract_mesh().shape).get(META_BATCH)
