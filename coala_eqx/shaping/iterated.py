"""The shaping problem in closed form: the infinitely iterated matrix game against exact learners."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from coala_eqx.arrays import floating, numbers
from coala_eqx.learners import AbstractExactLearner, ExactAscent, LearningPath
from coala_eqx.policies import AbstractMemoryOne
from coala_eqx.returns import discounted_returns


class IteratedShapingProblem(eqx.Module):
    """An ego agent plays an infinitely iterated two-player matrix game against a co-player that learns exactly.

    Nothing is sampled. Policies are `MemoryOne` or `BinaryMemoryOne`; the ego agent is the first player.

    **Arguments:**

    - `payoffs` `[2, A_1, A_2]`: payoffs of both players, indexed by the ego agent's action, then the co-player's.
    - `discount`: discount per step, in [0, 1).
    - `normalise`: whether returns are multiplied by 1 − discount, to the scale of the payoffs. It also sets
      the scale of the learner's gradient, see `docs/errata.md`.
    - `learner`: the co-player's learner.

    **Raises** `ValueError` for payoffs of another shape, or a discount outside [0, 1).

    Source: Meulemans et al. (2025), Section 4 and Appendix C.
    """

    payoffs: Float[Array, "2 actions_1 actions_2"]
    discount: float
    normalise: bool = eqx.field(static=True)
    learner: AbstractExactLearner

    def __init__(
        self,
        payoffs: Any,
        discount: float = 0.95,
        *,
        normalise: bool = True,
        learner: AbstractExactLearner | None = None,
    ):
        payoffs = numbers("payoffs", payoffs)
        if payoffs.ndim != 3 or payoffs.shape[0] != 2:
            raise ValueError(f"`payoffs` must have shape [2, A_1, A_2], but has {payoffs.shape}.")
        if isinstance(discount, int | float) and not 0 <= discount < 1:
            raise ValueError(f"`discount` must lie in [0, 1), but is {discount}.")
        self.payoffs = floating(payoffs)
        self.discount = float(discount)
        self.normalise = normalise
        self.learner = ExactAscent() if learner is None else learner

    def returns(self, policy: AbstractMemoryOne, co_player: AbstractMemoryOne) -> Float[Array, "2"]:
        """The returns J^i and J^{-i} of fixed policies."""
        return discounted_returns(policy, co_player, self.payoffs, self.discount, self.normalise)

    def learn(self, policy: AbstractMemoryOne, co_player: AbstractMemoryOne) -> LearningPath:
        """The path of the co-player that learns against `policy`. The ego agent's returns are collected."""
        return self.learner.learn(_Returns(self), co_player, policy)

    def shaping_return(self, policy: AbstractMemoryOne, co_player: AbstractMemoryOne) -> Float[Array, ""]:
        """The ego agent's return while the co-player learns, summed or integrated over its path (Eq. 17)."""
        return self.learn(policy, co_player).collected

    def lookahead_return(self, policy: AbstractMemoryOne, co_player: AbstractMemoryOne) -> Float[Array, ""]:
        """The ego agent's return against the co-player at the end of its path: LOLA's objective (Eq. 4)."""
        return self.learn(policy, co_player).other[-1]

    def mirrored(self) -> "IteratedShapingProblem":
        """The same game with the second player as the ego agent."""
        return eqx.tree_at(lambda problem: problem.payoffs, self, self.payoffs[::-1].swapaxes(1, 2))


class _Returns(eqx.Module):
    """(co-player, ego agent) → (J^{-i}, J^i). A module, so that its arrays can be differentiated."""

    problem: IteratedShapingProblem

    def __call__(self, co_player: AbstractMemoryOne, policy: AbstractMemoryOne) -> tuple[Array, Array]:
        ego, own = self.problem.returns(policy, co_player)
        return own, ego
