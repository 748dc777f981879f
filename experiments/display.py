"""What is shown while an experiment runs: a bar on a terminal, a line each minute elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

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
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        note = TextColumn("{task.fields[note]}")
        self._console = console
        self._bar = Progress(*columns, note, console=console, disable=not console.is_terminal)
        self._figure = figure
        self._total = total
        self._done = 0
        self._resumed: int | None = None
        self._task = self._bar.add_task(figure, total=total, note="")
        self._description = figure
        self._started = self._shown = time.monotonic()

    def begin(self, part: str) -> None:
        """Another part of the work."""
        self._description = f"{self._figure}: {part}"
        self._bar.update(self._task, description=self._description)

    def advance(self, done: int, note: str) -> None:
        """So much more is done."""
        self._done += done
        self._bar.update(self._task, advance=done, note=note)
        if self._resumed is None:
            self._resumed = self._done  # by an earlier process, or the first piece, which is compiled
            self._started = time.monotonic()
        elif not self._console.is_terminal and time.monotonic() - self._shown >= EVERY:
            self._shown = time.monotonic()
            self._console.print(self._line(note), highlight=False, soft_wrap=True)

    def _line(self, note: str) -> str:
        words = [f"{self._description} {self._done}/{self._total}"]
        if self._done > (self._resumed or 0):
            pace = (time.monotonic() - self._started) / (self._done - (self._resumed or 0))
            words.append(f"{_duration(pace * (self._total - self._done))} left")
        return ", ".join([*words, *([note] if note else [])])

    def __enter__(self) -> "Display":
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
