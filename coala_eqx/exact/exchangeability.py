"""Checks of declarations that something is exchangeable.

Batches are tried in other orders: all batches where they are few, else a sample in which trajectories repeat in every
way. Each batch is compared with itself, and each leaf of a result with its own size.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from coala_eqx.exact.batches import Chunk, count_batches, enumerate_batches
from coala_eqx.exact.rounding import EPS

TOLERANCE = 1e-3
"""The largest deviation of something exchangeable. Another order of the batch changes the order of some sums, and so
their rounding. Learners such as Adam enlarge that, and so does a derivative through normalised advantages. The
deviations of learners and estimators are part of the error bound."""

STRICT = 1e-8
"""The same where there is no error bound."""

_NOISE = 1e-12
"""Relative to the largest entry of a leaf. Smaller differences are rounding of terms that cancel."""

Leaves = Sequence[np.ndarray]

_SAMPLES = 512
_SEED = 31


class OrderMatters(ValueError):
    """Something is declared exchangeable and is not."""


def batches_to_try(trajectories: int, batch: int, chunk: int) -> Iterator[tuple[np.ndarray, Chunk]]:
    """Yields chunks of batches in all orders that are tried, and the rows of each batch in each order.

    Rows are `[batches, orders]`. Chunks are padded to `chunk`.
    """
    if count_batches(trajectories, batch, exchangeable=True) <= _SAMPLES:
        every = [*enumerate_batches(trajectories, batch, exchangeable=True, chunk=_SAMPLES)]
        picks = np.concatenate([np.asarray(part.trajectories)[np.asarray(part.multiplicities) > 0] for part in every])
    else:
        picks = _sample(np.random.default_rng(_SEED), trajectories, batch)
    orders = _orders(batch)
    chunk = max(chunk, len(orders))
    at_once = chunk // len(orders)
    for start in range(0, len(picks), at_once):
        some = picks[start : start + at_once]
        rows = np.stack([some[:, order] for order in orders], axis=1)
        flat = rows.reshape(-1, batch)
        padded = np.pad(flat, ((0, max(0, chunk - len(flat))), (0, 0)))
        yield np.arange(len(flat)).reshape(rows.shape[:2]), Chunk(padded, np.ones(len(padded)))


def _sample(generator: np.random.Generator, trajectories: int, batch: int) -> np.ndarray:
    """A sample of batches with 1, 2, …, `batch` different trajectories, in turn."""
    picks = []
    for number in range(_SAMPLES):
        different = 1 + number % batch
        pool = generator.integers(trajectories, size=different)
        picks.append(generator.permutation(np.concatenate([pool, generator.choice(pool, batch - different)])))
    return np.stack(picks)


def _orders(batch: int) -> list[np.ndarray]:
    """All orders of three trajectories or fewer, else some, among them a shift and a swap."""
    if batch <= 3:
        return [np.array(order) for order in itertools.permutations(range(batch))]
    generator = np.random.default_rng(_SEED)
    shift, swap = np.roll(np.arange(batch), 1), np.array([1, 0, *range(2, batch)])
    return [np.arange(batch), shift, swap, *(generator.permutation(batch) for _ in range(4))]


def largest_deviations(
    values: Callable[[Chunk], Iterable[Leaves]], trajectories: int, batch: int, chunk: int
) -> list[float]:
    """The largest change of each of several results with the order of a batch, relative to its size; 0 if none.

    **Arguments:**

    - `values`: a function of a chunk to the results, each a list of leaves `[chunk, …]`. The last leaf, `[chunk]`
      booleans, says which batches count.

    NaN counts as infinitely large, as nothing can be compared with it.
    """
    largest: list[float] = []
    for rows, every in batches_to_try(trajectories, batch, chunk):
        each = [_largest([np.asarray(leaf) for leaf in leaves], rows) for leaves in values(every)]
        largest = [*map(max, largest or [0.0] * len(each), each)]
    return largest


def _largest(leaves: Leaves, rows: np.ndarray) -> float:
    first, *others = ([leaf[column] for leaf in leaves] for column in rows.T)
    return max((_deviation(first, other) for other in others), default=0.0)


def _deviation(first: Leaves, other: Leaves) -> float:
    """The largest relative difference of the leaves of two results of the same batches."""
    (*leaves, counts), (*others, others_count) = first, other
    if not np.array_equal(counts, others_count):
        return np.inf
    if not counts.any():
        return 0.0
    pairs = [(_rows(one[counts]), _rows(two[counts])) for one, two in zip(leaves, others, strict=True)]
    sizes = [np.abs(one).max(axis=1, initial=0.0) for one, _ in pairs]
    # A leaf that is 0 but for rounding has rounding errors of the others' size.
    everything = max(float(size.max()) for size in sizes)
    largest = 0.0
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for (one, two), size in zip(pairs, sizes, strict=True):
            difference = np.abs(one - two).max(axis=1, initial=0.0)
            floor = max(_NOISE * float(size.max()), 10 * EPS * everything)
            relative = np.where(difference <= floor, 0.0, difference / np.maximum(size, floor))
            largest = max(largest, float(np.where(np.isnan(relative), np.inf, relative).max()))
    return largest


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1)
