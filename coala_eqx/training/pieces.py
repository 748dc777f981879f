"""Work that is done piece by piece: gradients of some trajectories, roll-outs with some opponents at a time."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from coala_eqx.training.layout import META_BATCH, shard, sharing


def mean_over_chunks(function: Callable[[Any], Any], tree: Any, size: int) -> Any:
    """The mean over chunks of what a function gives of each: of arrays `[number, …]`, `size` of them at a time.

    It is what the function gives of all at once if that is a mean over what it is given. Each device that shares the
    meta-batch has its share of every chunk, of which the function is told alone; nothing is sent for that if the
    arrays are sharded. `size` must divide their number.

    **Raises** `ValueError` if the devices that share the meta-batch do not divide `size`.
    """
    shares = sharing() or 1
    if size % shares:
        raise ValueError(f"`chunk` must be a multiple of the {shares} devices that share a meta-batch, but is {size}.")

    def in_shares(leaf: Any) -> Any:
        return jnp.moveaxis(leaf.reshape(shares, -1, size // shares, *leaf.shape[1:]), 1, 0)

    chunks = jax.tree.map(in_shares, tree)
    on_each_share = jax.vmap(function, spmd_axis_name=None if sharing() is None else META_BATCH)
    shapes = jax.eval_shape(lambda: on_each_share(jax.tree.map(lambda leaf: leaf[0], chunks)))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add(total: Any, chunk: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, on_each_share(chunk)), None

    total, _ = jax.lax.scan(add, zeros, chunks)
    number = len(jax.tree.leaves(chunks)[0])
    return jax.tree.map(lambda leaf: leaf.mean(axis=0) / number, total)


def map_in_groups(function: Callable[[Any], Any], tree: Any, size: int | None) -> Any:
    """What a function gives of each entry of arrays `[number, …]`: of at most `size` at a time on each device.

    `None` is no limit. Groups are all of one size, that divides each device's share; if devices' shares are not of one
    size there are none. What is no array, of what is given or of what the function gives, is the same for all entries.
    """
    arrays, same = eqx.partition(tree, eqx.is_array)
    number, shares = len(jax.tree.leaves(arrays)[0]), sharing() or 1
    share, uneven = divmod(number, shares)
    group = next((limit for limit in range(min(size or share, share), 0, -1) if share % limit == 0), 0)
    if group == share or uneven:
        return shard(eqx.filter_vmap(function)(shard(tree)))
    rest = []

    def arrays_of(entry: Any) -> Any:
        result, static = eqx.partition(function(eqx.combine(entry, same)), eqx.is_array)
        rest.append(static)
        return result

    def on_share(entries: Any) -> Any:
        return jax.lax.map(arrays_of, entries, batch_size=group)

    in_shares = jax.tree.map(lambda leaf: leaf.reshape(shares, share, *leaf.shape[1:]), shard(arrays))
    on_each_share = jax.vmap(on_share, spmd_axis_name=None if sharing() is None else META_BATCH)
    results = jax.tree.map(lambda leaf: leaf.reshape(number, *leaf.shape[2:]), on_each_share(in_shares))
    return eqx.combine(shard(results), rest[0])
