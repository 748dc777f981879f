"""The batch-unaware policy gradient."""

from typing import Any, ClassVar

from jaxtyping import Array, Float

from coala_eqx.arrays import Scalar
from coala_eqx.estimators.advantages import batch_advantages, reward_and_value_arrays
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from coala_eqx.estimators.bootstrapping import own_futures, shaped_advantages
from coala_eqx.estimators.critics import check_shaping


class BatchUnaware(AbstractScoreFunctionEstimator):
    """The batch-unaware policy gradient: each trajectory counts as if it were alone with its co-player.

    C_l^b = (1/B) Σ_{k≥l} r_k^b. It leaves out the influence of an action on the other trajectories, through the
    co-player's update. It is biased for B > 1 against a learner. It is unbiased for B = 1, and for any B if the
    co-players do not learn; there it is the plain policy gradient.

    With values, C_l^b − (1/B)·V̂(h_l^b).

    With `shaping`, the values of a critic that sees the learner, C_l^b = (1/B)·(own inner episode − V̂(h_l^b) + F_m^b −
    W(X_{m+1}^(−b))), F_m^b being the own later inner episodes. W is a baseline here. It cannot take the place of F_m^b,
    as it predicts a mean over the batch.

    **Arguments:**

    - `discount`, `gae_lambda`: factors per step.
    - `critic`: as in `CoalaPG`.

    Source: Meulemans et al. (2025), Eqs 6 and 25.
    """

    discount: Scalar = 1.0
    gae_lambda: Scalar = 1.0

    unbiased_for: ClassVar[str | None] = None
    exchangeable: ClassVar[bool] = True

    def coefficients(
        self, rewards: Any, values: Any = None, shaping: Any = None
    ) -> Float[Array, "batch episodes steps"]:
        if shaping is not None:
            rewards, values = reward_and_value_arrays("values", rewards, values)
            without = check_shaping(shaping, rewards.shape).without.astype(rewards.dtype)
            future = own_futures(rewards, discount=self.discount) - without
            return shaped_advantages(
                rewards,
                values,
                future / len(rewards),
                discount=self.discount,
                gae_lambda=self.gae_lambda,
                own_weight=1 / len(rewards),
            )
        advantages = batch_advantages(
            rewards,
            values,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
            average_future_episodes=False,
            normalize_current_episode=False,
        )
        return advantages / advantages.shape[0]
