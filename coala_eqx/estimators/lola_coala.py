"""LOLA without higher derivatives."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from coala_eqx.estimators.advantages import batch_advantages
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator


class LolaCoala(AbstractScoreFunctionEstimator):
    """COALA-PG on the return of the last inner episode alone: a LOLA estimator with sampled updates.

    E[ĝ] = ∇ E[(1/B) Σ_b Σ_{l in episode M} r_l^b]. It looks M − 1 steps ahead. The co-players' updates are sampled, not
    expected, and no derivative is taken through them. C is that of `CoalaPG` with the rewards before the last inner
    episode set to 0.

    Values count as a critic of that return, and training fits them to it. The estimator is unbiased for any V̂.

    Source: Meulemans et al. (2025), Theorem E.1 and Appendix E.
    """

    unbiased_for: ClassVar[str | None] = "last_episode_return"
    exchangeable: ClassVar[bool] = True
    critic_of: ClassVar[str] = "last_episode_return"

    def coefficients(self, rewards: Any, values: Any = None) -> Float[Array, "batch episodes steps"]:
        rewards = jnp.asarray(rewards)
        if rewards.ndim == 3:
            rewards = self.critic_rewards(rewards)
        return batch_advantages(rewards, values, average_future_episodes=True, normalize_current_episode=True)
