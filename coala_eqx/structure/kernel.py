"""What a score-function estimator does with rewards and values, as a matrix; and what Theorem 3.1 lets it be.

The coefficient of action (b, l) is C_l^b = Σ K[l,b → k,c]·r_k^c + Σ V[l,b → k,c]·V̂(h_k^c) + constant. A reward is
*downstream* of the action where it can depend on it:

- in the own trajectory's inner episode from l on;
- in all later inner episodes, of any trajectory, through the co-players' learning.

There K must be the reward's weight in the objective, 1/B for the shaping return. Elsewhere E[∇log π(a_l^b)·r_k^c] is
0 whatever K is: these entries are *free*. Values must not depend on the action: they may be those of the own
trajectory up to l, and of the other trajectories up to the first step of the next inner episode, if its observation
tells nothing of what co-players have learned (paper, Eqs 13–14).
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

OWN, FUTURE_OWN, FUTURE_OTHER, FREE = range(4)
"""How a reward lies to an action."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """K, V and the constant at one size; axes `[batch, episodes, steps]` of the action, then of the reward or value."""

    rewards: Float[np.ndarray, "batch episodes steps batch episodes steps"]
    values: Float[np.ndarray, "batch episodes steps batch episodes steps"]
    constant: Float[np.ndarray, "batch episodes steps"]
    resolution: float
    """How exactly the entries are known."""

    @property
    def size(self) -> tuple[int, int, int]:
        """(B, M, T)."""
        batch, episodes, steps = self.constant.shape
        return batch, episodes, steps

    def wrong(self, by_episode: Any) -> Bool[np.ndarray, "batch episodes steps batch episodes steps"]:
        """Downstream entries that are not what the objective asks; `by_episode` `[episodes]`: its weights.

        In the first inner episode all trajectories are alike, whatever learners do later: there only the sum of the own
        entries over the batch matters.
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
        """Whether it is biased against learners for which the order of the batch does not matter.

        Against these, an entry matters by its sum over pairs of trajectories: own with own, and own with others.
        """
        batch = self.size[0]
        off = self.rewards - np.asarray(by_episode, float)[:, None] / batch
        relation = relations(*self.size)
        sums = [np.where(relation == kind, off, 0.0).sum(axis=(0, 3)) for kind in (OWN, FUTURE_OWN, FUTURE_OTHER)]
        return max(float(np.abs(one).max()) for one in sums) > self.tolerance * batch**2

    def free_in_use(self) -> Bool[np.ndarray, "batch episodes steps batch episodes steps"]:
        """Entries at rewards that the action has no influence on, and that are not 0."""
        return (relations(*self.size) == FREE) & (np.abs(self.rewards) > self.tolerance)

    def forbidden_values(self) -> Bool[np.ndarray, "batch episodes steps batch episodes steps"]:
        """Entries at values that may depend on the action, and that are not 0."""
        return ~admissible_values(*self.size) & (np.abs(self.values) > self.tolerance)

    @property
    def tolerance(self) -> float:
        """Up to which entries count as equal."""
        return max(1e-12, 2 * self.resolution)


def relation(action: Sequence[Any], reward: Sequence[Any]) -> np.ndarray:
    """How a reward (trajectory, inner episode, step) lies to an action, by indices or arrays of them."""
    (b, m, t), (c, n, s) = action, reward
    own = b == c
    return np.select([own & (m == n) & (s >= t), own & (n > m), n > m], [OWN, FUTURE_OWN, FUTURE_OTHER], FREE)


def admissible(action: Sequence[Any], value: Sequence[Any]) -> np.ndarray:
    """Whether a value (trajectory, inner episode, step) does not depend on an action, by indices or arrays of them."""
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
