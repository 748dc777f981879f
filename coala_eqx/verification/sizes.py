"""Sizes of a problem of one's own: those that enumerate in seconds, unless others are asked for."""

import math

from coala_eqx.exact.batches import log_count_batches
from coala_eqx.exact.outcomes import count_inner_outcomes
from coala_eqx.games import AbstractEnumerableGame

ENOUGH = 100_000
"""Most outcomes of a problem whose sizes nobody chose."""

_SIZES = ((2, 2, 2), (2, 2, 1), (1, 2, 2), (1, 2, 1), (2, 1, 1), (1, 1, 1))
"""(B, M, T) in order of preference: two trajectories and two inner episodes show the most."""


def default_sizes(
    game: AbstractEnumerableGame,
    batch: int | None = None,
    episodes: int | None = None,
    steps: int | None = None,
    *,
    most: int = ENOUGH,
) -> tuple[int, int, int]:
    """(B, M, T) for a problem on `game` with at most `most` outcomes, if there are such: those that are given, and for
    the others 2, or 1 where that would be too many.
    """
    if batch is not None and episodes is not None and steps is not None:
        return batch, episodes, steps
    table = game.table()
    given = (batch, episodes, steps)
    # Who chooses one size means something by it: the others are not made trivial to suit it.
    preferred = _SIZES if given == (None, None, None) else _SIZES[:2]
    candidates = [
        tuple(chosen if chosen is not None else size for chosen, size in zip(given, sizes, strict=True))
        for sizes in preferred
    ]
    inner: dict[int, int] = {}
    for sizes in candidates:
        size = sizes[2]
        if size < 1 or min(sizes) < 1 or size > 64:
            return sizes[0], sizes[1], sizes[2]  # for the problem to refuse, or the enumeration
        if size not in inner:
            inner[size] = count_inner_outcomes(table, size)
        log_count = log_count_batches(inner[size], sizes[0], sizes[1], exchangeable=True)
        if log_count <= math.log(most) + 1e-9:  # as log Γ is rounded
            return sizes[0], sizes[1], sizes[2]
    return candidates[-1][0], candidates[-1][1], candidates[-1][2]
