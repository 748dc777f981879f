"""Standard errors of statistics other than means: ratios by the jackknife, medians by the bootstrap."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.stats

RESAMPLES = 2000
"""Number of bootstrap samples. The standard error is then known to a few hundredths."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A number with its standard error."""

    value: float

    error: float
    """Standard error; NaN for fewer than two seeds."""

    seeds: int | None
    """Number of seeds; `None` if the error is not over seeds."""

    margin: int = 0
    """Number of standard errors that the value already includes, to the unfavourable side."""

    def __float__(self) -> float:
        return self.value


def jackknifed(statistic: Callable[..., float], *by_seed: Sequence[float] | np.ndarray) -> Measured:
    """A smooth function of means over the same seeds, such as a ratio, with the error from leaving out each seed in
    turn.

    **Arguments:**

    - `statistic`: a function of the means, one for each of `by_seed`.
    - `by_seed`: sequences of numbers, one for each seed, in the same order of seeds.
    """
    rows = np.stack([np.asarray(numbers, float) for numbers in by_seed])
    number = rows.shape[1]
    if not number:
        return Measured(math.nan, math.nan, 0)
    value = float(statistic(*rows.mean(axis=1)))
    if number == 1:
        return Measured(value, math.nan, 1)
    left = np.array([statistic(*np.delete(rows, seed, axis=1).mean(axis=1)) for seed in range(number)], float)
    return Measured(value, float(jackknife(left)), number)


def jackknife(left: Any) -> Any:
    """Jackknife standard error of a number, from its values without each part in turn: an array, or a series or an
    expression of Polars.
    """
    number = len(left) if isinstance(left, np.ndarray) else left.len()
    with np.errstate(invalid="ignore"):  # a ratio may be infinite
        return left.std(ddof=0) * (number - 1) ** 0.5


def bootstrapped(statistic: Callable[..., float], *samples: Any, over_seeds: bool = True) -> Measured:
    """Any function of samples, such as a median, with the error from resampling with replacement. The draws are always
    the same.

    **Arguments:**

    - `statistic`: a function of samples that have as many rows as those given.
    - `samples`: independent samples. Rows are resampled, so paired numbers must be columns of one sample.
    - `over_seeds`: whether the rows of the first sample are seeds.
    """
    rows = [np.asarray(sample, float) for sample in samples]
    fewest, seeds = min(map(len, rows)), len(rows[0]) if over_seeds else None
    if not fewest:
        return Measured(math.nan, math.nan, seeds)
    value = float(statistic(*rows))
    if fewest == 1:
        return Measured(value, math.nan, seeds)

    def of_drawn(*places: np.ndarray) -> float:
        return statistic(*(sample[place.astype(int)] for sample, place in zip(rows, places, strict=True)))

    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        drawn = scipy.stats.bootstrap(
            [np.arange(len(sample)) for sample in rows],
            of_drawn,
            vectorized=False,
            n_resamples=RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(0),
        )
    return Measured(value, float(drawn.standard_error), seeds)


def median_of(numbers: Any, over_seeds: bool = True) -> Measured:
    """The median, with the bootstrap's error."""
    return bootstrapped(lambda drawn: float(np.median(drawn)), numbers, over_seeds=over_seeds)
