"""Requests to stop: signals are heard at once, and obeyed when what is done is kept."""

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
    """A line for whoever watches."""
    with suppress(OSError, ValueError):  # nobody may be there to read it
        print(f"coala_eqx: {text}", file=sys.stderr, flush=True)


class Stopped(Exception):
    """The run was asked to stop, and has kept what it has done, unless that was `lost`."""

    def __init__(self, number: int, lost: bool = False):
        super().__init__(number, lost)
        self.signal = signal.Signals(number)
        self.lost = lost


class StopRequest:
    """Whether somebody has asked the process to stop."""

    number: int | None = None
    """Of the signal by which; it may come at any time."""

    agreed: int | None = None
    """What it was when all processes last looked."""

    lost: bool = False
    """Whether what was done last could not be kept."""

    longest: float | None = None
    """Seconds that a piece of work took, at most; none yet that was not compiled first."""

    _began: float | None = None

    def look(self) -> bool:
        """Whether to stop, the same in all processes, which must all look."""
        self.agreed = largest(self.number or 0) or None
        return self.agreed is not None

    def obey(self) -> None:
        """**Raises** `Stopped` if that was agreed."""
        if self.agreed is not None:
            raise Stopped(self.agreed, self.lost)

    def piece_ends(self, counts: bool = True) -> None:
        """And another one begins; the first one of a program, which is compiled then, does not count."""
        now = time.monotonic()
        if counts and self._began is not None:
            self.longest = max(self.longest or 0.0, now - self._began)
        self._began = now

    def in_words(self) -> str:
        """What happens now."""
        name = "Ctrl-C" if self.number == signal.SIGINT else signal.Signals(self.number or 0).name
        wait = ""
        if self.longest is not None and self._began is not None:
            wait = f" (≤ {max(1, math.ceil(self.longest - (time.monotonic() - self._began)))} s)"
        return f"Stopping after this piece{wait}; {name} again stops now and loses it."


@contextmanager
def listening() -> Iterator[StopRequest]:
    """SIGTERM and SIGINT become a request, at first, and it is said at once what that means; the second one of a kind
    ends the process.

    A compiled program that runs lets no handler of Python's in: a thread is told of signals.
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
    """At once, whatever is done now."""
    with suppress(OSError, ValueError):
        if sys.stderr.isatty():
            print("\033[?25h", end="", file=sys.stderr, flush=True)  # the cursor, which a bar hides
    os._exit(128 + number)
