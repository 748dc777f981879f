"""The layout of training over devices. They share seeds first, and then the meta-batch."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from coala_eqx._checks import check_whole
from coala_eqx.runs.processes import is_key

SEEDS, META_BATCH = "seeds", "meta_batch"
"""Axes of a mesh."""

CACHED = 51200
"""Number of activations of one layer, over all steps of some trajectories, for which all that a gradient needs fits the
cache of one core: 200 KB in float32. Found by trial: half or twice as many make little difference, ten times as many
are slow."""

PLAYED = 256
"""Number of trajectories that one core plays at a time, with learners of their own. Found by trial with a Hawk of width
32: a quarter of it makes little difference; with four times as many, a whole iteration takes 5 to 10 % longer."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Devices and sizes of the pieces of work. They change results only in the last bits.

    **Arguments:**

    - `devices`: number of devices. By default all accelerators, or as many CPU cores as divide the number of seeds.
    - `chunk`: number of trajectories whose gradient is computed at a time. By default a whole minibatch.
    - `group`: number of opponents that each device plays at a time. By default all of them.

    **Raises** `ValueError` for numbers that are not whole or are below 1.
    """

    devices: int | None = None
    chunk: int | None = None
    group: int | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if (value := getattr(self, field.name)) is not None:
                check_whole(field.name, value, 1)

    def used_devices(self, seeds: int) -> list[Any]:
        """The devices of JAX that are used, of all processes. **Raises** `ValueError` if there are too few."""
        present = jax.devices()
        if self.devices is not None and self.devices > len(present):
            raise ValueError(
                f"`devices` must be at most {len(present)}, the number that is present, but is {self.devices}. "
                "(For a trial, JAX_NUM_CPU_DEVICES=8 in the environment makes 8 devices of a CPU.)"
            )
        if jax.process_count() > 1:
            if self.devices not in {None, len(present)}:
                raise ValueError(
                    f"`devices` must be 0 or {len(present)}, the number of devices of all processes, but is "
                    f"{self.devices}."
                )
            return present
        count = math.gcd(seeds, len(present)) if jax.default_backend() == "cpu" else len(present)
        return present[: self.devices or count]

    def mesh(self, seeds: int, meetings: Sequence[int]) -> Mesh:
        """The mesh of the devices that are used (`make_mesh`)."""
        return make_mesh(seeds, meetings, self.used_devices(seeds))

    def check(self, seeds: int, meetings: Sequence[int], minibatch: int) -> None:
        """**Raises** `ValueError` if there are too few devices, or they do not divide the work."""
        shares = self.mesh(seeds, meetings).shape[META_BATCH]
        for what, number in (
            ("The number of trajectories in a minibatch", minibatch),
            ("`chunk`", self.chunk or shares),
        ):
            if number % shares:
                raise ValueError(
                    f"{what} must be a multiple of the {shares} devices that share a meta-batch, but is {number}."
                )
        if self.chunk is not None and minibatch % self.chunk:
            raise ValueError(
                f"`chunk` must divide the {minibatch} trajectories of a gradient step, but is {self.chunk}."
            )

    def fitting_caches(self, seeds: int, minibatch: int, trajectories: int, numbers: int) -> "Layout":
        """The layout with a chunk and a group that fit the caches of a CPU, where they are not given.

        **Arguments:**

        - `seeds`: number of seeds.
        - `minibatch`: number of trajectories in one step of the optimiser. The chunk divides it.
        - `trajectories`: number of trajectories of all agents against one opponent, for one seed.
        - `numbers`: number of activations of one layer for one trajectory of all agents and seeds: steps times width.
        """
        if jax.default_backend() != "cpu":
            return dataclasses.replace(self, chunk=None if self.chunk is None else min(self.chunk, minibatch))
        devices = len(self.used_devices(seeds))
        along_seeds = math.gcd(seeds, devices)
        chunk = (
            chunk_for_cache(minibatch, numbers, multiple=devices // along_seeds, cores=devices)
            if self.chunk is None
            else min(self.chunk, minibatch)
        )
        group = group_for_cache(trajectories * (seeds // along_seeds)) if self.group is None else self.group
        return dataclasses.replace(self, chunk=chunk, group=group)

    def in_words(self, seeds: int) -> str:
        """The layout as a run's origin notes it."""
        devices = self.used_devices(seeds)
        chunk = "whole minibatches" if self.chunk is None else f"chunks of {self.chunk} trajectories"
        group = "" if self.group is None else f", {self.group} opponents"
        return f"{len(devices)} × {devices[0].platform}, {chunk}{group}"


def make_mesh(seeds: int, meetings: Sequence[int], devices: Sequence[Any]) -> Mesh:
    """A mesh of these devices: as many as divide the seeds lie along the seeds, the rest along the meta-batch.

    **Arguments:**

    - `seeds`: number of seeds.
    - `meetings`: numbers of an agent's meetings in an iteration, with naive and with meta opponents.
    - `devices`: devices of JAX, of all processes.

    **Raises** `ValueError` if there are none, or if the rest does not divide the meetings.
    """
    if not devices:
        raise ValueError("`devices` must name one or more, such as jax.devices(), but is empty.")

    def fits(number: int) -> bool:
        rest = number // math.gcd(seeds, number)
        return all(count % rest == 0 for count in meetings)

    along_seeds = math.gcd(seeds, len(devices))
    rest = len(devices) // along_seeds
    if not fits(len(devices)):
        raise ValueError(
            f"{len(devices)} devices do not divide {seeds} seeds and {' + '.join(map(str, meetings))} opponents: "
            f"{along_seeds} along the seeds leave {rest} for the opponents. "
            f"Take {max(filter(fits, range(1, len(devices))))}."
        )
    return jax.make_mesh((along_seeds, rest), (SEEDS, META_BATCH), axis_types=(AxisType.Auto,) * 2, devices=devices)


def place(tree: Any, mesh: Mesh) -> Any:
    """Put arrays `[seeds, …]`, which are the same in all processes, on the devices of a mesh."""
    sharding = NamedSharding(mesh, PartitionSpec(SEEDS))

    def one(leaf: Any) -> jax.Array:
        if is_key(leaf):
            return jax.random.wrap_key_data(one(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        numbers = np.asarray(leaf)
        return jax.make_array_from_callback(numbers.shape, sharding, lambda index: numbers[index])

    return jax.tree.map(one, tree)


def shard(tree: Any) -> Any:
    """Share arrays `[opponents, …]` along the meta-batch in a program that runs under `jax.set_mesh`.

    Without a mesh, arrays stay as they are. Other leaves always do.
    """
    if sharing() is None:
        return tree
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.lax.with_sharding_constraint(arrays, PartitionSpec(META_BATCH)), rest)


def sharing() -> int | None:
    """The number of devices that share a meta-batch; `None` outside of such a mesh."""
    return dict(jax.sharding.get_abstract_mesh().shape).get(META_BATCH)


def chunk_for_cache(trajectories: int, numbers: int, *, multiple: int = 1, cores: int = 1) -> int:
    """The largest chunk that fits the cache, but at least two trajectories for each device.

    One at a time takes a third to a half longer than two, whether they fit or not (measured with Hawk of width 32).

    **Arguments:**

    - `trajectories`: number of trajectories in one step of the optimiser. The chunk divides it.
    - `numbers`: number of activations of one layer for one trajectory of all agents that learn at a time: steps times
      width.
    - `multiple`: number of devices that share the meta-batch. It divides the chunk.
    - `cores`: number of cores that share a chunk.
    """
    most = max(2 * multiple, min(trajectories, cores * CACHED // numbers))
    fitting = [size for size in range(multiple, most + 1, multiple) if trajectories % size == 0]
    return max(fitting or [trajectories])


def group_for_cache(trajectories: int) -> int:
    """The largest number of opponents for which roll-outs fit the cache of a core, but at least one.

    `trajectories`: number of trajectories against one opponent, of all agents that one device plays at a time.
    """
    return max(1, PLAYED // trajectories)
