"""Batch-level REINFORCE."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from coala_eqx.arrays import Scalar
from coala_eqx.estimators.advantages import batch_advantages
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator


class Reinforce(AbstractScoreFunctionEstimator):
    """REINFORCE on the batch as one big trajectory: E[ĝ] = ∇J̄, usually with more variance than COALA-PG.

    C_l^b = (1/B) Σ_{b'} Σ_{k≥l} r_k^{b'}, the same for every trajectory.

    With values, C_l^b − (1/B) Σ_{b'} V̂(h_l^{b'}), unbiased for any V̂.

    **Arguments:**

    - `discount`, `gae_lambda`: factors per step. The estimator is unbiased at 1 only.

    Source: Meulemans et al. (2025), Eq. 24.
    """

    discount: Scalar = 1.0
    gae_lambda: Scalar = 1.0

    unbiased_for: ClassVar[str | None] = "shaping_return"
    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards: Any, values: Any = None) -> Float[Array, "batch episodes steps"]:
        advantages = batch_advantages(
            rewards,
            values,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
            average_future_episodes=False,
            normalize_current_episode=False,
        )
        return jnp.broadcast_to(advantages.mean(axis=0), advantages.shape)
