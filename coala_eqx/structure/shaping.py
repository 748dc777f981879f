"""Kernels of estimators that are given the values of a critic that sees the learner.

C_l^b then also has terms Σ S[l,b → k]·value, one matrix for each kind of `ShapingValues`. An action of trajectory b in
inner episode m may have no part in a value that weighs on it. It has none in

- `before` of inner episodes up to m, and `after`, `without` and `others` of those before m;
- `without` of inner episode m, if it leaves out b itself.

All others are *forbidden*, whatever W is. An exact W is another matter. There E[∇log π(a)·after_k] is
E[∇log π(a)·F_k] for k ≥ m, so that `after` counts as the mean of all later rewards, and `others` as their mean over the
other trajectories. With these put in (`with_exact_values`), Theorem 3.1 decides as ever.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Float

from coala_eqx.structure.kernel import Kernel

Masks = dict[str, Bool[np.ndarray, "batch episodes steps *place"]]


@dataclasses.dataclass(frozen=True)
class ShapedKernel(Kernel):
    """`Kernel`, and the matrices of the values of a critic that sees the learner."""

    shaping: dict[str, Float[np.ndarray, "batch episodes steps *place"]]
    """One matrix for each field of `ShapingValues`: axes of the action, then those of the value."""

    def forbidden_shaping(self) -> Masks:
        """Masks of the entries that are not 0, at values that may depend on the action."""
        allowed = admissible_shaping(*self.size)
        return {name: ~allowed[name] & (np.abs(matrix) > self.tolerance) for name, matrix in self.shaping.items()}

    def with_exact_values(self) -> "ShapedKernel":
        """The kernel with rewards in place of the values that an exact critic may put in their place."""
        batch, episodes, _ = self.size
        allowed = admissible_shaping(*self.size)
        rewards, left = self.rewards.copy(), dict(self.shaping)
        later = np.arange(episodes)[:, None] < np.arange(episodes)  # [inner episode of the value, of the reward]
        after, others = (np.where(allowed[name], 0.0, self.shaping[name]) for name in ("after", "others"))
        rewards += np.einsum("bltk,kn->bltn", after, later)[:, :, :, None, :, None] / batch
        if batch > 1:
            elsewhere = (1 - np.eye(batch)) / (batch - 1)
            rewards += np.einsum("bltck,kn,cd->bltdn", others, later, elsewhere)[..., None]
            left["others"] = np.where(allowed["others"], self.shaping["others"], 0.0)
        left["after"] = np.where(allowed["after"], self.shaping["after"], 0.0)
        return dataclasses.replace(self, rewards=rewards, shaping=left)


@functools.lru_cache(maxsize=256)
def admissible_shaping(batch: int, episodes: int, steps: int) -> Masks:
    """Whether each value is independent of each action."""
    actor, acting, _ = np.ogrid[:batch, :episodes, :steps]
    number = np.arange(episodes)
    acting_now, acting_of = acting[..., None], acting[..., None, None]
    past = np.broadcast_to(number < acting_now, (batch, episodes, steps, episodes))
    until_now = np.broadcast_to(number <= acting_now, (batch, episodes, steps, episodes))
    past_of_all = np.broadcast_to(number < acting_of, (batch, episodes, steps, batch, episodes))
    own = (np.arange(batch)[:, None] == actor[..., None, None]) & (number == acting_of)
    masks = {"before": until_now, "after": past, "without": past_of_all | own, "others": past_of_all}
    for mask in masks.values():
        mask.flags.writeable = False
    return masks
