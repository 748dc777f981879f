"""The display of a run's progress: a bar on a terminal, a line each minute elsewhere."""

import threading
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from coala_eqx.runs.meters import AbstractMeter
from coala_eqx.runs.progress import COMPILING

EVERY = 60.0
"""Seconds between lines."""


class Display(AbstractMeter):
    """A bar on a terminal, and a line a minute elsewhere.

    **Arguments:**

    - `console`: the output.
    - `figure`: name of the run.
    - `total`: amount of all work.
    """

    def __init__(self, console: Console, figure: str, total: int):
        def narrow(least: int = 0) -> Column:
            """A column that loses its end where it is too wide, but keeps `least` characters."""
            return Column(no_wrap=True, min_width=least)

        columns = (
            TextColumn("{task.description}", table_column=narrow()),
            BarColumn(bar_width=None, table_column=Column(max_width=40)),  # gets what the others leave
            MofNCompleteColumn(table_column=narrow(2 * len(str(total)) + 1)),
            _Left(self.left, narrow(len("23:59:59 left"))),
            TextColumn("{task.fields[note]}", table_column=narrow()),
        )
        self._console = console
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._figure = figure
        self._total = total
        self._done = 0
        self._task = self._bar.add_task(figure, total=total, note="")
        self._description = figure
        self._note = ""
        self._counted, self._seconds = 0, 0.0
        self._counts = False
        self._advanced = time.monotonic()
        self._ended = threading.Event()
        self._lines = threading.Thread(target=self._print_lines, daemon=True)

    def begin(self, part: str) -> None:
        """Begin another part of the work."""
        self._description, self._note = f"{self._figure}: {part}", ""
        self._counts, self._advanced = self._done > 0, time.monotonic()
        self._bar.update(self._task, description=self._description, note="")

    def advance(self, done: int, note: str) -> None:
        """Take in that so much more is done.

        Work that was compiled first, or done by an earlier process, does not count for the pace.
        """
        now, compiling = time.monotonic(), note.endswith(COMPILING)
        if self._counts and not compiling:
            self._counted += done
            self._seconds += now - self._advanced
        self._done += done
        self._counts, self._advanced, self._note = not compiling, now, note
        if compiling:
            self._counts = False
            if note != COMPILING:
                self._print(f"{self._description}: {note.removesuffix(', ' + COMPILING)}")
        self._bar.update(self._task, advance=done, note=note)

    def left(self) -> str:
        """The time that the rest will take at the present pace; empty while no pace is known."""
        if not self._counted:
            return ""
        pace = self._seconds / self._counted
        seconds = pace * (self._total - self._done)
        if self._counts:
            seconds -= time.monotonic() - self._advanced
        return f"{_duration(max(0.0, seconds))} left"

    def line(self) -> str:
        """The line that is printed where there is no terminal."""
        words = (f"{self._description} {self._done}/{self._total}", self.left(), self._note)
        return ", ".join(filter(None, words))

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def _print_lines(self) -> None:
        while not self._ended.wait(EVERY):
            self._print(self.line())

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
    """The time that is left. Rich's own column is blank where pieces of work take longer than half a minute."""

    def __init__(self, left: Callable[[], str], column: Column):
        super().__init__(column)
        self._left = left

    def render(self, task: Task) -> Text:
        del task
        return Text(self._left(), style="progress.remaining")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours < 100 else f"{hours} hours"
