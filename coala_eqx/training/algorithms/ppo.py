"""PPO: several clipped gradient steps for each meta-batch."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from coala_eqx._checks import check_whole
from coala_eqx.learners.actor_critic import check_clips, clipped_losses, value_limit, value_losses
from coala_eqx.learners.minibatches import draw_minibatches, minibatch_size, over_minibatches
from coala_eqx.policies import AbstractPolicy
from coala_eqx.policies.base import log_probs_of
from coala_eqx.shaping import replay_ego_outputs
from coala_eqx.training.algorithms.base import AbstractActorCritic, AlgorithmState, Schedule, UpdateInfo
from coala_eqx.training.batch import Batch


class PPO(AbstractActorCritic):
    """Several epochs over minibatches of whole trajectories, with the clipped objective.

    Gradients pass through all steps of a trajectory, and so through the memory of the policy.

    **Arguments:**

    - `optimiser`: any optax gradient transformation.
    - `epochs`, `minibatches`: number of passes over the batch, and number of its parts in each pass. `minibatches` must
      divide the number of trajectories.
    - `clip`: limit of the probability ratio's distance from 1. It must exceed the rounding of ratios, which would
      otherwise clip the first step.
    - `value_clip`: limit of the distance of values from those that were played. `"clip"` is the same limit as `clip`,
      and `None` is no limit.
    - `value_coefficient`: weight of the critic's mean squared error.
    - `entropy_coefficient`: weight of the policy's entropy, in nats, averaged over steps; a number, or a schedule
      (`optax.linear_schedule(0.02, 0.0, 300)`) over updates. The bonus is not part of the estimator's gradient. It
      keeps the policy from becoming deterministic.
    - `reward_scale`: factor of the rewards in advantages and targets. The critic has this scale.
    - `td_lambda`: λ of the critic's targets.
    - `leave_one_out`: whether the mean advantage of the other meta-episodes at the same step is subtracted. This
      baseline adds no bias. It needs two or more meetings of a kind.
    - `centre`: whether the mean of all advantages is subtracted from each. This adds bias.

    **Raises** `ValueError` for settings of a wrong type or outside of their range, and if minibatches do not divide the
    batch.

    Source: Schulman et al. (2017); Meulemans et al. (2025), App. B.
    """

    optimiser: optax.GradientTransformation = eqx.field(static=True)
    epochs: int = eqx.field(static=True, default=4)
    minibatches: int = eqx.field(static=True, default=2)
    clip: float = 0.2
    value_clip: float | str | None = eqx.field(static=True, default="clip", kw_only=True)
    value_coefficient: float = 0.5
    entropy_coefficient: float | Schedule = 0.0

    def __check_init__(self):
        self.check_settings()
        check_whole("epochs", self.epochs, 1)
        check_whole("minibatches", self.minibatches, 1)
        check_clips(self.clip, self.value_clip)

    def update(
        self, policy: AbstractPolicy, state: AlgorithmState, data: Batch, key: Any = None
    ) -> tuple[AbstractPolicy, AlgorithmState, UpdateInfo]:
        trajectories, now = len(data.actions), self.at(state.updates)

        def step(policy: AbstractPolicy, optimiser: Any, chosen: Array) -> tuple[AbstractPolicy, Any, UpdateInfo]:
            return now.step(policy, optimiser, data, chosen)

        minibatches = draw_minibatches(key, trajectories, self.epochs, self.minibatch(trajectories))
        policy, optimiser, infos = over_minibatches(step, policy, state.optimiser, minibatches)
        return policy, AlgorithmState(optimiser, state.updates + 1), jax.tree.map(jnp.mean, infos)

    def minibatch(self, trajectories: int) -> int:
        return minibatch_size(trajectories, self.minibatches, "meta_batch · batch = ")

    def loss(self, policy: AbstractPolicy, batch: Batch) -> tuple[Array, UpdateInfo]:
        output = replay_ego_outputs(policy, batch.observations, batch.actions)
        ratios = jnp.exp(log_probs_of(output, batch.actions) - batch.log_probs)
        policy_loss = clipped_losses(ratios, batch.advantages, self.clip).mean()
        limit = value_limit(self.clip, self.value_clip)
        value_loss = value_losses(output.values, batch.targets, batch.values, limit).mean()
        clipped = (jnp.abs(ratios - 1) > self.clip).mean()
        return self.total(policy_loss, value_loss, output, clipped=clipped)
