"""Names of parts of a run, and of their files."""

import re
from collections.abc import Sequence


def file_name(part: str) -> str:
    """The part's name, as it stands in names of files."""
    return re.sub(r"[^a-z0-9.]+", "-", part.lower()).strip("-")


def check_names(parts: Sequence[str]) -> None:
    """**Raises** `ValueError` unless each part has files of its own."""
    by_file: dict[str, str] = {}
    for part in parts:
        name = file_name(part)
        if not name:
            raise ValueError(f"A part's name must have a letter of a to z or a digit, for its files, but is {part!r}.")
        if name in by_file:
            raise ValueError(f"{by_file[name]!r} and {part!r} would have the same files, {name!r}: rename one of them.")
        by_file[name] = part


def checkpoint_name(part: str, number: int | str) -> str:
    """The name of a checkpoint's folder, by the number of the piece of work."""
    return f"checkpoint-{file_name(part)}-{number}"
