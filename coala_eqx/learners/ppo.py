"""PPO as a naive learner: several epochs over minibatches of inner episodes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from coala_eqx._checks import check_finite, check_flag, check_not_negative, check_share, check_whole
from coala_eqx.learners.actor_critic import (
    check_clips,
    clipped_losses,
    normalised,
    value_limit,
    value_losses,
)
from coala_eqx.learners.base import Experience, LearnerState
from coala_eqx.learners.drawing import AbstractDrawingLearner
from coala_eqx.learners.minibatches import (
    count_minibatches,
    draw_minibatches,
    list_minibatches,
    minibatch_size,
    over_minibatches,
)
from coala_eqx.learners.optimising import check_optimiser, descend
from coala_eqx.policies import AbstractPolicy, replay_actions
from coala_eqx.returns.to_go import sums_to_go


class PPO(AbstractDrawingLearner):
    """Several epochs over minibatches of whole inner episodes, with the clipped objective.

    Each step descends (1/b) Σ_b Σ_t [−min(ρ·A, clip(ρ)·A) + value_coefficient · (V − target)²] over the b trajectories
    of a minibatch, ρ = π(a_t|x_t)/π_old(a_t|x_t). A_t = Σ_{k≥t} (discount·gae_lambda)^{k−t} δ_k with the TD errors
    δ_k = r_k + discount·V_old(x_{k+1}) − V_old(x_k) and V_old = 0 after the last step; target = A + V_old. With one
    epoch, one minibatch and `gae_lambda=1` it is `PolicyGradient` with its critic as the baseline. The optimiser's
    state lasts across inner episodes.

    Minibatches are drawn with the learner's key. With `minibatches=1` there is no randomness, and no key is used.

    **Arguments:**

    - `optimiser`: any optax gradient transformation, static as in `PolicyGradient`.
    - `epochs`, `minibatches`: passes over the batch, and parts of it in each pass. `minibatches` must divide the batch.
    - `clip`: limit of the probability ratio's distance from 1; `None` for no limit.
    - `value_clip`: limit of how far values move from V_old; `"clip"` for the same as `clip`, `None` for no limit.
    - `value_coefficient`: weight of the critic's squared error.
    - `discount`: discount per step, in [0, 1].
    - `gae_lambda`: λ of the advantages, in [0, 1].
    - `normalise_advantages`: shift and scale A to mean 0 and standard deviation 1 over the whole batch. The critic's
      targets stay as they are.
    - `reward_scale`: factor of the rewards.

    **Raises** `ValueError` for settings of a wrong type or outside of their range, and where minibatches do not divide
    the batch.

    Source: Schulman et al. (2017); Schulman et al. (2016) for the advantages.
    """

    optimiser: optax.GradientTransformation = eqx.field(static=True)
    epochs: int = eqx.field(static=True, default=4)
    minibatches: int = eqx.field(static=True, default=2)
    clip: float | None = 0.2
    value_clip: float | str | None = eqx.field(static=True, default="clip", kw_only=True)
    value_coefficient: float = eqx.field(default=0.5, kw_only=True)
    discount: float = eqx.field(default=1.0, kw_only=True)
    gae_lambda: float = eqx.field(default=1.0, kw_only=True)
    normalise_advantages: bool = eqx.field(static=True, default=False, kw_only=True)
    reward_scale: float = eqx.field(default=1.0, kw_only=True)

    def __check_init__(self):
        check_optimiser("optimiser", self.optimiser)
        check_whole("epochs", self.epochs, 1)
        check_whole("minibatches", self.minibatches, 1)
        if self.clip is not None:
            check_clips(self.clip, self.value_clip)
        elif self.value_clip != "clip":  # which means no limit, too
            check_clips(1.0, self.value_clip)
        check_not_negative("value_coefficient", self.value_coefficient)
        check_share("discount", self.discount)
        check_share("gae_lambda", self.gae_lambda)
        check_flag("normalise_advantages", self.normalise_advantages)
        check_finite("reward_scale", self.reward_scale)

    @property
    def uses_key(self) -> bool:
        """Whether minibatches are drawn."""
        return self.minibatches > 1

    @property
    def exchangeable(self) -> bool:
        """Whether `update` ignores the order of the batch; with minibatches it does so on average only."""
        return self.minibatches == 1

    def init(self, policy: AbstractPolicy, key: Any = None) -> LearnerState:
        return self.optimiser.init(eqx.filter(policy, eqx.is_inexact_array))

    def draw(self, batch: int, key: Any) -> Int[Array, "minibatches size"]:
        size = minibatch_size(batch, self.minibatches, "batch = ")
        if self.minibatches == 1:
            return jnp.tile(jnp.arange(batch), (self.epochs, 1))
        return draw_minibatches(key, batch, self.epochs, size)

    def num_draws(self, batch: int) -> int:
        return count_minibatches(batch, self.epochs, minibatch_size(batch, self.minibatches, "batch = "))

    def draws(self, batch: int) -> tuple[Int[Array, "draws minibatches size"], Float[Array, " draws"]]:
        ways = list_minibatches(batch, self.epochs, minibatch_size(batch, self.minibatches, "batch = "))
        return jnp.asarray(ways), jnp.full(len(ways), 1 / len(ways))

    def learn(
        self, policy: AbstractPolicy, state: LearnerState, experience: Experience, draw: Int[Array, "minibatches size"]
    ) -> tuple[AbstractPolicy, LearnerState]:
        log_probs, values = replay_actions(policy, experience.observations, experience.actions)
        next_values = jnp.concatenate([values[:, 1:], jnp.zeros_like(values[:, :1])], axis=1)
        errors = self.reward_scale * experience.rewards + self.discount * next_values - values
        advantages = sums_to_go(errors, self.discount * self.gae_lambda)
        targets = advantages + values
        if self.normalise_advantages:
            advantages = normalised(advantages)
        batch = _Batch(experience, log_probs, values, advantages, targets)

        def step(policy: AbstractPolicy, state: Any, chosen: Array) -> tuple[AbstractPolicy, Any, None]:
            minibatch = jax.tree.map(lambda leaf: leaf[chosen], batch)
            return *descend(self.optimiser, policy, state, eqx.filter_grad(self._loss)(policy, minibatch)), None

        policy, state, _ = over_minibatches(step, policy, state, draw)
        return policy, state

    def _loss(self, policy: AbstractPolicy, batch: "_Batch") -> Float[Array, ""]:
        log_probs, values = replay_actions(policy, batch.experience.observations, batch.experience.actions)
        ratios = jnp.exp(log_probs - batch.log_probs)
        if self.clip is None:
            losses = -ratios * batch.advantages
        else:
            losses = clipped_losses(ratios, batch.advantages, self.clip)
        losses += self.value_coefficient * value_losses(
            values, batch.targets, batch.values, value_limit(self.clip, self.value_clip)
        )
        return losses.sum(axis=1).mean()


class _Batch(eqx.Module):
    """A batch with the quantities that stay the same in all epochs; arrays `[batch, steps]`."""

    experience: Experience
    log_probs: Float[Array, "batch steps"]
    values: Float[Array, "batch steps"]
    advantages: Float[Array, "batch steps"]
    targets: Float[Array, "batch steps"]
