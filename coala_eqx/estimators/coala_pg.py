"""COALA-PG."""

from typing import Any, ClassVar

from jaxtyping import Array, Float

from coala_eqx.arrays import Scalar
from coala_eqx.estimators.advantages import batch_advantages
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from coala_eqx.estimators.bootstrapping import (
    Kappa,
    bootstraps,
    check_kappa,
    check_unshaped,
    learner_aware_advantages,
)


class CoalaPG(AbstractScoreFunctionEstimator):
    """The co-agent learning-aware policy gradient (COALA-PG): E[ĝ] = ∇J̄ against any learner.

    C_l^b = (1/B) Σ_{k=l..T·m_l} r_k^b + (1/B) Σ_{b'} Σ_{k>T·m_l} r_k^{b'}. An action counts for the rest of its own
    inner episode. Through the co-player's update it also counts for the later inner episodes of all trajectories of the
    batch.

    With values, C_l^b − (1/B)·V̂(h_l^b) − (1/B) Σ_{b'≠b} V̂(h^{b'}_{T·m_l+1}), unbiased for any V̂.

    With `shaping`, the values of a critic that sees the learner, C_l^b = (1/B)·(own inner episode − V̂(h_l^b)) + F̂_m −
    W(X_{m+1}^(−b)). F̂_m is the mean return after inner episode m by TD(κ), and W(X_{m+1}^(−b)) its prediction, had
    trajectory b not been played. At κ = 1 it is unbiased for any W; below, if W is exact (`estimators.critics`). V̂
    then predicts the own inner episode only.

    **Arguments:**

    - `discount`, `gae_lambda`: factors per step. The estimator is unbiased at 1 only. Below 1, the signal through the
      co-player's learning fades by their product with every step until the end of the current inner episode. With
      `shaping`, λ works within the inner episode only, and the signal does not fade with it.
    - `kappa`: κ, the weight of what is sampled against what is predicted, from one inner episode to the next: a number,
      one for each inner episode, or in training a schedule over updates. Below 1 it needs `shaping`.
    - `critic`: computes `shaping` where the estimator is used alone, and in certificates. In training the critic is the
      agent's.

    **Raises** `ValueError` for κ outside of [0, 1].

    Source: Meulemans et al. (2025), Theorem 3.1, Eqs 5, 13, 14 and Algorithm 1; `shaping` is this library's.
    """

    discount: Scalar = 1.0
    gae_lambda: Scalar = 1.0
    kappa: Kappa = 1.0

    unbiased_for: ClassVar[str | None] = "shaping_return"
    exchangeable: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_kappa(self.kappa)

    @property
    def needs_shaping(self) -> bool:
        return bootstraps(self.kappa)

    def coefficients(
        self, rewards: Any, values: Any = None, shaping: Any = None
    ) -> Float[Array, "batch episodes steps"]:
        if shaping is not None:
            return learner_aware_advantages(self, rewards, values, shaping, average_own=True)
        check_unshaped(self.kappa, "CoalaPG")
        return batch_advantages(
            rewards,
            values,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
            average_future_episodes=True,
            normalize_current_episode=True,
        )
