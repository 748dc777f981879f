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
"""Name of the paper's game."""

Number = TypeVar("Number", bound=SupportsFloat)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A mean over seeds."""

    by_seed: Mapping[int, float]

    margin: ClassVar[int] = 0

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.by_seed)

    @property
    def value(self) -> float:
        """The mean; NaN if there is no seed."""
        return mean(self._values)

    @property
    def error(self) -> float:
        """Standard error of `value` over seeds; NaN for fewer than two seeds."""
        values = self._values
        with np.errstate(invalid="ignore"):
            return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan

    @property
    def _values(self) -> np.ndarray:
        return np.array([self.by_seed[seed] for seed in sorted(self.by_seed)])

    def __float__(self) -> float:
        return self.value

    def __sub__(self, other: "Estimate") -> "Estimate":
        """Difference over the seeds that both have. Seeds are paired, because all parts of a run start from the same
        policies.
        """
        both = self.by_seed.keys() & other.by_seed.keys()
        return Estimate({seed: self.by_seed[seed] - other.by_seed[seed] for seed in both})


def of_means(statistic: Callable[..., float], *estimates: Estimate) -> Measured:
    """A function of means over the seeds that all estimates share, such as their ratio. Its error comes from the
    jackknife.
    """
    common = sorted(set.intersection(*(set(estimate.by_seed) for estimate in estimates)))
    return jackknifed(statistic, *([estimate.by_seed[seed] for seed in common] for estimate in estimates))


def over_seeds(table: pl.DataFrame, column: str | pl.Expr) -> Estimate:
    """The mean over seeds of each seed's mean."""
    value = pl.col(column) if isinstance(column, str) else column
    means = table.group_by("seed", maintain_order=True).agg(value.mean().alias("value"))
    return Estimate(dict(means.select("seed", "value").iter_rows()))


def claim(text: str, measured: "float | Estimate | Measured", relation: str, threshold: float) -> dict[str, Any]:
    """A claim that is judged by a number: `relation` is `"≤"` or `"≥"`. A number that is not finite becomes `None`.

    `error` is the standard error, and `seeds` the number of seeds. Both are `None` for exact numbers. `margin` is the
    number of standard errors that the measured number already includes; it is left out if there are none.
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
    """A claim about a part that was not run. It is not judged, and `holds` is `None`."""
    nothing = dict.fromkeys(("measured", "error", "seeds"))
    same = {"claim": text, "relation": relation, "threshold": threshold}
    return same | nothing | {"holds": None, "applicable": False, "why": why}


class Ran:
    """Claims about estimators, judged only if the estimators were run.

    **Arguments:**

    - `table`: all records.
    """

    def __init__(self, table: pl.DataFrame):
        self._estimators = set(table["estimator"])

    def claim(self, needed: Sequence[str], text: str, measured: Any, relation: str, threshold: float) -> dict[str, Any]:
        """`claim` about the estimators that are `needed`."""
        if missing := [name for name in needed if name not in self._estimators]:
            return not_applicable(text, f"{' and '.join(missing)} not run", relation, threshold)
        return claim(text, measured, relation, threshold)


def in_words(claim: dict[str, Any]) -> str:
    """The measured number with its standard error over seeds, or with the errors that it already includes."""
    if not claim.get("applicable", True):
        return "not run"
    if claim["measured"] is None:
        return "not finite"
    number = f"{claim['measured']:.3g}" if claim["measured"] else "0"
    error, margin = claim.get("error"), claim.get("margin")  # absent in records of older versions
    if error is None:
        return number
    return f"{number}, with {margin} errors of {error:.2g}" if margin else f"{number} ± {error:.2g}"


def verdict(claim: dict[str, Any]) -> str:
    """Whether the claim holds, and whether the threshold lies within two standard errors."""
    if not claim.get("applicable", True):
        return f"not applicable: {claim['why']}"
    word = "yes" if claim["holds"] else "no"
    if claim["measured"] is None:
        return word
    if claim.get("seeds") == 1:
        return f"{word}, of one seed"
    return f"{word}, but within two errors" if within_two_errors(claim) else word


def within_two_errors(claim: dict[str, Any]) -> bool:
    """Whether the threshold lies within two standard errors. It does if the error is not finite."""
    measured, error, seeds = (claim.get(name) for name in ("measured", "error", "seeds"))
    if measured is None or not claim.get("applicable", True):
        return False
    if error is None:
        return seeds is not None and seeds > 1
    margin = claim.get("margin", 0) * error
    middle = measured + (margin if claim["relation"] == "≥" else -margin)
    return abs(middle - claim["threshold"]) < 2 * error


def kept(table: pl.DataFrame) -> pl.DataFrame:
    """All records of seeds whose numbers stayed finite, in each part of a run."""
    each = [name for name in ("part", "seed") if name in table.columns]
    return table.filter((pl.col("finite") == 1).all().over(each))


def final(records: Sequence[Record] | pl.DataFrame, iteration: int | None = None, **where: Any) -> pl.DataFrame:
    """The records at an iteration, by default the last, that match `where`. Seeds with non-finite numbers are left
    out.
    """
    table = records if isinstance(records, pl.DataFrame) else table_of(records)
    table = table.filter(*(pl.col(name) == value for name, value in where.items()))
    return kept(table).filter(
        pl.col("iteration") == (pl.lit(table["iteration"].max()) if iteration is None else iteration)
    )


def flagged(records: Sequence[Record]) -> list[int]:
    """The seeds with non-finite numbers."""
    return sorted({record["seed"] for record in records if record.get("finite", 1) != 1})


def median(column: pl.Series | np.ndarray) -> float:
    """The median; NaN if there are no numbers."""
    return float(np.median(np.asarray(column))) if len(column) else float("nan")


def mean(column: pl.Series | np.ndarray) -> float:
    """The mean; NaN if there are no numbers."""
    return float(np.mean(np.asarray(column))) if len(column) else float("nan")


def largest_of(values: Iterable[Number]) -> Number:
    """The largest value; NaN if one of them is NaN."""
    return max(values, key=lambda value: (math.isnan(float(value)), float(value)))


def smallest_of(values: Iterable[Number]) -> Number:
    """The smallest value; NaN if one of them is NaN."""
    return min(values, key=lambda value: (not math.isnan(float(value)), float(value)))
