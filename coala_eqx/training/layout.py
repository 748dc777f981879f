"""The layout of training over devices: seeds, and then the meta-batch, are shared among them."""

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
"""Numbers of one layer, for all steps of some trajectories, with which all that a gradient needs fits the cache of one
core: 200 KB in float32. By trial; half of it and twice as much make little difference, ten times as much is slow."""

PLAYED = 256
"""Trajectories that one core plays at a time, with learners of their own. By trial with Hawk of width 32: a quarter of
it makes little difference; four times as many take 5 to 10 % longer, with what else an iteration does."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Devices and sizes of the pieces of work. They change results only in the last bits.

    **Arguments:**

    - `devices`: number of devices; all accelerators, or as many cores of a CPU as divide the seeds, unless given.
    - `chunk`: trajectories that a gradient is computed of at a time; a whole minibatch unless given.
    - `group`: opponents that are met at a time on each device; all of them unless given.

    **Raises** `ValueError` for numbers that are not whole or below 1.
    """

    devices: int | None = None
    chunk: int | None = None
    group: int | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if (value := getattr(self, field.name)) is not None:
                check_whole(field.name, value, 1)

    def used_devices(self, seeds: int) -> list[Any]:
        """JAX's devices that are used, of all processes; **raises** `ValueError` if there are fewer than `devices`."""
        present = jax.devices()
        if self.devices is not None and self.devices > len(present):
            raise ValueError(
                f"`devices` must be at most {len(present)}, as no more are present, but is {self.devices}. "
                "(JAX_NUM_CPU_DEVICES=8 in the environment makes 8 of a CPU, for a trial.)"
            )
        if jax.process_count() > 1:
            if self.devices not in {None, len(present)}:
                raise ValueError(
                    f"`devices` must be {len(present)}, those of all processes, or 0, but is {self.devices}."
                )
            return present
        count = math.gcd(seeds, len(present)) if jax.default_backend() == "cpu" else len(present)
        return present[: self.devices or count]

    def mesh(self, seeds: int, meetings: Sequence[int]) -> Mesh:
        """The mesh of the devices that are used; see `make_mesh`."""
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
            raise ValueError(f"`chunk` must divide the {minibatch} trajectories of a step, but is {self.chunk}.")

    def fitting_caches(self, seeds: int, minibatch: int, trajectories: int, numbers: int) -> "Layout":
        """The layout with a chunk and a group that fit the caches of a CPU, where none are given.

        **Arguments:**

        - `seeds`: number of seeds.
        - `minibatch`: trajectories of one step of the optimiser; the chunk divides them.
        - `trajectories`: of all agents against one opponent, of one seed.
        - `numbers`: of one layer for one trajectory, of all agents and seeds: steps times width.
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
    """A mesh of these devices: as many along the seeds as divide them, the rest along the meta-batch.

    **Arguments:**

    - `seeds`: number of seeds.
    - `meetings`: how many meetings of each kind an agent has in an iteration: with naive and with meta opponents.
    - `devices`: JAX's, of all processes.

    **Raises** `ValueError` if there are none, or the rest does not divide the meetings.
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
    """Arrays `[seeds, …]`, the same in all processes, as arrays on the devices of a mesh."""
    sharding = NamedSharding(mesh, PartitionSpec(SEEDS))

    def one(leaf: Any) -> jax.Array:
        if is_key(leaf):
            return jax.random.wrap_key_data(one(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        numbers = np.asarray(leaf)
        return jax.make_array_from_callback(numbers.shape, sharding, lambda index: numbers[index])

    return jax.tree.map(one, tree)


def shard(tree: Any) -> Any:
    """Arrays `[opponents, …]`, shared along the meta-batch in a program that runs under `jax.set_mesh`; else as is.

    Whatever is no array stays as it is.
    """
    if sharing() is None:
        return tree
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.lax.with_sharding_constraint(arrays, PartitionSpec(META_BATCH)), rest)


def sharing() -> int | None:
    """The number of devices that share a meta-batch; `None` outside of a mesh of this kind."""
    return dict(jax.sharding.get_abstract_mesh().shape).get(META_BATCH)


def chunk_for_cache(trajectories: int, numbers: int, *, multiple: int = 1, cores: int = 1) -> int:
    """The largest chunk that fits the cache, but at least two trajectories for each device.

    One at a time takes a third to a half longer than two, whether they fit or not (measured with Hawk of width 32).

    **Arguments:**

    - `trajectories`: trajectories of one step of the optimiser; the chunk divides them.
    - `numbers`: numbers of one layer for one trajectory: its steps times the width, of all agents that learn at a time.
    - `multiple`: devices that share the meta-batch; they divide the chunk.
    - `cores`: cores that share a chunk.
    """
    most = max(2 * multiple, min(trajectories, cores * CACHED // numbers))
    fitting = [size for size in range(multiple, most + 1, multiple) if trajectories % size == 0]
    return max(fitting or [trajectories])


def group_for_cache(trajectories: int) -> int:
    """The number of opponents with which roll-outs fit the cache of a core; one if none do.

    `trajectories` are those against one opponent, of all agents that one device plays at a time.
    """
    return max(1, PLAYED // trajectories)
