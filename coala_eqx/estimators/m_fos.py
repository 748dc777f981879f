"""M-FOS, in its policy-gradient form."""

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


class MFOS(AbstractScoreFunctionEstimator):
    """M-FOS (Lu et al., 2022) on a batch: biased for B > 1, because the current inner episode weighs B times too much.

    C_l^b = Σ_{k=l..T·m_l} r_k^b + (1/B) Σ_{b'} Σ_{k>T·m_l} r_k^{b'}. Its bias is B − 1 times the part of ∇J̄ in which
    an action acts on its own inner episode. For B = 1 it is COALA-PG. Values are subtracted as in Algorithm 1. For
    M-FOS they are more than a baseline: they change its expectation.

    With `shaping`, the values of a critic that sees the learner, C_l^b = own inner episode − V̂(h_l^b) + F̂_m −
    W(X_{m+1}^(−b)), as in `CoalaPG` but with the weight 1 of the own inner episode.

    **Arguments:**

    - `discount`, `gae_lambda`: factors per step.
    - `kappa`, `critic`: as in `CoalaPG`.

    Source: Meulemans et al. (2025), Eqs 7 and 26.
    """

    discount: Scalar = 1.0
    gae_lambda: Scalar = 1.0
    kappa: Kappa = 1.0

    unbiased_for: ClassVar[str | None] = None
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
            return learner_aware_advantages(self, rewards, values, shaping, average_own=False)
        check_unshaped(self.kappa, "MFOS")
        return batch_advantages(
            rewards,
            values,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
            average_future_episodes=True,
            normalize_current_episode=False,
        )
