"""Standard errors of numbers that are no means: ratios by the jackknife, medians by the bootstrap."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.stats

RESAMPLES = 2000
"""Of a bootstrap: its standard error is then known to a few hundredths."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A number with its standard error."""

    value: float

    error: float
    """By how seeds differ; NaN if there is one, or none."""

    seeds: int | None
    """How many there are; none where the error is not over seeds."""

    margin: int = 0
    """How many errors are in the value already, to the unfavourable side."""

    def __float__(self) -> float:
        return self.value


def jackknifed(statistic: Callable[..., float], *by_seed: Sequence[float] | np.ndarray) -> Measured:
    """A smooth function of means over the same seeds, such as a ratio: without each of the seeds in turn.

    **Arguments:**

    - `statistic`: of the means, one for each of `by_seed`.
    - `by_seed`: numbers, those of a seed at the same place in each.
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
    """The standard error of a number, from the numbers without each of its parts in turn: an array, or a series or an
    expression of Polars.
    """
    number = len(left) if isinstance(left, np.ndarray) else left.len()
    with np.errstate(invalid="ignore"):  # a ratio may be infinite
        return left.std(ddof=0) * (number - 1) ** 0.5


def bootstrapped(statistic: Callable[..., float], *samples: Any, over_seeds: bool = True) -> Measured:
    """Any function of samples, such as a median: each is drawn again, with replacement, always by the same draws.

    **Arguments:**

    - `statistic`: of samples such as those given, of as many rows.
    - `samples`: each independent of the others; its rows are what is drawn, so that what is paired are columns of one.
    - `over_seeds`: whether the first one's rows are seeds.
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
    """Their median, by the bootstrap."""
    return bootstrapped(lambda drawn: float(np.median(drawn)), numbers, over_seeds=over_seeds)
