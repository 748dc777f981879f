"""Claims of a figure: estimates over seeds, thresholds, and verdicts."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, SupportsFloat, TypeVar

import numpy as np
import polars as pl

from coala_eqx.runs.directory import Record, table_of
from experiments.errors import Measured, jackknifed

DILEMMA = "prisoners-dilemma"
"""The game of the paper's figures, by name."""

Number = TypeVar("Number", bound=SupportsFloat)


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
