"""Files that are written at once or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

from polars.exceptions import PolarsError

from experiments.processes import is_first


def write(file: Path, by: Callable[[Path], object]) -> None:
    """`by` writes beside, then that takes the place of what was there; of several processes the first one writes.

    **Raises** `OSError` if it cannot be written; what was there stays.
    """
    if is_first():
        temporary = file.with_name("." + file.name)
        try:
            by(temporary)
            os.replace(temporary, file)  # noqa: PTH105 (atomic on every system)
        except (OSError, PolarsError, RuntimeError) as error:  # the latter is Equinox's
            temporary.unlink(missing_ok=True)
            reason = " ".join(str(error).split())
            raise OSError(
                f"{file} could not be written: {reason}. When that is mended, the same command goes on from what is "
                "kept."
            ) from error
