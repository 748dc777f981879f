"""A run directory: settings, records, claims and what made them, so that a run can be interrupted and resumed."""

import dataclasses
import itertools
import json
import math
import os
import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, SupportsFloat, TypeVar

import numpy as np
import polars as pl

from coala_eqx.version import __version__
from experiments import files
from experiments.errors import Measured, jackknifed
from experiments.progress import Progress

DILEMMA = "prisoners-dilemma"
"""The game of the paper's figures, by name."""

Record = dict[str, Any]

Number = TypeVar("Number", bound=SupportsFloat)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """No other process may use the run directory meanwhile; a process that dies leaves no lock.

    **Raises** `ValueError` if another one does.
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
    """What of a figure can be run, and resumed, on its own."""

    name: str
    """Its records are told apart by it, in the column `part`."""

    work: int
    """For the progress bar, in any unit."""

    run: Callable[[Progress], Iterable[Record]]


class RunDirectory:
    """`settings.json`, `origin.json`, `records.parquet` and `FIGURE.json` below one folder.

    **Arguments:**

    - `path`: made if it does not exist.
    - `figure`, `settings`: what is run; a dataclass. What its `contents()` says is noted beside it, and must be the
      same in a run that goes on; those that its `LAYOUT` names need not.

    **Raises** `ValueError` if the folder holds a run of other settings, `OSError` if it cannot be written.
    """

    def __init__(self, path: Path, figure: str, settings: Any):
        self.path = path
        self.figure = figure
        path.mkdir(parents=True, exist_ok=True)
        made_by = {"figure": figure, "version": __version__, "settings": _plain(dataclasses.asdict(settings))}
        made_by |= settings.contents() if hasattr(settings, "contents") else {}
        self.made_by = made_by
        fields = [field for field in dataclasses.fields(settings) if field.default is not dataclasses.MISSING]
        self._defaults = {field.name: _plain(field.default) for field in fields}
        self._free = getattr(settings, "LAYOUT", ())
        file = path / "settings.json"
        if not file.exists() and (path / "records.parquet").exists():
            raise ValueError(f"{path} holds records, but no settings.json that says of what. {_another(path)}")
        if file.exists() and (differences := self._differences(_read(file))):
            raise ValueError(f"{path} holds another run: {'; '.join(differences)}. {_another(path)}")
        _write(file, json.dumps(made_by, indent=2) + "\n")

    def begin(self, origin: dict[str, Any]) -> None:
        """Note what makes the records that are still missing: one more entry of `origin.json`."""
        self._write_origins([*self._origins(), origin])

    def end(self, seconds: float) -> None:
        """Note how long that took, to its end or until it was stopped."""
        *earlier, latest = self._origins()
        self._write_origins([*earlier, latest | {"seconds": round(seconds, 1)}])

    def latest(self) -> dict[str, Any]:
        """What was noted last of what makes the records; empty at first."""
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
        try:
            return pl.read_parquet(file).select("part", pl.exclude("part")).to_dicts()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ValueError(
                f"{file} cannot be read, and is kept as it is: {error}. Move it away to start again. "
                f"{_another(self.path)}"
            ) from error

    def borrow(self, other: Path, parts: Collection[str]) -> list[dict[str, Any]]:
        """The records of another figure's run, if it has the same settings and all of these parts.

        They and their origin become this one's.
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
        """What differs, in words; of another figure not its settings.

        Settings that are missing, as they are newer, had their defaults; on what a run is done it need not go on.
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


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds."""

    by_seed: Mapping[int, float]

    margin: ClassVar[int] = 0

    @property
    def seeds(self) -> int:
        """How many there are."""
        return len(self.by_seed)

    @property
    def value(self) -> float:
        """NaN if there is no seed."""
        return mean(self._values)

    @property
    def error(self) -> float:
        """The standard error of `value`, by how seeds differ; NaN if there is one seed, or none."""
        values = self._values
        with np.errstate(invalid="ignore"):
            return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan

    @property
    def _values(self) -> np.ndarray:
        return np.array([self.by_seed[seed] for seed in sorted(self.by_seed)])

    def __float__(self) -> float:
        return self.value

    def __sub__(self, other: "Estimate") -> "Estimate":
        """Of the seeds that both have, as pairs: those of all parts of a run start from the same policies."""
        both = self.by_seed.keys() & other.by_seed.keys()
        return Estimate({seed: self.by_seed[seed] - other.by_seed[seed] for seed in both})


def of_means(statistic: Callable[..., float], *estimates: Estimate) -> Measured:
    """A function of means over seeds, such as their ratio, of those that all have; its error by the jackknife."""
    common = sorted(set.intersection(*(set(estimate.by_seed) for estimate in estimates)))
    return jackknifed(statistic, *([estimate.by_seed[seed] for seed in common] for estimate in estimates))


def over_seeds(table: pl.DataFrame, column: str | pl.Expr) -> Estimate:
    """The mean over seeds of each one's mean."""
    value = pl.col(column) if isinstance(column, str) else column
    means = table.group_by("seed", maintain_order=True).agg(value.mean().alias("value"))
    return Estimate(dict(means.select("seed", "value").iter_rows()))


def claim(text: str, measured: "float | Estimate | Measured", relation: str, threshold: float) -> dict[str, Any]:
    """A claim that is judged by a number: `relation` is `"≤"` or `"≥"`. What is not a finite number becomes `None`.

    `error` is the standard error, `seeds` over how many seeds; both are `None` of what is exact. `margin` says how many
    errors are in what was measured already, if there are any.
    """
    if isinstance(measured, Estimate | Measured):
        value, error, seeds, margin = measured.value, measured.error, measured.seeds, measured.margin
    else:
        value, error, seeds, margin = measured, math.nan, None, 0
    holds = value <= threshold if relation == "≤" else value >= threshold
    return {
        "claim": text,
        "measured": float(value) if math.isfinite(value) else None,
        "error": float(error) if math.isfinite(error) else None,
        "relation": relation,
        "threshold": threshold,
        "holds": bool(holds),
        "applicable": True,
        "seeds": seeds,
        **({"margin": margin} if margin else {}),
    }


def not_applicable(text: str, why: str, relation: str, threshold: float) -> dict[str, Any]:
    """A claim about what was not run: it is not judged, and `holds` is `None`."""
    nothing = dict.fromkeys(("measured", "error", "seeds"))
    same = {"claim": text, "relation": relation, "threshold": threshold}
    return same | nothing | {"holds": None, "applicable": False, "why": why}


class Ran:
    """Claims about estimators, of which only those are judged that were run.

    **Arguments:**

    - `table`: of all records.
    """

    def __init__(self, table: pl.DataFrame):
        self._estimators = set(table["estimator"])

    def claim(self, needed: Sequence[str], text: str, measured: Any, relation: str, threshold: float) -> dict[str, Any]:
        """As `claim`, about the estimators that are `needed`."""
        if missing := [name for name in needed if name not in self._estimators]:
            return not_applicable(text, f"{' and '.join(missing)} not run", relation, threshold)
        return claim(text, measured, relation, threshold)


def in_words(claim: dict[str, Any]) -> str:
    """What was measured, with its standard error over seeds; and which of the two are one number already."""
    if not claim.get("applicable", True):
        return "not run"
    if claim["measured"] is None:
        return "not finite"
    number = f"{claim['measured']:.3g}" if claim["measured"] else "0"
    error, margin = claim.get("error"), claim.get("margin")  # which older versions did not know
    if error is None:
        return number
    return f"{number}, with {margin} errors of {error:.2g}" if margin else f"{number} ± {error:.2g}"


def verdict(claim: dict[str, Any]) -> str:
    """Whether it holds, and whether two standard errors would be enough for it to be otherwise, as far as one knows."""
    if not claim.get("applicable", True):
        return f"not applicable: {claim['why']}"
    word = "yes" if claim["holds"] else "no"
    if claim["measured"] is None:
        return word
    if claim.get("seeds") == 1:
        return f"{word}, of one seed"
    return f"{word}, but within two errors" if within_two_errors(claim) else word


def within_two_errors(claim: dict[str, Any]) -> bool:
    """Whether two standard errors would be enough for it to be otherwise; so they are if they are not finite."""
    measured, error, seeds = (claim.get(name) for name in ("measured", "error", "seeds"))
    if measured is None or not claim.get("applicable", True):
        return False
    if error is None:
        return seeds is not None and seeds > 1
    margin = claim.get("margin", 0) * error
    middle = measured + (margin if claim["relation"] == "≥" else -margin)
    return abs(middle - claim["threshold"]) < 2 * error


def table_of(records: Sequence[Record]) -> pl.DataFrame:
    """All of their columns, null where a record has none."""
    return pl.DataFrame(records, infer_schema_length=None)


def kept(table: pl.DataFrame) -> pl.DataFrame:
    """All records of those seeds that stayed finite, in each part of a run."""
    each = [name for name in ("part", "seed") if name in table.columns]
    return table.filter((pl.col("finite") == 1).all().over(each))


def final(records: Sequence[Record] | pl.DataFrame, iteration: int | None = None, **where: Any) -> pl.DataFrame:
    """The records at an iteration, the last unless given, that also match `where`; seeds that went wrong left out."""
    table = records if isinstance(records, pl.DataFrame) else table_of(records)
    table = table.filter(*(pl.col(name) == value for name, value in where.items()))
    return kept(table).filter(
        pl.col("iteration") == (pl.lit(table["iteration"].max()) if iteration is None else iteration)
    )


def flagged(records: Sequence[Record]) -> list[int]:
    """The seeds that went wrong: some number of theirs is not finite."""
    return sorted({record["seed"] for record in records if record.get("finite", 1) != 1})


def median(column: pl.Series | np.ndarray) -> float:
    """Its median; NaN if there is nothing in it."""
    return float(np.median(np.asarray(column))) if len(column) else float("nan")


def mean(column: pl.Series | np.ndarray) -> float:
    """Its mean; NaN if there is nothing in it."""
    return float(np.mean(np.asarray(column))) if len(column) else float("nan")


def largest_of(values: Iterable[Number]) -> Number:
    """One that is NaN, if there is one."""
    return max(values, key=lambda value: (math.isnan(float(value)), float(value)))


def smallest_of(values: Iterable[Number]) -> Number:
    """One that is NaN, if there is one."""
    return min(values, key=lambda value: (not math.isnan(float(value)), float(value)))


def _read(file: Path, kind: type = dict) -> Any:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, kind):
            raise ValueError(f"a {kind.__name__} is expected, but it holds a {type(content).__name__}")
        return content
    except ValueError as error:
        raise ValueError(f"{file} cannot be read, and is kept as it is: {error}. {_another(file.parent)}") from error


def _another(path: Path) -> str:
    """A folder that is still free, as a remedy."""
    free = (f"{path}-{number}" for number in itertools.count(2))
    return f"Give another --run-dir, such as {next(name for name in free if not Path(name).exists())}."


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _write(file: Path, text: str) -> None:
    files.write(file, lambda path: path.write_text(text, encoding="utf-8", newline="\n"))
