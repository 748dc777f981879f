"""Findings: entries of a matrix of coefficients that break Theorem 3.1."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Size = tuple[int, int, int]
"""(B, M, T): trajectories, inner episodes and steps per inner episode."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One wrong entry."""

    size: Size
    action: Size
    """(b, m, t), counted from 1."""

    other: Size
    """(c, n, s) of the reward or value, counted from 1."""

    weight: float
    expected: float
    of_values: bool

    @classmethod
    def at(cls, size: Size, place: Sequence[Any], weight: Any, expected: float | None) -> "Finding":
        """The finding at (b, m, t, c, n, s), counted from 0: in the matrix of values if `expected` is `None`, else of
        rewards.
        """
        b, m, t, c, n, s = (1 + int(index) for index in place)
        return cls(size, (b, m, t), (c, n, s), float(weight), float(expected or 0), of_values=expected is None)

    @property
    def text(self) -> str:
        """A sentence about the entry."""
        (b, m, t), (c, n, s) = self.action, self.other
        what = "value" if self.of_values else "reward"
        where = f"at size (B, M, T) = {self.size} the {what} at step {s} of inner episode {n} of trajectory {c} weighs"
        action = f"for the action at step {t} of inner episode {m} of trajectory {b}"
        should = "may not enter" if self.of_values else f"should weigh {_fraction(self.expected)}"
        return f"{where} {_fraction(self.weight)} {action}, and {should}"


class NotLinear(ValueError):
    """The coefficients are not linear in rewards and values at some size."""

    def __init__(self, size: Size):
        super().__init__(
            f"not linear in rewards and values (centring, normalising or clipping?), at size (B, M, T) = {size}: "
            f"judged by enumeration only"
        )


WEIGHTS: dict[str, Callable[[int], Any]] = {
    "shaping_return": np.ones,
    "last_episode_return": lambda episodes: np.eye(episodes)[-1],
}
"""Weights of the rewards of each inner episode in an objective."""


def checked_size(size: Any) -> Size:
    """(B, M, T) as integers. **Raises** `ValueError` for anything else."""
    try:
        batch, episodes, steps = (int(one) for one in size)
    except (TypeError, ValueError) as error:
        raise ValueError(f"A size must be (batch, episodes, steps), such as (2, 3, 2), but is {size!r}.") from error
    if min(batch, episodes, steps) < 1:
        raise ValueError(f"Sizes must be at least 1, but (batch, episodes, steps) is {size!r}.")
    return batch, episodes, steps


def _fraction(value: float) -> str:
    for denominator in range(1, 65):
        numerator = round(value * denominator)
        if abs(value * denominator - numerator) < 64 * np.finfo(float).eps * denominator:
            return str(numerator) if denominator == 1 else f"{numerator}/{denominator}"
    return f"{value:.6g}"
