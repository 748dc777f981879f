"""Several processes that run one experiment together, each with devices of its own."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from coala_eqx.training.checkpoints import by_the_first
from coala_eqx.training.scaling import cores

Result = TypeVar("Result")


def use_all_cores() -> None:
    """Let each core of a CPU be a device, unless JAX is in use already, or it was said how many there are to be."""
    if jax.config.values["jax_num_cpu_devices"] < 0:
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", len(cores()))


def join(coordinator: str | None, processes: int | None, process: int | None, devices: int | None) -> None:
    """Find the others, before JAX is used for anything else; without arguments as the cluster's manager says.

    **Arguments:**

    - `coordinator`: `HOST:PORT` of the first process.
    - `processes`, `process`: how many there are, and which one this is.
    - `devices`: how many all of them are to use, if they have no accelerators; one each by default.

    **Raises** `ValueError` for numbers that do not fit each other.
    """
    given = (coordinator, processes, process)
    if given != (None,) * 3:
        if coordinator is None or processes is None or process is None:
            raise ValueError("--coordinator, --processes and --process must be given together.")
        if not re.fullmatch(r".+:\d+", coordinator):
            raise ValueError(f"--coordinator must be HOST:PORT, such as 10.0.0.1:1234, but is {coordinator!r}.")
        if processes < 1:
            raise ValueError(f"--processes must be at least 1, but is {processes}.")
        if not 0 <= process < processes:
            raise ValueError(f"--process must lie between 0 and {processes - 1}, but is {process}.")
        if devices and devices % processes:
            raise ValueError(f"--devices must be a multiple of --processes, but is {devices}.")
        jax.config.update("jax_num_cpu_devices", (devices or processes) // processes)
    try:
        jax.distributed.initialize(*given)
    except ValueError as error:
        if given != (None,) * 3:
            raise
        raise ValueError(
            "--cluster finds no manager of a cluster, such as Slurm, that says which processes there are: give "
            f"--coordinator, --processes and --process. ({error})"
        ) from error
    jax.devices()  # from now on there are as many as there are


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def largest(number: int) -> int:
    """Of all processes, which must all call it."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.asarray(number))))


def agree(number: int, what: str) -> None:
    """**Raises** `ValueError` in all processes, which must all call it, if they have different numbers."""
    most, least = largest(number), -largest(-number)
    if most != least:
        raise ValueError(
            f"The processes see different {what}, up to {most} and {least}: give them the same folder, on a disk that "
            "they share."
        )


def first_then_others(action: Callable[[], Result]) -> Result:
    """What the action returns: the first process does it before the others.

    **Raises** what it raises; in the others `ValueError` if it fails in the first one.
    """
    done = by_the_first(lambda: [action()], [], ValueError)
    return done[0] if is_first() else action()
