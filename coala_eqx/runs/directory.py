"""The folder of a run: settings, records and their origin."""

import dataclasses
import itertools
import json
import os
import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coala_eqx.extras import require_polars
from coala_eqx.runs import files
from coala_eqx.runs.progress import Progress
from coala_eqx.runs.settings import defaults, layout_names, named
from coala_eqx.version import __version__

if TYPE_CHECKING:
    import polars as pl

Record = dict[str, Any]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder. A process that dies leaves no lock.

    **Raises** `ValueError` if another process holds the folder.
    """
    path.mkdir(parents=True, exist_ok=True)
    with (path / ".lock").open("a+", encoding="utf-8") as stream:
        try:
            files.lock(stream)
        except BlockingIOError as error:
            stream.seek(0)
            raise ValueError(
                f"{path} is in use by another process ({stream.read().strip()}). Wait until it ends. {_another(path)}"
            ) from error
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {platform.node()}")
        stream.flush()
        yield


@dataclasses.dataclass(frozen=True)
class Part:
    """A piece of a run that is done, and resumed, on its own."""

    name: str
    """The entry of its records in the column `part`."""

    work: int
    """Amount of work, in any unit, for the progress bar."""

    run: Callable[[Progress], Iterable[Record]]
    """The function that does it and returns its records."""


class RunDirectory:
    """`settings.json`, `origin.json`, `records.parquet` and `FIGURE.json` below one folder.

    **Arguments:**

    - `path`: the folder, made if it does not exist.
    - `figure`: name of the experiment.
    - `settings`: a dataclass (`coala_eqx.runs.settings`). They must be the same in a run that goes on, except those of
      the layout. If it has a method `contents()`, the dictionary that this returns is noted and compared, too.

    **Raises** `ValueError` if the folder holds a run with other settings, `OSError` if it cannot be written.
    """

    def __init__(self, path: Path, figure: str, settings: Any):
        self.path = path
        self.figure = figure
        path.mkdir(parents=True, exist_ok=True)
        made_by = {"figure": figure, "version": __version__, "settings": _plain(named(settings))}
        made_by |= settings.contents() if hasattr(settings, "contents") else {}
        self.made_by = made_by
        self._defaults = _plain(defaults(settings))
        self._free = layout_names(settings)
        file = path / "settings.json"
        if not file.exists() and (path / "records.parquet").exists():
            raise ValueError(f"{path} holds records, but no settings.json that says of what. {_another(path)}")
        if file.exists() and (differences := self._differences(_read(file))):
            raise ValueError(f"{path} holds another run: {'; '.join(differences)}. {_another(path)}")
        _write(file, json.dumps(made_by, indent=2) + "\n")

    def begin(self, origin: dict[str, Any]) -> None:
        """Note the origin of the records that are still missing, as one more entry of `origin.json`."""
        self._write_origins([*self._origins(), origin])

    def end(self, seconds: float) -> None:
        """Note how long the work took, until its end or until it was stopped."""
        *earlier, latest = self._origins()
        self._write_origins([*earlier, latest | {"seconds": round(seconds, 1)}])

    def latest(self) -> dict[str, Any]:
        """The newest entry of `origin.json`; empty at first."""
        return next(iter(self._origins()[-1:]), {})

    def _origins(self) -> list[dict[str, Any]]:
        file = self.path / "origin.json"
        return _read(file, list) if file.exists() else []

    def _write_origins(self, origins: list[dict[str, Any]]) -> None:
        _write(self.path / "origin.json", json.dumps(origins, indent=2) + "\n")

    def load(self) -> list[dict[str, Any]]:
        """The records so far."""
        file = self.path / "records.parquet"
        return self._load(file) if file.exists() else []

    def _load(self, file: Path) -> list[dict[str, Any]]:
        pl = require_polars()
        try:
            return pl.read_parquet(file).select("part", pl.exclude("part")).to_dicts()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ValueError(
                f"{file} cannot be read, and is kept as it is: {error}. Move it away to start again. "
                f"{_another(self.path)}"
            ) from error

    def borrow(self, other: Path, parts: Collection[str]) -> list[dict[str, Any]]:
        """Take over the records of another figure's run, and their origin.

        **Returns** nothing unless that run has the same settings and all of these parts.
        """
        settings, origin, table = (other / name for name in ("settings.json", "origin.json", "records.parquet"))
        if not (settings.exists() and origin.exists() and table.exists()):
            return []
        found = _read(settings)
        if self._differences(found | {"figure": self.figure}):
            return []
        records = self._load(table)
        if {record["part"] for record in records} != set(parts):
            return []
        self._write_origins(_read(origin, list))
        self.save(records)
        return records

    def _differences(self, found: dict[str, Any]) -> list[str]:
        """Differences to this run, in words. If the figure differs, settings are not compared.

        Settings that are missing, because they are newer than the run, count with their defaults. Layouts may differ.
        """
        if found.get("figure") != self.figure:
            return [f"its figure is {found.get('figure')!r}, not {self.figure!r}"]
        theirs = self._defaults | (found.get("settings") or {}) | found | {"settings": None}
        ours = self.made_by["settings"] | self.made_by | {"settings": None}
        names = [name for name in theirs | ours if theirs.get(name) != ours.get(name) and name not in self._free]
        return [f"its {name} is {theirs.get(name)!r}, not {ours.get(name)!r}" for name in names]

    def save(self, records: Sequence[dict[str, Any]]) -> None:
        """Replace the records, at once or not at all."""
        files.write(self.path / "records.parquet", table_of(records).write_parquet)

    def save_claims(self, claims: Sequence[dict[str, Any]]) -> None:
        """Write `FIGURE.json`."""
        _write(self.path / f"{self.figure}.json", json.dumps(list(claims), indent=2, allow_nan=False) + "\n")


def table_of(records: Sequence[Record]) -> "pl.DataFrame":
    """A table of all columns, null where a record lacks one."""
    return require_polars().DataFrame(records, infer_schema_length=None)


def _read(file: Path, kind: type = dict) -> Any:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, kind):
            raise ValueError(f"a {kind.__name__} is expected, but it holds a {type(content).__name__}")
        return content
    except ValueError as error:
        raise ValueError(f"{file} cannot be read, and is kept as it is: {error}. {_another(file.parent)}") from error


def _another(path: Path) -> str:
    """A remedy: a folder that is still free."""
    free = (f"{path}-{number}" for number in itertools.count(2))
    return f"Give another folder, such as {next(name for name in free if not Path(name).exists())}."


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _write(file: Path, text: str) -> None:
    files.write(file, lambda path: path.write_text(text, encoding="utf-8", newline="\n"))
