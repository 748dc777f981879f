"""COALA with the own path sampled, and the learner's path predicted."""

from typing import Any, ClassVar

from jaxtyping import Array, Float

from coala_eqx.arrays import Scalar
from coala_eqx.estimators.advantages import reward_and_value_arrays
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from coala_eqx.estimators.bootstrapping import own_futures, shaped_advantages
from coala_eqx.estimators.critics import check_shaping


class CoalaHybrid(AbstractScoreFunctionEstimator):
    """The batch-unaware policy gradient, plus what the other trajectories gain through the co-players' learning.

    C_l^b = (1/B)·(own inner episode − V̂(h_l^b) + F_m^b − W(X_{m+1}^(−b))) + (B − 1)/B · (W^others − W(X_{m+1}^(−b))).
    The own trajectory is sampled to its end, F_m^b. Of the others, a critic that sees the learner predicts how they
    change if trajectory b is taken out of the co-players' update. W^others is its value at the real update, with the
    others' memories only.

    It is unbiased if W^others is the exact mean return of the other trajectories, given the co-players and all
    memories. Of an inexact W only differences between co-players matter, as with `CoalaPG(kappa=0)`. The own path is
    never biased.

    **Arguments:**

    - `discount`, `gae_lambda`: factors per step. λ works within the inner episode.
    - `critic`: as in `CoalaPG`.

    Source: this library.
    """

    discount: Scalar = 1.0
    gae_lambda: Scalar = 1.0

    unbiased_for: ClassVar[str | None] = None
    exchangeable: ClassVar[bool] = True

    @property
    def needs_shaping(self) -> bool:
        return True

    def coefficients(
        self, rewards: Any, values: Any = None, shaping: Any = None
    ) -> Float[Array, "batch episodes steps"]:
        if shaping is None:
            raise ValueError(
                "CoalaHybrid needs a critic that sees the learner: train it with `Agent(…, critic=CriticTraining())`, "
                "or pass `shaping` to `coefficients`."
            )
        rewards, values = reward_and_value_arrays("values", rewards, values)
        shaping = check_shaping(shaping, rewards.shape)
        batch, without = len(rewards), shaping.without.astype(rewards.dtype)
        own = own_futures(rewards, discount=self.discount) - without
        gained = (batch - 1) * (shaping.others.astype(rewards.dtype) - without)
        return shaped_advantages(
            rewards,
            values,
            (own + gained) / batch,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
            own_weight=1 / batch,
        )
