"""Several processes that share a run, each with its own devices."""

import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

Result = TypeVar("Result")


def use_all_cores() -> None:
    """Make each core of a CPU a device, unless JAX is in use already, or a number of devices was set."""
    if jax.config.values["jax_num_cpu_devices"] < 0:
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", len(cores()))


def join(coordinator: str | None, processes: int | None, process: int | None, devices: int | None) -> None:
    """Join the other processes, before JAX is used for anything else.

    **Arguments:**

    - `coordinator`: `HOST:PORT` of the first process. Without arguments the cluster's manager is asked.
    - `processes`, `process`: the number of processes, and the number of this one.
    - `devices`: the number of devices of all processes, if they have no accelerators; one each by default.

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
    """The largest number that a process gives. All processes must call it."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.asarray(number))))


def agree(number: int, what: str) -> None:
    """**Raises** `ValueError` if processes give different numbers. All processes must call it."""
    most, least = largest(number), -largest(-number)
    if most != least:
        raise ValueError(
            f"The processes see different {what}, up to {most} and {least}: give them the same folder, on a disk that "
            "they share."
        )


def by_the_first(action: Callable[[], Result], otherwise: Result, kind: type[Exception]) -> Result:
    """Let the first process act. All processes must call it.

    **Returns** the result of the action in the first process, and `otherwise` in the others.

    **Raises** the action's error in the first process, and `kind` in the others.
    """
    result, error = otherwise, None
    if jax.process_index() == 0:
        try:
            result = action()
        except Exception as raised:  # the others are to be told, whatever it is
            error = raised
    failed = jax.process_count() > 1 and multihost_utils.broadcast_one_to_all(np.asarray(error is not None))
    if error is not None:
        raise error
    if failed:
        raise kind("The first process could not do it; it says why.")
    return result


def first_then_others(action: Callable[[], Result]) -> Result:
    """Let the first process act, and then the others. All processes must call it.

    **Raises** the action's error; in the others `ValueError` if it fails in the first one.
    """
    done = by_the_first(lambda: [action()], [], ValueError)
    return done[0] if is_first() else action()


def on_host(leaf: Any) -> Any:
    """The whole array as NumPy's, in every process. All processes must call it. Typed keys become their numbers."""
    if is_key(leaf):
        leaf = jax.random.key_data(leaf)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        leaf = multihost_utils.process_allgather(leaf, tiled=True)
    return np.asarray(leaf)


def as_local(leaf: Any) -> Any:
    """The whole array as one of this process alone, in every process. All processes must call it.

    Typed keys stay typed keys. A leaf that is no array is returned as it is.
    """
    if not isinstance(leaf, jax.Array | np.ndarray):
        return leaf
    values = jnp.asarray(on_host(leaf))
    return jax.random.wrap_key_data(values, impl=jax.random.key_impl(leaf)) if is_key(leaf) else values


def is_key(leaf: Any) -> bool:
    """Whether a leaf is an array of typed keys."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def free_port() -> int:
    """A port on which processes of this machine can meet."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]
