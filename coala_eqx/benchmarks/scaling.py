"""Weak scaling over devices and processes: the number of opponents for each device stays the same."""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from rich import box
from rich.console import Console
from rich.table import Table

from coala_eqx.benchmarks.timing import shortest_seconds
from coala_eqx.benchmarks.training import make_pool, make_state
from coala_eqx.runs.processes import cores, free_port
from coala_eqx.training.layout import SEEDS, place

EACH = {"batch": 8, "episodes": 5, "steps": 10}
MEETINGS = 64
"""Number of opponents for each device."""


def print_scaling(console: Console) -> None:
    """Measure weak scaling and print a table. This takes a few minutes."""
    sizes = ", ".join(f"{name} {size}" for name, size in EACH.items())
    console.print(f"H. Weak scaling: training with {MEETINGS} opponents for each device; {sizes}", soft_wrap=True)
    table = Table("devices", "processes", "steps per second", "share of ideal", box=box.SIMPLE_HEAD)
    for devices, processes, pace, share in measure_scaling():
        table.add_row(str(devices), str(processes), f"{pace:.2g}", f"{share:.2f}")
    console.print(table)


def measure_scaling() -> Iterator[tuple[int, int, float, float]]:
    """Yield (devices, processes, steps of the game per second, that pace divided by devices × the pace of one device).

    The number of devices doubles up to what is present. A CPU device has one core to itself, and CPUs are also measured
    with one process for each device. Accelerators are measured in one process.
    """
    accelerators = 0 if jax.default_backend() == "cpu" else jax.device_count()
    counts = [2**power for power in range(10) if 2**power <= (accelerators or len(cores()))]
    ways = [(count, 1) for count in counts] + [(count, count) for count in counts[1:] if not accelerators]
    first = 0.0
    for devices, processes in ways:
        seconds = _run(devices, processes)
        pace = devices * MEETINGS * EACH["batch"] * EACH["episodes"] * EACH["steps"] / seconds
        first = first or pace
        yield devices, processes, pace, pace / (devices * first)


def _run(devices: int, processes: int) -> float:
    """Seconds of one iteration, measured by the first of `processes` new processes."""
    port = free_port()
    command = [sys.executable, "-m", "coala_eqx.benchmarks.scaling", str(devices), str(processes), f"localhost:{port}"]
    started = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True) for number in range(processes)
    ]
    outputs = [process.communicate()[0] for process in started]
    for process in started:
        if process.returncode:
            raise RuntimeError(f"A process for {devices} devices ended with status {process.returncode}.")
    return float(outputs[0].split()[-1])


def _worker(devices: int, processes: int, coordinator: str, number: int) -> float:
    """The work of one process. **Returns** the seconds of one iteration."""
    mine = cores()
    if hasattr(os, "sched_setaffinity") and devices <= len(mine):
        share = devices // processes
        os.sched_setaffinity(0, mine[number * share : (number + 1) * share])
    jax.config.update("jax_num_cpu_devices", devices // processes)
    if processes > 1:
        jax.distributed.initialize(coordinator, processes, number)
    pool, layout = make_pool(MEETINGS * devices, **EACH, devices=devices)
    mesh = layout.mesh(1, (pool.meta_batch,))
    with jax.set_mesh(mesh):
        arrays, static = eqx.partition(make_state(pool), eqx.is_array)
        arrays = place(jax.tree.map(lambda leaf: leaf[None], arrays), mesh)

        @jax.jit
        def iterate(arrays: Any) -> Any:
            def one(arrays: Any) -> Any:
                state, info = pool.iterate(eqx.combine(arrays, static), layout)
                return eqx.filter(state, eqx.is_array), jnp.mean(info.ego)

            return jax.vmap(one, spmd_axis_name=SEEDS)(arrays)

        return shortest_seconds(lambda: iterate(arrays), repeats=5)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("devices", int), ("processes", int), ("coordinator", str), ("number", int)):
        parser.add_argument(name, type=kind)
    options = parser.parse_args()
    print(_worker(options.devices, options.processes, options.coordinator, options.number))


if __name__ == "__main__":
    _main()
