"""A run on disk, while a process works on it."""

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from coala_eqx.runs.directory import Part, Record, RunDirectory, locked
from coala_eqx.runs.meters import AbstractMeter
from coala_eqx.runs.names import check_names, file_name
from coala_eqx.runs.origin import origin
from coala_eqx.runs.processes import agree, first_then_others, is_first
from coala_eqx.runs.progress import INTERVAL, Progress, remove_checkpoints
from coala_eqx.runs.stopping import StopRequest, listening, say
from coala_eqx.runs.writers import AbstractWriter, TensorBoard, WeightsAndBiases, check_for_wandb, run_name


class Run:
    """A run's folder, held by this process: a context in which the parts that are missing are done.

    It locks the folder, listens for signals, notes what makes the records, keeps checkpoints, and writes the records of
    each part when it ends. With several processes all of them must enter it and call its methods; only the first one
    writes.

    **Arguments:**

    - `path`: the folder, made if there is none.
    - `name`: name of the experiment.
    - `settings`: a dataclass; see `RunDirectory`.
    - `parts`: the pieces of the run that can be done, and resumed, on their own.
    - `interval`: least seconds between two checkpoints.
    - `wandb`: project of Weights & Biases in which training is shown, too.
    - `writers`: told the records while the parts are done, beside TensorBoard.
    - `keep_last`: whether the last state of each part stays in the folder. Parts that are done are then read back from
      it by `work`. Otherwise all checkpoints of a part are removed when it is done.

    **Raises** `ValueError` if parts would share files, if another process holds the folder, if it holds another run, or
    if Weights & Biases is asked for and not installed.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        settings: Any,
        parts: Sequence[Part],
        *,
        interval: float = INTERVAL,
        wandb: str | None = None,
        writers: Sequence[AbstractWriter] = (),
        keep_last: bool = False,
    ):
        check_names([part.name for part in parts])
        if wandb is not None:
            check_for_wandb()
        self.path = path
        self.parts = parts
        self.records: list[Record] = []
        self._made_by = name, settings
        self._interval, self._wandb, self._writers, self._keep_last = interval, wandb, writers, keep_last
        self._stack = ExitStack()
        self._request = StopRequest()
        self._directory: RunDirectory | None = None

    def __enter__(self) -> "Run":
        with ExitStack() as stack:

            def take() -> RunDirectory:
                if is_first():
                    stack.enter_context(locked(self.path))
                return RunDirectory(self.path, *self._made_by)

            self._directory = first_then_others(take)
            self.records = self._directory.load()
            if threading.current_thread() is threading.main_thread():  # no other thread is told of signals
                self._request = stack.enter_context(listening())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def directory(self) -> RunDirectory:
        """The files of the folder; **raises** `RuntimeError` outside of the context."""
        if self._directory is None:
            raise RuntimeError("A run is a context: `with Run(…) as run:`.")
        return self._directory

    @property
    def missing(self) -> list[Part]:
        """The parts that have no records yet."""
        return [part for part in self.parts if not self.is_done(part)]

    def is_done(self, part: Part) -> bool:
        """Whether a part has its records."""
        return any(record["part"] == part.name for record in self.records)

    def work(self, meter: AbstractMeter, command: Sequence[str], layout: str | None = None) -> None:
        """Do the parts that are missing, one after the other.

        **Arguments:**

        - `meter`: shows the progress.
        - `command`: noted as what made the records.
        - `layout`: devices and sizes of the pieces of work, noted beside it. If an earlier process had another layout,
          that is said: results are then the same to rounding only.

        **Raises** `Stopped` if a signal asks for it, with everything kept.
        """
        agree(len(self.records), "records")
        left = self.missing
        if is_first():
            self._tidy()
            if left:
                self._note(command, layout)
        began = time.perf_counter()
        try:
            for part in self.parts if self._keep_last else left:
                self._do(part, meter)
        finally:
            if left and is_first():
                self.directory.end(time.perf_counter() - began)

    def _tidy(self) -> None:
        """Remove checkpoints of parts that are done: a process may have been killed before it did that."""
        for part in self.parts:
            if self.is_done(part) and not self._keep_last:
                remove_checkpoints(self.path, part.name)

    def _note(self, command: Sequence[str], layout: str | None) -> None:
        noted = {} if layout is None else {"layout": layout}
        if (before := self.directory.latest().get("layout", layout)) != layout:
            say(f"Begun on {before}, it goes on on {layout}: the same to rounding, not to the bit.")
        self.directory.begin(origin(command) | noted)

    def _do(self, part: Part, meter: AbstractMeter) -> None:
        meter.begin(part.name)
        progress = self._progress(part, meter)
        records = [{"part": part.name, **record} for record in part.run(progress)]
        if not self.is_done(part):
            self.records += records
            self.directory.save(self.records)
        progress.end(keep_last=self._keep_last)
        self._request.look()
        self._request.obey()

    def _progress(self, part: Part, meter: AbstractMeter) -> Progress:
        writers = [TensorBoard(self.path / "tensorboard" / file_name(part.name)), *self._writers]
        if self._wandb is not None and is_first():
            name = run_name(self.path, part.name)
            writers.append(WeightsAndBiases(self._wandb, name, self.directory.made_by))
        progress = Progress(
            meter.advance, self.path, part.name, writers=writers, request=self._request, interval=self._interval
        )
        self._stack.callback(progress.close)
        return progress
