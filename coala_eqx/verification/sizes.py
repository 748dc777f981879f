"""Default sizes of a user's own problem, small enough to enumerate in seconds."""

import math

from coala_eqx.exact.batches import log_count_batches
from coala_eqx.exact.outcomes import count_inner_outcomes
from coala_eqx.games import AbstractEnumerableGame

ENOUGH = 100_000
"""Largest number of outcomes for sizes that are chosen by default."""

_SIZES = ((2, 2, 2), (2, 2, 1), (1, 2, 2), (1, 2, 1), (2, 1, 1), (1, 1, 1))
"""Candidates (B, M, T) in order of preference. Two trajectories and two inner episodes show the most."""


def default_sizes(
    game: AbstractEnumerableGame,
    batch: int | None = None,
    episodes: int | None = None,
    steps: int | None = None,
    *,
    most: int = ENOUGH,
) -> tuple[int, int, int]:
    """(B, M, T) for a problem on `game`: given sizes are kept, and others are 2, or 1 where 2 would make too many
    outcomes.

    The problem has at most `most` outcomes if such sizes exist.
    """
    if batch is not None and episodes is not None and steps is not None:
        return batch, episodes, steps
    table = game.table()
    given = (batch, episodes, steps)
    # If a user chooses one size, the others are not made trivial to suit it.
    preferred = _SIZES if given == (None, None, None) else _SIZES[:2]
    candidates = [
        tuple(chosen if chosen is not None else size for chosen, size in zip(given, sizes, strict=True))
        for sizes in preferred
    ]
    inner: dict[int, int] = {}
    for sizes in candidates:
        size = sizes[2]
        if size < 1 or min(sizes) < 1 or size > 64:
            return sizes[0], sizes[1], sizes[2]  # the problem or the enumeration refuses these
        if size not in inner:
            inner[size] = count_inner_outcomes(table, size)
        log_count = log_count_batches(inner[size], sizes[0], sizes[1], exchangeable=True)
        if log_count <= math.log(most) + 1e-9:  # as log Γ is rounded
            return sizes[0], sizes[1], sizes[2]
    return candidates[-1][0], candidates[-1][1], candidates[-1][2]
