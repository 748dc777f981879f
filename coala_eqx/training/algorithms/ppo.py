"""PPO."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from coala_eqx._checks import check_choice, check_finite, check_positive, check_whole
from coala_eqx.arrays import concrete
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
    - `epochs`, `minibatches`: passes over the batch, and parts of it in each pass. `minibatches` must divide the number
      of trajectories.
    - `clip`: limit of the probability ratio's distance from 1. It must exceed the rounding of ratios, which alone would
      clip the first step otherwise.
    - `value_clip`: limit of how far values move from those that were played; `"clip"` for the same as `clip`, `None`
      for no limit.
    - `value_coefficient`: weight of the critic's mean squared error.
    - `entropy_coefficient`: weight of the policy's entropy, in nats, averaged over steps; a number, or a schedule
      (`optax.linear_schedule(0.02, 0.0, 300)`) over updates. The bonus is no part of the estimator's gradient, and
      keeps the policy from becoming deterministic.
    - `reward_scale`: factor of the rewards in advantages and targets. The critic has this scale.
    - `td_lambda`: λ of the critic's targets.
    - `leave_one_out`: whether the mean advantage of the other meta-episodes at the same step is subtracted: a baseline
      that adds no bias. It needs two meetings of a kind or more.
    - `centre`: whether the mean advantage over everything is subtracted. It adds bias.

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
    reward_scale: float = eqx.field(default=1.0, kw_only=True)
    td_lambda: float = eqx.field(default=1.0, kw_only=True)
    leave_one_out: bool = eqx.field(static=True, default=False, kw_only=True)
    centre: bool = eqx.field(static=True, default=False, kw_only=True)

    def __check_init__(self):
        self.check_settings()
        check_whole("epochs", self.epochs, 1)
        check_whole("minibatches", self.minibatches, 1)
        check_finite("clip", self.clip)
        rounding = float(jnp.finfo(jnp.result_type(float)).eps) ** 0.5
        if concrete(self.clip) and self.clip < rounding:
            raise ValueError(
                "`clip` must be positive, and above the rounding of probability ratios, which alone would clip the "
                f"first step otherwise: at least {rounding:.2g}, but is {self.clip}."
            )
        if isinstance(self.value_clip, str):
            check_choice("value_clip", self.value_clip, ("clip", None))
        elif self.value_clip is not None:
            check_positive("value_clip", self.value_clip)

    def update(
        self, policy: AbstractPolicy, state: AlgorithmState, data: Batch, key: Key[Array, ""]
    ) -> tuple[AbstractPolicy, AlgorithmState, UpdateInfo]:
        trajectories = len(data.actions)
        minibatch, now = self.minibatch(trajectories), self.at(state.updates)
        shuffled = jax.vmap(lambda key: jax.random.permutation(key, trajectories))(jax.random.split(key, self.epochs))
        arrays, static = eqx.partition(policy, eqx.is_array)

        def step(carry: tuple[Any, Any], chosen: Array) -> tuple[tuple[Any, Any], UpdateInfo]:
            arrays, optimiser = carry
            moved, optimiser, info = now.step(eqx.combine(arrays, static), optimiser, data, chosen)
            return (eqx.filter(moved, eqx.is_array), optimiser), info

        rows = shuffled.reshape(-1, minibatch)
        (arrays, optimiser), infos = jax.lax.scan(step, (arrays, state.optimiser), rows)
        state = AlgorithmState(optimiser, state.updates + 1)
        return eqx.combine(arrays, static), state, jax.tree.map(jnp.mean, infos)

    def minibatch(self, trajectories: int) -> int:
        if trajectories % self.minibatches:
            raise ValueError(
                f"`minibatches` must divide the number of trajectories, meta_batch · batch = {trajectories}, but is "
                f"{self.minibatches}."
            )
        return trajectories // self.minibatches

    def loss(self, policy: AbstractPolicy, batch: Batch) -> tuple[Array, UpdateInfo]:
        output = replay_ego_outputs(policy, batch.observations, batch.actions)
        ratios = jnp.exp(log_probs_of(output, batch.actions) - batch.log_probs)
        near = jnp.clip(ratios, 1 - self.clip, 1 + self.clip)
        policy_loss = -jnp.minimum(ratios * batch.advantages, near * batch.advantages).mean()
        errors = (output.values - batch.targets) ** 2
        if self.value_clip is not None:
            most = self.clip if isinstance(self.value_clip, str) else self.value_clip
            near_values = batch.values + jnp.clip(output.values - batch.values, -most, most)
            errors = jnp.maximum(errors, (near_values - batch.targets) ** 2)
        return self.total(policy_loss, errors.mean(), output, clipped=(jnp.abs(ratios - 1) > self.clip).mean())
