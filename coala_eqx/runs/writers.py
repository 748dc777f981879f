"""Writers: they pass the records of training on to programs that draw them meanwhile."""

import abc
import importlib
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from coala_eqx.runs import files
from coala_eqx.runs.names import file_name

TAGS = ("seed", "agent", "iteration")
"""Columns of a record that name its seed, agent and time."""


class AbstractWriter(abc.ABC):
    """Receives the records of one part of a run. If the part is resumed, it receives all of them again."""

    @abc.abstractmethod
    def log(self, records: Sequence[dict[str, Any]]) -> None:
        """Receive more records, in the order of iterations."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close: there are no more records."""


def scalars(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a record, by name."""
    for name, value in record.items():
        if name not in TAGS:
            yield f"agent {record['agent']}/{name}", value


class TensorBoard(AbstractWriter):
    """One event file for each seed: `FOLDER/seed-SEED/events.out.tfevents.training`.

    Every process writes it anew, so that a run that was interrupted leaves the same file. The time of an event is its
    iteration.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._writers: dict[int, Any] = {}

    def log(self, records: Sequence[dict[str, Any]]) -> None:
        for record in records:
            values = [{"tag": tag, "simple_value": value} for tag, value in scalars(record)]
            step = record["iteration"]
            self._write(record["seed"], wall_time=step, step=step, summary={"value": values})
        for writer in self._writers.values():
            writer.flush()

    def _write(self, seed: int, **event: Any) -> None:
        event_pb2 = importlib.import_module("tensorboardX.proto.event_pb2")  # here, as it is slow
        record_writer = importlib.import_module("tensorboardX.record_writer")
        if seed not in self._writers:
            folder = self._folder / f"seed-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            self._writers[seed] = record_writer.RecordWriter(str(folder / "events.out.tfevents.training"))
            self._write(seed, wall_time=0, file_version="brain.Event:2")
        self._writers[seed].write(event_pb2.Event(**event).SerializeToString())

    def close(self) -> None:
        with ExitStack() as stack:  # all of them, if one cannot be written, too
            for writer in self._writers.values():
                stack.callback(writer.close)
            self._writers.clear()


def check_for_wandb() -> None:
    """**Raises** `ValueError` if Weights & Biases is not installed."""
    try:
        importlib.import_module("wandb")
    except ImportError as error:
        raise ValueError("Weights & Biases is not installed: pip install wandb.") from error


def run_name(path: Path, part: str) -> str:
    """The name of a part in Weights & Biases. It begins with the folder's name there, which is drawn once."""
    file = path / "wandb.txt"
    if not file.exists():
        drawn = f"{path.resolve().name}-{uuid.uuid4().hex[:8]}\n"
        files.write(file, lambda new: new.write_text(drawn, encoding="utf-8"))
    return f"{file.read_text(encoding='utf-8').strip()}-{file_name(part)}"


class WeightsAndBiases(AbstractWriter):
    """A run of Weights & Biases for all seeds of a part.

    **Arguments:**

    - `project`: name of the project.
    - `name`: name of the run, under which it is also resumed.
    - `settings`: shown with the run.

    **Raises** `ValueError` if `wandb` is not installed, or cannot begin; later `OSError` if it cannot go on.
    """

    def __init__(self, project: str, name: str, settings: dict[str, Any]):
        check_for_wandb()
        wandb = importlib.import_module("wandb")
        self._error = wandb.errors.Error
        try:
            self._run = wandb.init(project=project, name=name, id=name, resume="allow", config=settings)
        except wandb.errors.Error as error:
            message = f"Weights & Biases cannot begin ({error}): run `wandb login`, or leave `wandb` out."
            raise ValueError(message) from error
        self._next = self._run.step  # 0 of a new run; of one that is resumed, the first that it has not seen

    def log(self, records: Sequence[dict[str, Any]]) -> None:
        steps: dict[int, dict[str, float]] = {}
        for record in records:
            named = {f"seed {record['seed']}, {tag}": value for tag, value in scalars(record)}
            steps.setdefault(record["iteration"], {}).update(named)
        with self._as_os_error():
            for step, values in steps.items():
                if step >= self._next:  # what was told before is not taken again
                    self._run.log(values, step=step)

    def close(self) -> None:
        with self._as_os_error():
            self._run.finish()

    @contextmanager
    def _as_os_error(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            raise OSError(str(error)) from error
