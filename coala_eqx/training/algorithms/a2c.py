"""A2C: one gradient step for each meta-batch."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import Array

from coala_eqx.learners.actor_critic import policy_losses, value_losses
from coala_eqx.policies import AbstractPolicy
from coala_eqx.policies.base import log_probs_of
from coala_eqx.shaping import replay_ego_outputs
from coala_eqx.training.algorithms.base import AbstractActorCritic, AlgorithmState, Schedule, UpdateInfo
from coala_eqx.training.batch import Batch


class A2C(AbstractActorCritic):
    """One step of the optimiser for each meta-batch.

    **Arguments:**

    - `optimiser`: any optax gradient transformation.
    - `value_coefficient`, `entropy_coefficient`, `reward_scale`, `td_lambda`, `leave_one_out`, `centre`: as in `PPO`.

    **Raises** `ValueError` for settings of a wrong type or outside of their range.

    Source: Meulemans et al. (2025), App. A and B.
    """

    uses_key: ClassVar[bool] = False

    optimiser: optax.GradientTransformation = eqx.field(static=True)
    value_coefficient: float = 0.5
    entropy_coefficient: float | Schedule = 0.0

    def __check_init__(self):
        self.check_settings()

    def update(
        self, policy: AbstractPolicy, state: AlgorithmState, data: Batch, key: Any = None
    ) -> tuple[AbstractPolicy, AlgorithmState, UpdateInfo]:
        everything = jnp.arange(len(data.actions))
        policy, optimiser, info = self.at(state.updates).step(policy, state.optimiser, data, everything)
        return policy, AlgorithmState(optimiser, state.updates + 1), info

    def minibatch(self, trajectories: int) -> int:
        return trajectories

    def loss(self, policy: AbstractPolicy, batch: Batch) -> tuple[Array, UpdateInfo]:
        output = replay_ego_outputs(policy, batch.observations, batch.actions)
        policy_loss = policy_losses(log_probs_of(output, batch.actions), batch.advantages).mean()
        value_loss = value_losses(output.values, batch.targets).mean()
        return self.total(policy_loss, value_loss, output)
