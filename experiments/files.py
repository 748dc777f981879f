"""Files that are written at once or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import jax


def write(file: Path, by: Callable[[Path], object]) -> None:
    """`by` writes beside, then that takes the place of what was there; of several processes the first one writes."""
    if jax.process_index() == 0:
        temporary = file.with_name("." + file.name)
        by(temporary)
        os.replace(temporary, file)  # noqa: PTH105 (atomic on every system)
