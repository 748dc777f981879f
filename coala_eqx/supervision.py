"""Run foreign code in a separate process, and use its exit status only if the command has finished there."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

_FORWARDED = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)]


def run_supervised(arguments: Sequence[str], sources: Sequence[str]) -> int:
    """Run `coala-eqx` with these arguments in another process. **Returns** its exit status.

    If that process ends before the command does (by `os._exit`, a crash, or lack of memory), an error is printed and
    the status is 2: nothing was certified.

    **Arguments:**

    - `arguments`: the command line, without the program's name.
    - `sources`: names of the foreign code, for the message.
    """
    with tempfile.TemporaryDirectory(prefix="coala-eqx-") as folder:
        report = Path(folder, "status")
        program = (
            f"import sys; sys.path[:] = {sys.path!r}\n"
            f"from coala_eqx.cli import main; from coala_eqx.supervision import run; run(main)"
        )
        opened = [str(int(stream is not None)) for stream in (sys.stdout, sys.stderr)]
        command = [sys.executable, "-c", program, str(report), *opened, *arguments]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False)

        def forward(number: int, _: FrameType | None) -> None:
            if number != signal.SIGINT or not _on_terminal():  # a terminal sends Ctrl-C to both processes
                child.send_signal(number)

        before = {number: signal.signal(number, forward) for number in _FORWARDED}
        try:
            child.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        try:
            return int(report.read_text())
        except (OSError, ValueError):
            names = " or ".join(dict.fromkeys(sources))
            print(
                f"coala-eqx: {names} ended the process before the command was done ({_ending(child.returncode)}). Only "
                f"what is printed above is certified.",
                file=sys.stderr,
            )
            return 2


def run(main: Callable[[Sequence[str]], int]) -> None:
    """Run the command in the other process: write its exit status to a file, then end at once, whatever still runs.

    Standard output belongs to the command. Everything that foreign code prints goes to standard error.
    """
    report, out, err, *arguments = sys.argv[1:]
    sys.stdout = (
        os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors) if out == "1" else None
    )
    if err == "1":
        sys.stderr = os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors, buffering=1)
        os.dup2(2, 1)
    else:
        sys.stderr = None
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.argv = ["coala-eqx"]
    status = main(arguments)
    beside = Path(report).with_suffix(".new")
    beside.write_text(str(status))
    beside.replace(report)
    os._exit(status)


def _on_terminal() -> bool:
    try:
        return os.getpgrp() == os.tcgetpgrp(2)
    except (OSError, AttributeError):
        return False


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = "unknown"
    memory = ", perhaps out of memory" if name == "SIGKILL" else ""
    return f"signal {-status}, {name}{memory}"
