"""Files that are written at once or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

from experiments.processes import is_first


def write(file: Path, by: Callable[[Path], object]) -> None:
    """`by` writes beside, then that takes the place of what was there; of several processes the first one writes."""
    if is_first():
        temporary = file.with_name("." + file.name)
        by(temporary)
        os.replace(temporary, file)  # noqa: PTH105 (atomic on every system)
