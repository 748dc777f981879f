"""Trained agents of a run."""

from pathlib import Path
from typing import Any

from coala_eqx.runs import files
from coala_eqx.runs.names import file_name
from coala_eqx.runs.trees import read_tree, write_tree


def write_agents(path: Path, part: str, agents: tuple[Any, ...]) -> None:
    """Write the agents of a part to `agents-PART.tree`, at once or not at all."""
    files.write(_file(path, part), lambda file: write_tree(file, agents))


def load_agents(path: str | Path, part: str | None = None) -> tuple[Any, ...]:
    """Load the agents of a run: one policy each, leaves `[seeds, …]` if the run has a number of seeds.

    **Arguments:**

    - `path`: folder of the run.
    - `part`: name of the part. It may be left out if there is only one.

    **Raises** `ValueError` if the run has not ended, if there is no such part, if there are several parts and none is
    named, or if a class of the policies cannot be imported.
    """
    path = Path(path)
    found = sorted(file.name for file in path.glob(_file(path, "*").name))
    if part is None and len(found) == 1:
        return read_tree(path / found[0])
    if part is not None and (file := _file(path, part)).name in found:
        return read_tree(file)
    names = [name.removeprefix("agents-").removesuffix(".tree") for name in found]
    if not found:
        what = "no agents: the run has not ended" if (path / "settings.json").exists() else "no run with agents"
        raise ValueError(f"{path} holds {what}.")
    if part is None:
        raise ValueError(f"{path} holds agents of several parts: name one of {', '.join(names)}.")
    raise ValueError(f"{path} holds no agents of {part!r}, but of {', '.join(names)}.")


def _file(path: Path, part: str) -> Path:
    return path / f"agents-{part if part == '*' else file_name(part)}.tree"
