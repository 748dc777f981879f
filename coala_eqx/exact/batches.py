"""Enumeration of batches of trajectories, ordered or unordered, together with the draws of learners."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array

from coala_eqx.exact.draws import Draws


class Chunk(NamedTuple):
    """Some batches of trajectories."""

    trajectories: Array | np.ndarray
    """`[chunk, batch]`: the number of each trajectory, in 0..trajectories−1."""

    multiplicities: Array | np.ndarray
    """`[chunk]`: the number of ordered batches that each stands for, times the probability of its draws; 0 for padding.
    """

    draws: tuple[Any, ...] = ()
    """The draws of each learner, leaves `[chunk, updates, …]` or `None`; empty where no learner draws."""


def count_batches(trajectories: int, batch: int, *, exchangeable: bool) -> int:
    """The number of batches of n possible trajectories: C(n + B − 1, B) unordered or n^B ordered ones."""
    if exchangeable:
        return math.comb(trajectories + batch - 1, batch)
    return trajectories**batch


def log_count_batches(inner: int, batch: int, episodes: int, *, exchangeable: bool) -> float:
    """Approximate logarithm of the number of batches of `inner`^episodes trajectories."""
    trajectories = episodes * math.log(inner) if inner > 1 else 0.0
    if not exchangeable:
        return batch * trajectories
    if trajectories > 27:  # C(n + B − 1, B) ≈ nᴮ / B! for n beyond 5e11, where the difference of two log Γ would cancel
        return batch * trajectories - math.lgamma(batch + 1)
    number = math.exp(trajectories)
    return math.lgamma(number + batch) - math.lgamma(number) - math.lgamma(batch + 1)


def enumerate_batches(
    trajectories: int, batch: int, *, exchangeable: bool, chunk: int, draws: Draws | None = None
) -> Iterator[Chunk]:
    """All batches with all draws, in chunks that all have the same size (the last one is padded)."""
    combinations = 1 if draws is None else draws.count
    count = count_batches(trajectories, batch, exchangeable=exchangeable) * combinations
    tables = _binomials(trajectories, batch) if exchangeable else []
    for start in range(0, count, chunk):
        ranks, drawn = np.divmod(np.arange(start, min(start + chunk, count)), combinations)
        picks = _unordered(ranks, tables) if exchangeable else _ordered(ranks, trajectories, batch)
        multiplicities = _multiplicities(picks) if exchangeable else np.ones(len(ranks))
        padding = chunk - len(ranks)
        taken = ()
        if draws is not None and draws.any:
            taken, probabilities = draws.take(np.pad(drawn, (0, padding)))
            multiplicities = multiplicities * probabilities[: len(ranks)]
        yield Chunk(np.pad(picks, ((0, padding), (0, 0))), np.pad(multiplicities, (0, padding)), taken)


def _ordered(ranks: np.ndarray, trajectories: int, batch: int) -> np.ndarray:
    return np.stack(np.unravel_index(ranks, (trajectories,) * batch), axis=1)


def _binomials(trajectories: int, batch: int) -> list[np.ndarray | None]:
    """Entry i ≥ 2 holds C(c + i − 1, i), the number of unordered i-batches of c trajectories, for all c."""
    counts: list[np.ndarray | None] = [None, None]
    running = np.arange(trajectories, dtype=np.int64)
    for _ in range(2, batch + 1):
        running = np.cumsum(running)
        counts.append(running)
    return counts


def _unordered(ranks: np.ndarray, tables: list[np.ndarray | None]) -> np.ndarray:
    """Unrank multisets in the combinatorial number system: picks in non-increasing order.

    The largest pick c of a multiset of size i is preceded by the C(c + i − 1, i) multisets of picks below c.
    """
    ranks = ranks.copy()
    picks = []
    for table in reversed(tables[2:]):
        assert table is not None
        pick = np.searchsorted(table, ranks, side="right") - 1
        ranks -= table[pick]
        picks.append(pick)
    return np.stack([*picks, ranks], axis=1)


def _multiplicities(picks: np.ndarray) -> np.ndarray:
    """B! / Π (count of each value)! for rows in which equal values are adjacent."""
    run = np.ones(len(picks))
    product = np.ones(len(picks))
    for column in range(1, picks.shape[1]):
        run = np.where(picks[:, column] == picks[:, column - 1], run + 1, 1.0)
        product *= run
    return math.factorial(picks.shape[1]) / product
