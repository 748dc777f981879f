"""The cost of a training on this machine, measured by one iteration and one record."""

import dataclasses
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from coala_eqx.training.algorithms import AbstractActorCritic
from coala_eqx.training.driver import Programs, Training, programs_of
from coala_eqx.training.layout import Layout, place
from coala_eqx.training.play import critic_of, meet, played_only
from coala_eqx.training.pool import Pool
from coala_eqx.training.state import members


@dataclasses.dataclass(frozen=True)
class Plan:
    """The cost of a training."""

    steps: int
    """Number of steps of the game, in all seeds and iterations."""

    seconds: float
    """Seconds for one iteration, including its share of the measurements of a record."""

    memory: float
    """Memory of each device in GB, as the compiler reports it; NaN if it does not."""

    played: float
    """Part of `memory` for the trajectories of an iteration, which are kept until it ends, in GB."""

    shown: float
    """Part of `memory` for what critics that see the learner are shown, in GB: features of an iteration, and replay."""

    devices: int


def plan(training: Training) -> Plan:
    """Compile and run one iteration and one record."""
    with jax.set_mesh(mesh := training.mesh()):
        programs = programs_of(training)
        arrays = place(programs.arrays, mesh)
        seconds, memory = _cost(programs.iterate, arrays)
        if jax.tree.leaves(jax.eval_shape(programs.watch, arrays)):
            seconds_watched, memory_watched = _cost(programs.watch, arrays)
            seconds, memory = seconds + seconds_watched / training.every, max(memory, memory_watched)
    each = training.seeds * len(training.pool.agents) / mesh.size / 1e9
    played, shown = (each * part for part in _bytes_played(training, programs))
    steps = training.iterations * training.steps_per_iteration
    return Plan(steps=steps, seconds=seconds, memory=memory / 1e9, played=played, shown=shown, devices=mesh.size)


def _bytes_played(training: Training, programs: Programs) -> tuple[int, int]:
    """Bytes of what the first agent of one seed plays in an iteration, and of what its critic is shown: features, and
    its replay.
    """
    pool = training.pool

    def play(arrays: Any) -> tuple[Any, Any]:
        state = eqx.combine(arrays, programs.static)
        critic = critic_of(pool, state, 0)
        probe = None if critic is None else critic.probe
        agent, place = pool.agent(state, 0), jnp.zeros((), int)
        met = meet(pool, state, agent, pool.class_of(0), place, state.key, training.layout, probe)
        replay = None if critic is None else members((state.critics[0].shown, state.critics[0].targets), 0)
        shown = [one.episodes.features for one in met], replay
        return eqx.filter(([played_only(one.episodes) for one in met], shown), eqx.is_array)

    one_seed = jax.tree.map(lambda leaf: leaf[0], programs.arrays)
    played, shown = jax.eval_shape(play, one_seed)
    return _bytes(played), _bytes(shown)


def _bytes(shapes: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def _cost(program: Any, arrays: Any) -> tuple[float, float]:
    """Seconds that a program takes, and bytes of one device."""
    compiled = program.lower(arrays).compile()
    jax.block_until_ready(compiled(arrays))
    began = time.perf_counter()
    jax.block_until_ready(compiled(arrays))
    seconds, memory = time.perf_counter() - began, compiled.memory_analysis()
    held = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes if memory else np.nan
    return seconds, float(held)


def fitting_layout(pool: Pool, seeds: int, width: int, layout: Layout = Layout()) -> Layout:
    """The layout of a pool. Sizes that are not given fit the caches of a CPU.

    **Arguments:**

    - `seeds`: number of seeds.
    - `width`: width of the agents' networks.
    - `layout`: the devices and sizes that are given.
    """
    agents = len(pool.agents)
    numbers = pool.episodes * pool.steps * width * agents * seeds
    return layout.fitting_caches(seeds, smallest_minibatch(pool), pool.batch * agents, numbers)


def smallest_minibatch(pool: Pool) -> int:
    """Number of trajectories in a step of the agents' optimisers. If agents differ, the greatest common divisor."""
    trajectories = pool.meta_batch * pool.batch
    sizes = [
        agent.algorithm.minibatch(trajectories)
        for agent in pool.agents
        if isinstance(agent.algorithm, AbstractActorCritic)
    ]
    return int(np.gcd.reduce(sizes)) if sizes else trajectories
