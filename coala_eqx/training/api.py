"""Training of a pool from one call: in memory, or as a run on disk that can be watched, killed and resumed."""

import dataclasses
import functools
import hashlib
import sys
import threading
import types
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Key

from coala_eqx._checks import check_at_least, check_whole
from coala_eqx.policies import AbstractPolicy
from coala_eqx.runs.agents import write_agents
from coala_eqx.runs.directory import RunDirectory, locked, table_of
from coala_eqx.runs.meters import AbstractMeter
from coala_eqx.runs.origin import origin
from coala_eqx.runs.processes import is_first
from coala_eqx.runs.progress import INTERVAL, Progress
from coala_eqx.runs.stopping import listening
from coala_eqx.runs.writers import AbstractWriter, TensorBoard
from coala_eqx.training.driver import Callback, Training, Watch, run_training, watch_nothing
from coala_eqx.training.history import Record, rows
from coala_eqx.training.info import PoolInfo
from coala_eqx.training.layout import Layout
from coala_eqx.training.plan import fitting_layout
from coala_eqx.training.play import by_agent
from coala_eqx.training.pool import Pool
from coala_eqx.training.recordings import recordings
from coala_eqx.training.state import PoolState, members

if TYPE_CHECKING:
    import polars as pl

_DEEP = 12
"""Levels of containers and closures in which constants are looked for."""

NAME = "training"
"""The part's name in a run that `train` makes."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """The result of training."""

    pool: Pool

    states: PoolState
    """The last states, leaves `[seeds, …]`."""

    info: PoolInfo
    """Measurements, means between records, leaves `[seeds, records, …]`."""

    watched: Any
    """What `watch` measured, of the same axes."""

    every: int
    """Iterations from one record to the next."""

    alone: bool
    """Whether one seed was trained, without an axis of seeds."""

    @property
    def state(self) -> PoolState:
        """The last state; leaves `[seeds, …]` if `seeds` was given."""
        return members(self.states, 0) if self.alone else self.states

    @property
    def agents(self) -> tuple[AbstractPolicy, ...]:
        """The agents' policies; leaves `[seeds, …]` if `seeds` was given."""
        agents = by_agent(self.pool, self.states.groups)
        return tuple(members(agent, 0) for agent in agents) if self.alone else agents

    @property
    def records(self) -> list[Record]:
        """Rewards per step and other measurements, one record for each seed, agent and time."""
        names = [type(agent.estimator).__name__ for agent in self.pool.agents]
        found = rows(self.info, self.watched, self.every, range(self.info.vs_meta.shape[1]))
        return [record | {"estimator": names[record["agent"]]} for record in found]

    @property
    def history(self) -> "pl.DataFrame":
        """The records as a data frame of polars."""
        return table_of(self.records)


@dataclasses.dataclass(frozen=True)
class Description:
    """The settings of a run that `train` makes, as its folder notes them."""

    pool: str
    numbers: str
    """Checksum of the pool's arrays, and of constants that its functions close over, such as learning rates."""

    key: tuple[int, ...]
    iterations: int
    every: int
    seeds: int | None


def train(
    pool: Pool,
    *,
    key: Key[Array, ""],
    iterations: int,
    every: int = 10,
    run: str | Path | None = None,
    seeds: int | None = None,
    layout: Layout | None = None,
    watch: Watch = watch_nothing,
    callbacks: Sequence[Callback] = (),
    meter: AbstractMeter | None = None,
    writers: Sequence[AbstractWriter] = (),
    checkpoint_seconds: float = INTERVAL,
) -> Trained:
    """Train the agents of a pool.

    **Arguments:**

    - `pool`: who meets whom.
    - `key`: source of all random numbers.
    - `iterations`: number of iterations.
    - `every`: iterations between records, which are means over them; it divides `iterations`.
    - `run`: folder of the run, made if there is none: checkpoints, records (`records.parquet`), event files for
      TensorBoard, agents (`coala_eqx.runs.load_agents`), and what made them. The same call goes on where a run was
      killed or stopped, with the same bits on the same devices. `None` keeps nothing on disk.
    - `seeds`: number of seeds that are trained in one program; one, without an axis for it, unless given.
    - `layout`: devices and sizes of the pieces of work; unless given, chosen for the machine.
    - `watch`: a pure function of the pool and the state of one seed, called whenever there is a record. If it returns a
      dictionary, numbers and arrays `[agents]` in it become columns of the history.
    - `callbacks`: called with each record (`Callback`); they can end training, or change the pool.
    - `meter`: told of progress; unless given, a bar on a terminal, and a line a minute elsewhere. `Silent()` shows
      nothing.
    - `writers`: told the records while training goes on, beside TensorBoard.
    - `checkpoint_seconds`: least time between two checkpoints.

    **Returns** a `Trained`: `state`, `agents`, `history`.

    **Raises** `ValueError` for settings that do not fit each other, or a folder that holds another run;
    `coala_eqx.runs.Stopped` if a run is asked to stop by a signal, with everything kept.
    """
    check_whole("iterations", iterations, 1)
    check_whole("every", every, 1)
    check_at_least("checkpoint_seconds", checkpoint_seconds, 0)
    if seeds is not None:
        check_whole("seeds", seeds, 1)
    keys = key[None] if seeds is None else jax.random.split(key, seeds)
    states = eqx.filter_jit(eqx.filter_vmap(pool.init))(keys)
    if layout is None:
        width = max(getattr(policy, "width", 32) for policy in states.groups)
        layout = fitting_layout(pool, len(states.iteration), width)
    training = Training(pool, states, iterations, every, layout, watch, tuple(callbacks))
    with ExitStack() as stack:
        meter = stack.enter_context(meter or _display(iterations))
        if run is None:
            progress = Progress(meter.advance, writers=writers)
            stack.callback(progress.close)
            return Trained(pool, *run_training(training, progress), every, seeds is None)
        described = Description(*_described(pool), _numbers(key), iterations, every, seeds)
        return _on_disk(training, Path(run), described, meter, writers, checkpoint_seconds, stack)


def _display(iterations: int) -> AbstractMeter:
    from rich.console import Console  # noqa: PLC0415 (slow to import)

    from coala_eqx.runs.display import Display  # noqa: PLC0415

    return Display(Console(stderr=True, quiet=not is_first()), NAME, iterations)


def _on_disk(
    training: Training,
    path: Path,
    described: Description,
    meter: AbstractMeter,
    writers: Sequence[AbstractWriter],
    interval: float,
    stack: ExitStack,
) -> Trained:
    if is_first():
        stack.enter_context(locked(path))
    directory = RunDirectory(path, NAME, described)
    request = None
    if threading.current_thread() is threading.main_thread():  # signals come to no other
        request = stack.enter_context(listening())
    board = TensorBoard(path / "tensorboard" / NAME)
    progress = Progress(meter.advance, path, NAME, writers=[board, *writers], request=request, interval=interval)
    stack.callback(progress.close)
    if is_first():
        directory.begin(
            origin([Path(sys.argv[0]).name, *sys.argv[1:]]) | {"layout": training.layout.in_words(training.seeds)}
        )
    trained = Trained(training.pool, *run_training(training, progress), training.every, described.seeds is None)
    if is_first():
        directory.save([{"part": NAME, **record} for record in trained.records])
        write_agents(path, NAME, trained.agents)
    for against, recording in recordings(training.pool, trained.states, training.layout).items():
        progress.keep_recording(against, recording)
    return trained


def _described(pool: Pool) -> tuple[str, str]:
    digest = hashlib.sha256()
    leaves, structure = jax.tree.flatten(pool)
    for leaf in leaves:
        digest.update(np.asarray(leaf).tobytes() if eqx.is_array(leaf) else repr(_constants(leaf)).encode())
    parts = [agent.algorithm for agent in pool.agents] + [agent.policy for agent in pool.agents]
    parts += [pool.naive.learner, pool.naive.policy, structure.num_leaves]
    digest.update(repr([_constants(part) for part in parts]).encode())
    return eqx.tree_pformat(pool, width=1_000_000), digest.hexdigest()[:16]


def _constants(value: Any, depth: int = 0) -> list[Any]:
    """Numbers and names in a module, a container, or what a function closes over."""
    if depth > _DEEP or value is None or isinstance(value, bool | int | float | str):
        return [] if depth > _DEEP or value is None else [value]
    if isinstance(value, np.ndarray | jax.Array):
        return [str(value.dtype), *np.asarray(value).ravel().tolist()[:1000]]
    if isinstance(value, functools.partial):
        inner = [value.func, *value.args, *value.keywords.items()]
    elif isinstance(value, tuple | list):
        inner = [*value]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    elif isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if not _is_empty(cell)]
        inner = [value.__qualname__, *(value.__defaults__ or ()), *cells]
    else:
        inner = [type(value).__qualname__]
    return [constant for one in inner for constant in _constants(one, depth + 1)]


def _is_empty(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False


def _numbers(key: Key[Array, ""]) -> tuple[int, ...]:
    return tuple(np.asarray(jax.random.key_data(key)).ravel().tolist())
