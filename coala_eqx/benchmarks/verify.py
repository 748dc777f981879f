"""Cost of `coala-eqx verify` from a cold start, compared with the version before structural certificates."""

import math
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

BEFORE = "28f8895"
"""The last commit in which each estimator was enumerated by itself, on ten problems, with compiled programs."""

_COMMAND = "from coala_eqx.cli import main; main(['verify'])"


class Taken(NamedTuple):
    """Cost of one run of the command, in a process of its own without a compilation cache."""

    cpu: float
    """CPU seconds, summed over all cores."""

    wall: float

    first_table: float
    """Seconds until the first table is complete."""

    memory: float
    """Peak memory in bytes."""

    claims: str
    """The command's last line."""


def print_verify(console: Console) -> None:
    """Measure both versions and print a table. The older one needs the repository's history."""
    console.print("\nJ. `coala-eqx verify`, all default problems, cold: CPU seconds of all cores", soft_wrap=True)
    table = Table("version", "CPU", "wall", "first table", "peak memory", "says", box=box.SIMPLE_HEAD)
    taken = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, root in _versions(Path(folder)):
            taken[name] = one = measure(root)
            seconds = f"{one.cpu:.0f} s", f"{one.wall:.0f} s", f"{one.first_table:.1f} s"
            table.add_row(name, *seconds, f"{one.memory / 1e9:.2f} GB", one.claims)
    console.print(table)
    if len(taken) == 2:
        before, now = (one.cpu for one in taken.values())
        console.print(f"CPU seconds now, of those before: {now / before:.2f}", soft_wrap=True)
    else:
        console.print(f"(The version before, {BEFORE}, is not in this copy's history.)", soft_wrap=True)


def _versions(folder: Path) -> Iterator[tuple[str, Path]]:
    root = Path(__file__).parents[2]
    if _extract(root, folder):
        yield f"{BEFORE}, before", folder
    yield "this one", root


def _extract(root: Path, folder: Path) -> bool:
    """Write the package of the commit `BEFORE` into a folder. **Returns** whether the commit exists."""
    archive = folder / "before.tar"
    command = ["git", "-C", str(root), "archive", "--output", str(archive), BEFORE, "coala_eqx"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return True


def measure(root: Path) -> Taken:
    """Run the command of the package in `root`.

    **Raises** `ValueError` with the end of the error output if it fails; `AttributeError` on Windows, which does not
    count CPU seconds of another process.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION_CACHE")}
    environment = kept | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", _COMMAND]
    began, lines, first_table = time.perf_counter(), [], math.nan
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8"
        )
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                lines.append(line.strip())
                if math.isnan(first_table) and len(lines) > 3 and not lines[-1]:
                    first_table = time.perf_counter() - began
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 1):
            errors.seek(0)
            raise ValueError(f"`coala-eqx verify` of {root} ended with {process.returncode}: {errors.read()[-500:]}")
    memory = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    said = next((line for line in reversed(lines) if line), "")
    return Taken(used.ru_utime + used.ru_stime, time.perf_counter() - began, first_table, memory, said)
