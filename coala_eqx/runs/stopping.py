"""Requests to stop. Signals are answered at once, and obeyed when the state is kept."""

import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from coala_eqx.runs.processes import largest


def say(text: str) -> None:
    """Print a line for whoever watches."""
    with suppress(OSError, ValueError):  # nobody may be there to read it
        print(f"coala_eqx: {text}", file=sys.stderr, flush=True)


class Stopped(Exception):
    """The run was asked to stop, and has kept its state, unless that was `lost`."""

    def __init__(self, number: int, lost: bool = False):
        super().__init__(number, lost)
        self.signal = signal.Signals(number)
        self.lost = lost


class StopRequest:
    """A request that the process stops."""

    number: int | None = None
    """The number of the signal, which may come at any time."""

    agreed: int | None = None
    """The number when all processes last looked."""

    lost: bool = False
    """Whether the last state could not be kept."""

    longest: float | None = None
    """Longest time of a piece of work, in seconds; `None` while all were compiled first."""

    _began: float | None = None

    def look(self) -> bool:
        """Whether to stop: the same in all processes, which must all call it."""
        self.agreed = largest(self.number or 0) or None
        return self.agreed is not None

    def obey(self) -> None:
        """**Raises** `Stopped` if that was agreed."""
        if self.agreed is not None:
            raise Stopped(self.agreed, self.lost)

    def piece_ends(self, counts: bool = True) -> None:
        """End a piece of work and begin another. One that was compiled first does not count for the longest time."""
        now = time.monotonic()
        if counts and self._began is not None:
            self.longest = max(self.longest or 0.0, now - self._began)
        self._began = now

    def in_words(self) -> str:
        """A sentence about what the process does now."""
        name = "Ctrl-C" if self.number == signal.SIGINT else signal.Signals(self.number or 0).name
        wait = ""
        if self.longest is not None and self._began is not None:
            wait = f" (≤ {max(1, math.ceil(self.longest - (time.monotonic() - self._began)))} s)"
        return f"Stopping after this piece{wait}; {name} again stops now and loses it."


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Listen for SIGTERM and SIGINT. The first one becomes a request, and is answered at once; the second one of a kind
    ends the process.

    A thread hears the signals, because Python runs no handler while a compiled program runs.
    """
    request, before = StopRequest(), {}
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    seen: set[int] = set()

    def handle(number: int, _: Any) -> None:
        request.number = number

    def hear() -> None:
        while number := int.from_bytes(ours.recv(1) or b"\0"):
            if number in before and number not in seen:
                seen.add(number)
                request.number = number
                say(request.in_words())
            elif number in seen:
                _end(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, handle)
    earlier = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=hear, daemon=True)
    thread.start()
    try:
        yield request
    finally:
        signal.set_wakeup_fd(earlier)
        for number, handler in before.items():
            signal.signal(number, handler)
        theirs.send(b"\0")
        thread.join()
        ours.close()
        theirs.close()


def _end(number: int) -> None:
    """End the process at once."""
    with suppress(OSError, ValueError):
        if sys.stderr.isatty():
            print("\033[?25h", end="", file=sys.stderr, flush=True)  # the cursor, which a bar hides
    os._exit(128 + number)
