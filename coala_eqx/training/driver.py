"""The driver: trains all seeds of a pool at once, resumes from checkpoints, and records measurements."""

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh

from coala_eqx.runs.processes import on_host
from coala_eqx.runs.progress import Progress
from coala_eqx.training.claims import broken_claims
from coala_eqx.training.history import Record, rows
from coala_eqx.training.info import PoolInfo
from coala_eqx.training.layout import SEEDS, Layout, place
from coala_eqx.training.pool import Pool
from coala_eqx.training.state import PoolState

AT_ONCE = 1_000_000
"""Largest number of steps of the game in a piece of work, unless one iteration has more."""

Watch = Callable[[Pool, PoolState], Any]
"""A pure function of a pool and the state of one seed → arrays."""


class Moment(NamedTuple):
    """A new record, with all earlier ones and the state of training."""

    iteration: int
    """Number of iterations so far."""

    history: list[Record]
    """All records so far, ordered by time. At each time there is one for each seed and agent."""

    pool: Pool
    """The pool that is trained."""

    states: PoolState | None
    """The states of all seeds, leaves `[seeds, …]`; `None` if the record was made before the run was interrupted."""


STOP = "stop"
"""The decision of a callback to end training."""

Callback = Callable[[Moment], "Pool | str | None"]
"""A function that is called with each new record. It returns `STOP`, a pool to go on with, or `None`.

When a run resumes from a checkpoint, it is called again with all earlier records, so that it decides as before. Its
decisions must therefore follow from the history alone. `watch` can add to the history.
"""


def watch_nothing(pool: Pool, state: PoolState) -> Any:
    """The default of `watch`: it measures nothing."""
    del pool, state
    return ()


@dataclasses.dataclass(frozen=True)
class Training:
    """A training: the pool, the length, and the devices.

    **Arguments:**

    - `pool`: who meets whom.
    - `states`: the states of all seeds before training, leaves `[seeds, …]`.
    - `iterations`: number of iterations.
    - `every`: number of iterations between records, which are means over them. It must divide `iterations`.
    - `layout`: devices and sizes of the pieces of work.
    - `watch`: a pure function of the pool and the state of one seed, which is called at each record. If it returns a
      dictionary, numbers and arrays `[agents]` in it become columns of the history.
    - `callbacks`: functions that are called with each record.
    - `at_once`: largest number of steps of the game in a piece of work, unless one iteration has more. A run can stop
      between two pieces.

    **Raises** `ValueError` if `every` does not divide `iterations`.
    """

    pool: Pool
    states: PoolState
    iterations: int
    every: int = 10
    layout: Layout = dataclasses.field(default_factory=Layout)
    watch: Watch = watch_nothing
    callbacks: tuple[Callback, ...] = ()
    at_once: int = dataclasses.field(default_factory=lambda: AT_ONCE)

    def __post_init__(self) -> None:
        if self.iterations % self.every:
            raise ValueError(
                f"`iterations` must be a multiple of `every`, but {self.iterations} is not a multiple of {self.every}."
            )

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.states.iteration)

    @property
    def steps_per_iteration(self) -> int:
        """Number of steps of the game in an iteration, for all seeds and agents together."""
        pool = self.pool
        return self.seeds * len(pool.agents) * pool.meta_batch * pool.batch * pool.episodes * pool.steps

    @property
    def piece(self) -> int:
        """Number of iterations in a piece of work. It divides `every`."""
        most = max(1, self.at_once // self.steps_per_iteration)
        return max(number for number in range(1, self.every + 1) if number <= most and self.every % number == 0)

    def mesh(self) -> Mesh:
        """The mesh of the layout's devices."""
        return self.layout.mesh(self.seeds, (self.pool.num_naive, self.pool.num_meta))


@dataclasses.dataclass(frozen=True)
class Programs:
    """The programs that train all seeds at once. Each is traced once, wherever it is called."""

    iterate: Any
    """Arrays of the states → arrays after an iteration, and a `PoolInfo`. Compiled."""
    watch: Any
    """Arrays of the states → measurements of `watch`. Compiled."""
    arrays: Any
    """Arrays of the initial states."""
    static: Any
    """The rest of the states."""


class Kept(NamedTuple):
    """The contents of a checkpoint. The names appear in the paths of its leaves, such as `pool/groups/0/…`."""

    pool: Any
    """The arrays of the states, leaves `[seeds, …]`."""
    sums: Any
    """Sums of the measurements since the last record."""
    seen: Any
    """The records so far: measurements, and those of `watch`, leaves `[seeds, records, …]`."""


def programs_of(training: Training) -> Programs:
    """The programs of a training."""
    pool, layout = training.pool, training.layout
    arrays, static = eqx.partition(training.states, eqx.is_array)

    def of_one_seed(arrays: Any) -> tuple[Any, PoolInfo]:
        state, info = pool.iterate(eqx.combine(arrays, static), layout)
        return eqx.filter(state, eqx.is_array), info

    def watch_one_seed(arrays: Any) -> Any:
        return training.watch(pool, eqx.combine(arrays, static))

    iterate, watch = (
        jax.jit(jax.vmap(one, spmd_axis_name=SEEDS), inline=True) for one in (of_one_seed, watch_one_seed)
    )
    return Programs(iterate, watch, arrays, static)


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of training."""

    states: PoolState
    """The last states, leaves `[seeds, …]`."""

    info: PoolInfo
    """Measurements, averaged over the iterations between records, leaves `[seeds, records, …]`."""

    watched: Any
    """Measurements of `watch`, leaves `[seeds, records, …]`."""

    pool: Pool
    """The pool at the end of training."""

    estimators: tuple[tuple[str, ...], ...]
    """Names of the agents' estimators at each record."""


def run_training(training: Training, progress: Progress) -> Result:
    """Train all seeds in one program, from the last checkpoint if there is one.

    Before training, a message names the estimators that do not keep their claims at the size of the run.
    """
    for line in broken_claims(training.pool):
        progress.say(line)
    with jax.set_mesh(mesh := training.mesh()):
        return _run(training, mesh, progress)


def _run(training: Training, mesh: Mesh, progress: Progress) -> Result:
    programs, every, piece = programs_of(training), training.every, training.piece
    records = training.iterations // every
    infos = jax.eval_shape(programs.iterate, programs.arrays)[1]
    nothing = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), infos)
    seen = jax.tree.map(
        lambda leaf: np.full((leaf.shape[0], records, *leaf.shape[1:]), np.nan, leaf.dtype),
        (nothing, jax.eval_shape(programs.watch, programs.arrays)),
    )
    checkpoint = progress.checkpoint()
    done, (arrays, sums, seen) = checkpoint.load(Kept(programs.arrays, nothing, seen))
    if done % piece:
        raise ValueError(
            f"Another version of this program stopped after {done} iterations, but this one works in pieces of "
            f"{piece}: move the checkpoints of this part away, to start it again."
        )
    arrays, sums, nothing = (place(tree, mesh) for tree in (arrays, sums, nothing))
    deciding = Deciding(training)
    news = deciding.take(seen, range(done // every))
    progress.log(news)
    progress.begin(done)
    some, note = _piece_of(programs, piece), ""
    while done < training.iterations and not deciding.stopped:
        if deciding.changed:
            programs = programs_of(dataclasses.replace(training, pool=deciding.pool))
            some, deciding.changed = _piece_of(programs, piece), False
        began = time.perf_counter()
        arrays, sums = jax.block_until_ready(some(arrays, sums))
        pace = piece * training.steps_per_iteration / (time.perf_counter() - began)
        done += piece
        if not done % every:
            record = done // every - 1
            measured = jax.tree.map(lambda leaf: on_host(leaf) / np.float32(every), sums), programs.watch(arrays)
            for path, leaf in zip(jax.tree.leaves(seen), jax.tree.leaves(measured), strict=True):
                path[:, record] = on_host(leaf)
            progress.log(deciding.take(seen, [record], eqx.combine(arrays, programs.static)))
            note, sums = _rewards(training.pool, measured[0]), nothing
        last = done == training.iterations or deciding.stopped
        checkpoint.save(done, Kept(arrays, sums, seen), always=last)
        progress(piece, f"{note}{pace:.2g} steps/s")
    info, watched = jax.tree.map(lambda leaf: leaf[:, : done // every], seen)
    states = eqx.combine(arrays, programs.static)
    return Result(states, info, watched, deciding.pool, tuple(deciding.estimators))


def _piece_of(programs: Programs, piece: int) -> Any:
    """The program of a piece of work. It adds up measurements from one record to the next."""

    @jax.jit
    def some(arrays: Any, sums: PoolInfo) -> tuple[Any, PoolInfo]:
        def one(carry: tuple[Any, PoolInfo], _: None) -> tuple[tuple[Any, PoolInfo], None]:
            arrays, info = programs.iterate(carry[0])
            return (arrays, jax.tree.map(lambda one, more: one + more.astype(one.dtype), carry[1], info)), None

        return jax.lax.scan(one, (arrays, sums), length=piece)[0]

    return some


class Deciding:
    """The decisions of callbacks. They follow from the records."""

    def __init__(self, training: Training):
        self._training = training
        self._history: list[Record] = []
        self.pool = training.pool
        self.estimators: list[tuple[str, ...]] = []
        self.changed = False
        self.stopped = False

    def take(self, seen: tuple[PoolInfo, Any], numbers: Iterable[int], states: PoolState | None = None) -> list[Record]:
        """Call the callbacks with the records of these numbers, one after the other. **Returns** the records.

        **Raises** `ValueError` if a callback returns anything but a pool, `STOP` or `None`.
        """
        news = []
        for number in numbers:
            record = rows(*seen, self._training.every, [number])
            news += record
            self._history += record
            self.estimators.append(tuple(type(agent.estimator).__name__ for agent in self.pool.agents))
            moment = Moment((number + 1) * self._training.every, self._history, self.pool, states)
            for callback in self._training.callbacks:
                self._heed(callback(moment))
        return news

    def _heed(self, decision: Any) -> None:
        if isinstance(decision, Pool):
            self.pool, self.changed = decision, True
        elif isinstance(decision, str) and decision == STOP:
            self.stopped = True
        elif decision is not None:
            raise ValueError(f"A callback must return a pool to go on with, STOP or None, but returned {decision!r}.")


def _rewards(pool: Pool, info: PoolInfo) -> str:
    """The rewards in words. Each ends with a comma and a space."""
    against = f"reward {np.nanmean(info.ego):.2f}, " if pool.num_naive else ""
    return against + (f"{np.nanmean(info.vs_meta):.2f} together, " if pool.num_meta else "")
