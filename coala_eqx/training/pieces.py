"""Work that is done in pieces: gradients of some trajectories, and roll-outs with some opponents, at a time."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from coala_eqx.training.layout import META_BATCH, shard, sharing


def mean_over_chunks(function: Callable[[Any], Any], tree: Any, size: int) -> Any:
    """The mean of a function over chunks of arrays `[number, …]`, with `size` entries in a chunk.

    If the function is a mean over the entries of its argument, the result is the function of all entries. Each device
    that shares the meta-batch has a share of every chunk, and the function is called with one share at a time. No data
    are sent for this if the arrays are sharded. `size` must divide the number of entries.

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
    """The results of a function for each entry of arrays `[number, …]`. Each device works on up to `size` at a time.

    `None` is no limit. All groups have one size, which divides each device's share. If the shares differ in size, there
    are no groups. Leaves of arguments and results that are no arrays are the same for all entries.
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
