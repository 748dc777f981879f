"""Kernels: the matrices of a score-function estimator, and the conditions that Theorem 3.1 sets for them.

The coefficient of action (b, l) is C_l^b = Σ K[l,b → k,c]·r_k^c + Σ V[l,b → k,c]·V̂(h_k^c) + constant. A reward is
*downstream* of the action if it can depend on it:

- in the own trajectory's inner episode from l on;
- in all later inner episodes, of any trajectory, through the co-players' learning.

There K must be the reward's weight in the objective, 1/B for the shaping return. Elsewhere E[∇log π(a_l^b)·r_k^c] is 0
for every K: these entries are *free*. Values must not depend on the action. They may be those of the own trajectory up
to l, and of the other trajectories up to the first step of the next inner episode, if its observation does not reveal
what co-players have learned (paper, Eqs 13–14).
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

OWN, FUTURE_OWN, FUTURE_OTHER, FREE = range(4)
"""Relations of a reward to an action."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """K, V and the constant at one size. Axes are `[batch, episodes, steps]` of the action, then of the reward or
    value.
    """

    rewards: Float[np.ndarray, "batch episodes steps batch episodes steps"]
    values: Float[np.ndarray, "batch episodes steps batch episodes steps"]
    constant: Float[np.ndarray, "batch episodes steps"]
    resolution: float
    """Precision of the entries."""

    @property
    def size(self) -> tuple[int, int, int]:
        """(B, M, T)."""
        batch, episodes, steps = self.constant.shape
        return batch, episodes, steps

    def wrong(self, by_episode: Any) -> Bool[np.ndarray, "batch episodes steps batch episodes steps"]:
        """Mask of the downstream entries that differ from what the objective requires.

        In the first inner episode all trajectories are alike, whatever learners do later. There only the sum of the own
        entries over the batch matters.

        **Arguments:**

        - `by_episode` `[episodes]`: the objective's weights of inner episodes.
        """
        batch = self.size[0]
        relation = relations(*self.size)
        target = np.asarray(by_episode, float)[:, None] / batch
        off = self.rewards - target
        wrong = (np.abs(off) > self.tolerance) & (relation != FREE)
        first = np.einsum("blbk->lk", off[:, 0, :, :, 0, :])
        fine = np.abs(first) <= self.tolerance * batch
        own = np.eye(batch, dtype=bool)[:, None, :, None] & fine[None, :, None, :]
        wrong[:, 0, :, :, 0, :] &= ~own
        return wrong

    def wrong_against_exchangeable(self, by_episode: Any) -> bool:
        """Whether the estimator is biased against learners for which the order of the batch does not matter.

        Against these, only sums of entries over pairs of trajectories matter: own with own, and own with others.
        """
        batch = self.size[0]
        off = self.rewards - np.asarray(by_episode, float)[:, None] / batch
        relation = relations(*self.size)
        sums = [np.where(relation == kind, off, 0.0).sum(axis=(0, 3)) for kind in (OWN, FUTURE_OWN, FUTURE_OTHER)]
        return max(float(np.abs(one).max()) for one in sums) > self.tolerance * batch**2

    def free_in_use(self) -> Bool[np.ndarray, "batch episodes steps batch episodes steps"]:
        """Mask of the entries that are not 0, at rewards that the action does not influence."""
        return (relations(*self.size) == FREE) & (np.abs(self.rewards) > self.tolerance)

    def forbidden_values(self) -> Bool[np.ndarray, "batch episodes steps batch episodes steps"]:
        """Mask of the entries that are not 0, at values that may depend on the action."""
        return ~admissible_values(*self.size) & (np.abs(self.values) > self.tolerance)

    @property
    def tolerance(self) -> float:
        """Difference up to which entries count as equal."""
        return max(1e-12, 2 * self.resolution)


def relation(action: Sequence[Any], reward: Sequence[Any]) -> np.ndarray:
    """Relation of a reward (trajectory, inner episode, step) to an action, given by indices or arrays of them."""
    (b, m, t), (c, n, s) = action, reward
    own = b == c
    return np.select([own & (m == n) & (s >= t), own & (n > m), n > m], [OWN, FUTURE_OWN, FUTURE_OTHER], FREE)


def admissible(action: Sequence[Any], value: Sequence[Any]) -> np.ndarray:
    """Whether a value (trajectory, inner episode, step) is independent of an action, given by indices or arrays of
    them.
    """
    (b, m, t), (c, n, s) = action, value
    past = (n < m) | ((n == m) & (s <= t))
    others = (n <= m) | ((n == m + 1) & (s == 0))
    return np.where(b == c, past, others)


@functools.lru_cache(maxsize=256)
def relations(batch: int, episodes: int, steps: int) -> np.ndarray:
    """`relation` of all pairs: `[batch, episodes, steps, batch, episodes, steps]`."""
    return _read_only(relation(*_pairs(batch, episodes, steps)))


@functools.lru_cache(maxsize=256)
def admissible_values(batch: int, episodes: int, steps: int) -> np.ndarray:
    """`admissible` of all pairs: `[batch, episodes, steps, batch, episodes, steps]`."""
    return _read_only(admissible(*_pairs(batch, episodes, steps)))


def _pairs(batch: int, episodes: int, steps: int) -> tuple[Sequence[Any], Sequence[Any]]:
    indices = np.ogrid[:batch, :episodes, :steps, :batch, :episodes, :steps]
    return indices[:3], indices[3:]


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
