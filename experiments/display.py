"""What is shown while an experiment runs: a bar on a terminal, a line each minute elsewhere."""

import threading
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

EVERY = 60.0
"""Seconds between lines."""


class Display:
    """A context in which so much work is done.

    **Arguments:**

    - `console`: where it is shown.
    - `figure`: what the work is for.
    - `total`: how much there is.
    """

    def __init__(self, console: Console, figure: str, total: int):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Left(self.left))
        note = TextColumn("{task.fields[note]}")
        self._console = console
        self._bar = Progress(*columns, note, console=console, disable=not console.is_terminal)
        self._figure = figure
        self._total = total
        self._done = 0
        self._resumed: int | None = None
        self._task = self._bar.add_task(figure, total=total, note="")
        self._description = figure
        self._note = ""
        self._started = self._advanced = time.monotonic()
        self._ended = threading.Event()
        self._lines = threading.Thread(target=self._print_lines, daemon=True)

    def begin(self, part: str) -> None:
        """Another part of the work."""
        self._description = f"{self._figure}: {part}"
        self._bar.update(self._task, description=self._description)

    def advance(self, done: int, note: str) -> None:
        """So much more is done."""
        self._done += done
        self._advanced = time.monotonic()
        self._note = note
        self._bar.update(self._task, advance=done, note=note)
        if self._resumed is None:
            self._resumed = self._done  # by an earlier process, or the first piece, which is compiled
            self._started = self._advanced

    def left(self) -> str:
        """How long the rest will take, at the pace until now; nothing before that is known."""
        if self._resumed is None or self._done == self._resumed:
            return ""
        pace = (self._advanced - self._started) / (self._done - self._resumed)
        seconds = pace * (self._total - self._done) - (time.monotonic() - self._advanced)
        return f"{_duration(max(0.0, seconds))} left"

    def line(self) -> str:
        """What is shown where there is no terminal."""
        words = (f"{self._description} {self._done}/{self._total}", self.left(), self._note)
        return ", ".join(filter(None, words))

    def _print_lines(self) -> None:
        while not self._ended.wait(EVERY):
            self._console.print(self.line(), highlight=False, soft_wrap=True)

    def __enter__(self) -> "Display":
        self._bar.__enter__()
        if not self._console.is_terminal:
            self._lines.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)
        self._ended.set()
        if self._lines.is_alive():
            self._lines.join()


class _Left(ProgressColumn):
    """Rich's own is blank where pieces of work take longer than half a minute."""

    def __init__(self, left: Callable[[], str]):
        super().__init__()
        self._left = left

    def render(self, task: Task) -> Text:
        del task
        return Text(self._left(), style="progress.remaining")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
