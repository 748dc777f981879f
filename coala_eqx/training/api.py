"""Training of a pool by one call: in memory, or as a run on disk that can be watched, killed and resumed."""

import dataclasses
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
from jaxtyping import Array, Key

from coala_eqx._checks import check_at_least, check_whole
from coala_eqx.policies import AbstractPolicy
from coala_eqx.runs.description import describe_module, key_numbers
from coala_eqx.runs.directory import Part, table_of
from coala_eqx.runs.meters import AbstractMeter
from coala_eqx.runs.processes import is_first
from coala_eqx.runs.progress import INTERVAL, Progress
from coala_eqx.runs.run import Run
from coala_eqx.runs.trees import describe_tree
from coala_eqx.runs.writers import AbstractWriter
from coala_eqx.training.driver import Callback, Result, Training, Watch, run_training, watch_nothing
from coala_eqx.training.history import Record, rows
from coala_eqx.training.info import PoolInfo
from coala_eqx.training.layout import Layout
from coala_eqx.training.plan import fitting_layout
from coala_eqx.training.play import by_agent
from coala_eqx.training.pool import Pool
from coala_eqx.training.recordings import keep_results
from coala_eqx.training.state import PoolState, members

if TYPE_CHECKING:
    import polars as pl

NAME = "training"
"""Name of the only part of a run that `train` makes."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """The result of training."""

    pool: Pool
    """The pool at the end of training. Callbacks may have changed it."""

    states: PoolState
    """The last states, leaves `[seeds, …]`."""

    info: PoolInfo
    """Measurements, averaged over the iterations between records, leaves `[seeds, records, …]`."""

    watched: Any
    """Measurements of `watch`, leaves `[seeds, records, …]`."""

    estimators: tuple[tuple[str, ...], ...]
    """Names of the agents' estimators at each record."""

    every: int
    """Number of iterations from one record to the next."""

    alone: bool
    """Whether `seeds` was not given. Then `state` and `agents` have no axis of seeds."""

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
        """Rewards per step and other measurements: one record for each seed, agent and time."""
        found = rows(self.info, self.watched, self.every, range(self.info.vs_meta.shape[1]))
        return [
            record | {"estimator": self.estimators[record["iteration"] // self.every - 1][record["agent"]]}
            for record in found
        ]

    @property
    def history(self) -> "pl.DataFrame":
        """The records as a data frame of polars."""
        return table_of(self.records)


@dataclasses.dataclass(frozen=True)
class Description:
    """The settings that a run of `train` notes in its folder."""

    pool: str
    """The pool in words."""

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
    wandb: str | None = None,
    checkpoint_seconds: float = INTERVAL,
) -> Trained:
    """Train the agents of a pool.

    **Arguments:**

    - `pool`: who meets whom.
    - `key`: source of all random numbers.
    - `iterations`: number of iterations.
    - `every`: number of iterations between records, which are means over them. It must divide `iterations`.
    - `run`: folder of the run, which is made if it does not exist. It receives checkpoints, records
      (`records.parquet`), event files for TensorBoard, agents (`coala_eqx.runs.load_agents`), recordings (`coala-eqx
      show`) and their origin. The same call resumes a run that was killed or stopped, with the same bits on the same
      devices. The last state of a finished run is kept, and the same call returns its result. `None` keeps nothing on
      disk.
    - `seeds`: number of seeds that are trained in one program. By default one seed is trained, and states and agents
      have no axis of seeds.
    - `layout`: devices and sizes of the pieces of work. By default they are chosen for the machine.
    - `watch`: a pure function of the pool and the state of one seed, which is called at each record. If it returns a
      dictionary, numbers and arrays `[agents]` in it become columns of the history.
    - `callbacks`: functions that are called with each record (`Callback`). They can end training or change the pool.
    - `meter`: shows progress. By default it is a bar on a terminal, and a line a minute elsewhere. `Silent()` shows
      nothing.
    - `writers`: further writers, which receive the records during training, as TensorBoard's does.
    - `wandb`: project of Weights & Biases that also shows training. It needs `run`.
    - `checkpoint_seconds`: least time between two checkpoints, in seconds.

    **Returns** a `Trained`, with `state`, `agents` and `history`.

    **Raises** `ValueError` for settings that do not fit each other, for a folder that holds another run, such as one of
    more iterations, or for agents that cannot be kept in it; `coala_eqx.runs.Stopped` if a signal asks a run to stop,
    after everything is kept.
    """
    check_whole("iterations", iterations, 1)
    check_whole("every", every, 1)
    check_at_least("checkpoint_seconds", checkpoint_seconds, 0)
    if seeds is not None:
        check_whole("seeds", seeds, 1)
    if wandb is not None and run is None:
        raise ValueError(
            f"`wandb` = {wandb!r} needs a folder, which keeps the name of the run in Weights & Biases: give `run`, or "
            "`writers=[coala_eqx.runs.WeightsAndBiases(…)]` with a name."
        )
    keys = key[None] if seeds is None else jax.random.split(key, seeds)
    states = eqx.filter_jit(eqx.filter_vmap(pool.init))(keys)
    if layout is None:
        width = max(getattr(policy, "width", 32) for policy in states.groups)
        layout = fitting_layout(pool, len(states.iteration), width)
    training = Training(pool, states, iterations, every, layout, watch, tuple(callbacks))
    with ExitStack() as stack:
        meter = stack.enter_context(meter or _display("memory" if run is None else Path(run).name, iterations))
        if run is None:
            progress = Progress(meter.advance, writers=writers)
            stack.callback(progress.close)
            return _trained(run_training(training, progress), training, alone=seeds is None)
        describe_tree("agents", by_agent(pool, states.groups))  # raises if they cannot be written at the end
        described = Description(*describe_pool(pool), key_numbers(key), iterations, every, seeds)
        options = {"interval": checkpoint_seconds, "writers": writers, "wandb": wandb}
        return _on_disk(training, Path(run), described, meter, **options)


def _trained(result: Result, training: Training, *, alone: bool) -> Trained:
    seen = result.states, result.info, result.watched, result.estimators
    return Trained(result.pool, *seen, training.every, alone)


def _display(name: str, iterations: int) -> AbstractMeter:
    from rich.console import Console  # noqa: PLC0415 (slow to import)

    from coala_eqx.runs.display import Display  # noqa: PLC0415

    return Display(Console(stderr=True, quiet=not is_first()), name, iterations)


def _on_disk(training: Training, path: Path, described: Description, meter: AbstractMeter, **options: Any) -> Trained:
    found: list[Trained] = []

    def work(progress: Progress) -> list[Record]:
        trained = _trained(run_training(training, progress), training, alone=described.seeds is None)
        found.append(trained)
        if not run.is_done(part):
            keep_results(trained.pool, trained.states, training.layout, progress, trained.agents)
        return trained.records

    part = Part(NAME, training.iterations, work)
    with Run(path, NAME, described, [part], keep_last=True, **options) as run:
        command = [Path(sys.argv[0]).name, *sys.argv[1:]]
        run.work(meter, command, training.layout.in_words(training.seeds))
    return found[0]


def describe_pool(pool: Pool) -> tuple[str, str]:
    """A pool in words, and the checksum of its numbers."""
    parts = [agent.algorithm for agent in pool.agents] + [agent.policy for agent in pool.agents]
    return describe_module(pool, [pool.game, *parts, pool.naive.learner, pool.naive.policy])
