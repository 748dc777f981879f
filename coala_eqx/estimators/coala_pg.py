"""COALA-PG."""

from typing import Any, ClassVar

from jaxtyping import Array, Float

from coala_eqx.arrays import Scalar
from coala_eqx.estimators.advantages import batch_advantages
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator


class CoalaPG(AbstractScoreFunctionEstimator):
    """The co-agent learning-aware policy gradient (COALA-PG): E[ĝ] = ∇J̄ against any learner.

    C_l^b = (1/B) Σ_{k=l..T·m_l} r_k^b + (1/B) Σ_{b'} Σ_{k>T·m_l} r_k^{b'}. An action counts for the rest of its own
    inner episode. Through the co-player's update it also counts for the later inner episodes of all trajectories of the
    batch.

    With values, C_l^b − (1/B)·V̂(h_l^b) − (1/B) Σ_{b'≠b} V̂(h^{b'}_{T·m_l+1}), unbiased for any V̂.

    **Arguments:**

    - `discount`, `gae_lambda`: factors per step. The estimator is unbiased at 1 only. Below 1, the signal through the
      co-player's learning fades by their product with every step until the end of the current inner episode.

    Source: Meulemans et al. (2025), Theorem 3.1, Eqs 5, 13, 14 and Algorithm 1.
    """

    discount: Scalar = 1.0
    gae_lambda: Scalar = 1.0

    unbiased_for: ClassVar[str | None] = "shaping_return"
    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards: Any, values: Any = None) -> Float[Array, "batch episodes steps"]:
        return batch_advantages(
            rewards,
            values,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
            average_future_episodes=True,
            normalize_current_episode=True,
        )
