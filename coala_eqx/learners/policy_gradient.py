"""REINFORCE and A2C on a batch of inner episodes, through any optax optimiser."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from coala_eqx._checks import check_choice, check_finite, check_flag, check_not_negative, check_share
from coala_eqx.learners.actor_critic import normalised, policy_losses, value_losses
from coala_eqx.learners.base import AbstractGradientLearner, Experience, LearnerState
from coala_eqx.learners.optimising import ascend, check_optimiser
from coala_eqx.policies import AbstractPolicy, replay_actions
from coala_eqx.returns.to_go import sums_to_go


class PolicyGradient(AbstractGradientLearner):
    """Policy gradient with rewards to go: one step of the optimiser for each batch of inner episodes.

    It ascends (1/B) Σ_b Σ_t log π(a_t^b | x_t^b) · A_t^b with A = G − baseline and
    G_t = Σ_{k=t..T} discount^{k−t} · r_k. A is constant in this gradient. The optimiser's state lasts across inner
    episodes.

    **Arguments:**

    - `optimiser`: any optax gradient transformation. It is static: programs are compiled for each optimiser object, so
      make it once and share it. It is given the negative gradient, as optax minimises. LOLA differentiates through the
      update, and needs an optimiser with derivatives everywhere: `optax.adam(…, eps_root=1e-8)`, since the square root
      in Adam has none at 0 otherwise.
    - `discount`: discount per step, in [0, 1].
    - `baseline`: `None`; `"batch_mean"`, the mean of G_t over the batch; or `"critic"`, the policy's own
      value, which is then trained to match G with the loss `value_coefficient`·(1/B) Σ_b Σ_t (V − G)².
    - `normalise_advantages`: shift and scale A to mean 0 and standard deviation 1 over batch and steps.
    - `reward_scale`: factor of the rewards.
    - `value_coefficient`: weight of the critic's loss.

    The paper's naive A2C (Table 8) is `baseline="critic"`, `normalise_advantages=True`.

    **Raises** `ValueError` for an optimiser that is not optax's, a discount outside [0, 1], an unknown baseline, a
    `normalise_advantages` that is neither True nor False, or weights that are not finite, or negative for the critic.
    """

    optimiser: optax.GradientTransformation = eqx.field(static=True)
    discount: float = 1.0
    baseline: str | None = eqx.field(static=True, default=None)
    normalise_advantages: bool = eqx.field(static=True, default=False)
    reward_scale: float = 1.0
    value_coefficient: float = 0.5

    exchangeable: ClassVar[bool] = True

    def __check_init__(self):
        check_optimiser("optimiser", self.optimiser)
        check_share("discount", self.discount)
        check_choice("baseline", self.baseline, (None, "batch_mean", "critic"))
        check_flag("normalise_advantages", self.normalise_advantages)
        check_finite("reward_scale", self.reward_scale)
        check_not_negative("value_coefficient", self.value_coefficient)

    def init(self, policy: AbstractPolicy, key: Any = None) -> LearnerState:
        return self.optimiser.init(eqx.filter(policy, eqx.is_inexact_array))

    def update(
        self, policy: AbstractPolicy, state: LearnerState, experience: Experience, key: Any = None
    ) -> tuple[AbstractPolicy, LearnerState]:
        returns = sums_to_go(self.reward_scale * experience.rewards, self.discount)
        # They are computed outside the loss, and so are constants of the co-player's own gradient. A gradient through
        # the whole update, as of LOLA, still flows through them.
        advantages = self._advantages(policy, experience, returns)

        def loss(policy: AbstractPolicy) -> Array:
            log_probs, values = replay_actions(policy, experience.observations, experience.actions)
            per_step = policy_losses(log_probs, advantages)
            if self.baseline == "critic":
                per_step += self.value_coefficient * value_losses(values, returns)
            return per_step.sum(axis=1).mean()

        descent = eqx.filter_grad(loss)(policy)
        return self.ascend(policy, state, jax.tree.map(jnp.negative, descent))

    def ascend(
        self, policy: AbstractPolicy, state: LearnerState, gradient: AbstractPolicy
    ) -> tuple[AbstractPolicy, LearnerState]:
        return ascend(self.optimiser, policy, state, gradient)

    def _advantages(
        self, policy: AbstractPolicy, experience: Experience, returns: Float[Array, "batch steps"]
    ) -> Float[Array, "batch steps"]:
        advantages = returns
        if self.baseline == "batch_mean":
            advantages = returns - returns.mean(axis=0)
        if self.baseline == "critic":
            advantages = returns - replay_actions(policy, experience.observations, experience.actions)[1]
        return normalised(advantages) if self.normalise_advantages else advantages
