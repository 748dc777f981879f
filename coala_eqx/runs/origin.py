"""The origin of a run, for people to read: command, commit, date and machine."""

import datetime
import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from coala_eqx.version import __version__

_CLONE = Path(__file__).parents[2]
"""The folder of the clone that the package lies in."""


def origin(command: Sequence[str]) -> dict[str, Any]:
    """The origin of a run that starts now. Names of users and hosts are not noted."""
    device = jax.devices()[0]
    return {
        "command": shlex.join(command),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": __version__,
        "commit": commit(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {device.device_kind}",
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def commit() -> str:
    """The clone's commit, with `+ changes` if it has any that are not committed; `unknown` outside of one."""
    try:
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != _CLONE.resolve():
            return "unknown"  # the package is installed, and the repository is another one
        name = _git("rev-parse", "--short=10", "HEAD")
        return name + (" + changes" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    made = subprocess.run(["git", "-C", str(_CLONE), *arguments], capture_output=True, text=True, check=True)
    return made.stdout.strip()
