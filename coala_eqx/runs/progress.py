"""The progress of a part of a run: its display, its checkpoints, its results."""

import dataclasses
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from coala_eqx.runs import files
from coala_eqx.runs.agents import write_agents
from coala_eqx.runs.checkpoints import Checkpoints
from coala_eqx.runs.names import checkpoint_name, file_name
from coala_eqx.runs.processes import as_local, is_first, largest
from coala_eqx.runs.recordings import Recording
from coala_eqx.runs.stopping import StopRequest, say

if TYPE_CHECKING:
    from coala_eqx.runs.writers import AbstractWriter

INTERVAL = 10.0
"""Least seconds between two checkpoints."""

COMPILING = "compiling"
"""The end of a note if a program is compiled next."""


def remove_checkpoints(folder: Path, part: str) -> None:
    """Remove the checkpoints of a part that is done."""
    name = re.compile(re.escape(checkpoint_name(part, "")) + r"\d+")
    for states in list(folder.iterdir()):
        if name.fullmatch(states.name):
            shutil.rmtree(states, ignore_errors=True)


class Progress:
    """The progress of one part of a run.

    **Arguments:**

    - `advance`: told how much more of the work is done, with a note.
    - `folder`: the run's folder, for checkpoints, agents and recordings. `None` keeps nothing.
    - `part`: name of the part.
    - `writers`: told the records of training.
    - `request`: a request to stop, which is looked at after each piece of work.
    - `interval`: least seconds between two checkpoints.
    """

    def __init__(
        self,
        advance: Callable[[int, str], object] | None = None,
        folder: Path | None = None,
        part: str = "",
        *,
        writers: Sequence["AbstractWriter"] = (),
        request: StopRequest | None = None,
        interval: float = INTERVAL,
    ):
        self.advance = advance
        self.folder = folder
        self.name = part
        self.part = file_name(part)
        self.writers = writers if is_first() else ()
        self.request = StopRequest() if request is None else request
        self.interval = interval
        self._checkpoints: list[Checkpoint] = []
        self._compiles = True  # whatever a part does first

    def __call__(self, done: int, note: str = "") -> None:
        """Take in that so much more is done.

        **Raises** `Stopped` if a signal has asked for it and the state is kept. A part without checkpoints ends first.
        """
        if self.advance is not None:
            self.advance(done, note)
        self.request.piece_ends(counts=not self._compiles)
        self._compiles = note.endswith(COMPILING)
        self.request.obey()

    def begin(self, done: int, what: str = "iteration") -> None:
        """Begin, after so much was done by an earlier process. The next piece of work is compiled first."""
        self(done, f"resumed at {what} {done}, {COMPILING}" if done else COMPILING)

    def checkpoint(self) -> "Checkpoint":
        """The checkpoint of the next piece of work. Pieces are numbered in the order in which they ask."""
        number = len(self._checkpoints) + 1
        folder = None if self.folder is None else self.folder / checkpoint_name(self.part, number)
        self._checkpoints.append(Checkpoint(folder, self.interval, self.request))
        return self._checkpoints[-1]

    def keep(self, agents: tuple[Any, ...]) -> None:
        """Write trained agents to `agents-PART.tree`, at once or not at all. All processes must call it."""
        if self.folder is not None:
            write_agents(self.folder, self.part, jax.tree.map(as_local, agents))

    def keep_recording(self, against: str, recording: Recording) -> None:
        """Write a recording, which `coala-eqx show` draws, to `meta-episode-PART-AGAINST.npz`."""
        if self.folder is not None:
            named = dataclasses.replace(recording, cast=dataclasses.replace(recording.cast, part=self.name))
            files.write(self.folder / f"meta-episode-{self.part}-{against}.npz", named.save)

    def log(self, records: Sequence[dict[str, Any]]) -> None:
        """Tell writers more records. A process that resumes tells all that there are so far."""
        self._tell(lambda writer: writer.log(records))

    def say(self, words: str) -> None:
        """Print a line for whoever watches the run."""
        if is_first():
            say(words)

    def end(self, *, keep_last: bool = False) -> None:
        """Remove the part's checkpoints, or all but the last: its records are written."""
        self.close()
        for checkpoint in self._checkpoints:
            checkpoint.remove(but_the_last=keep_last)

    def close(self) -> None:
        """Close the writers: the part has ended, or the run has been stopped."""
        self._tell(lambda writer: writer.close())
        self.writers = ()

    def _tell(self, what: Callable[["AbstractWriter"], None]) -> None:
        """Tell all writers. One that cannot write is closed, and not told again."""
        for writer in self.writers:
            try:
                what(writer)
            except OSError as error:
                self.writers = [other for other in self.writers if other is not writer]
                with suppress(OSError):
                    writer.close()
                name = type(writer).__name__
                print(f"coala_eqx: {name}: {error} The run goes on without it.", file=sys.stderr)


class Checkpoint:
    """The checkpoint of one piece of work: how much is done, and a pytree of arrays.

    If a state cannot be written, as when the disk is full, that is reported. The work goes on, and earlier states stay.
    """

    def __init__(self, folder: Path | None, interval: float, request: StopRequest):
        self._states = None if folder is None else Checkpoints(folder)
        self._interval = interval
        self._request = request
        self._saved = time.monotonic()
        self._last = -1

    def load(self, like: Any) -> tuple[int, Any]:
        """Load how much was done, and the state then, as `Checkpoints.load` does."""
        if self._states is None:
            return 0, like
        self._last, state = self._states.load(like)
        return self._last, state

    def save(self, done: int, state: Any, always: bool = False) -> None:
        """Keep a state. Soon after the last one it does nothing, unless `always` is set or the run is to stop."""
        at_once = self._request.look() or always
        if self._states is None or done == self._last or not (at_once or self._due()):
            return
        self._request.lost = True
        with _reported():
            self._states.save(done, state)
            if at_once:
                self._states.wait()
            self._last = done
            self._request.lost = False
        self._saved = time.monotonic()

    def _due(self) -> bool:
        """Whether the last state was kept long enough ago, by the clock of one of the processes."""
        return bool(largest(time.monotonic() - self._saved >= self._interval))

    def remove(self, *, but_the_last: bool = False) -> None:
        """Remove what is kept, or all but the last state."""
        if self._states is not None:
            with _reported():
                self._states.wait()
            self._states.remove(but_the_last=but_the_last)


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_first():
            print(f"coala_eqx: {error} The run goes on; checkpoints before it are kept.", file=sys.stderr)
