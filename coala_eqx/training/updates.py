"""How an agent's policy and critic follow a batch: A2C and PPO."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from coala_eqx.estimators.base import Gradient
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping.replay import replay_ego
from coala_eqx.training.batch import Batch
from coala_eqx.training.mesh import spread


class UpdateInfo(eqx.Module):
    """What an update saw, averaged over its gradient steps."""

    policy_loss: Float[Array, ""]
    value_loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    """Before anything that the optimiser does."""

    clipped: Float[Array, ""]
    """Share of the actions whose probability ratio lay beyond the clip."""


class AbstractUpdate(eqx.Module):
    """Moves a policy along the gradient that a batch estimates, and its critic towards the targets.

    Losses are means over trajectories and steps: at the parameters that played the batch the policy's loss has the
    gradient −(estimator's gradient)/(M·T), averaged over meta-episodes.
    """

    optimiser: eqx.AbstractVar[optax.GradientTransformation]
    """Of policy and critic together; it is handed gradients of the loss."""

    def init(self, policy: AbstractPolicy) -> Any:
        """The optimiser's state."""
        return self.optimiser.init(eqx.filter(policy, eqx.is_inexact_array))

    @abc.abstractmethod
    def __call__(
        self, policy: AbstractPolicy, state: Any, batch: Batch, key: Key[Array, ""]
    ) -> tuple[AbstractPolicy, Any, UpdateInfo]:
        """**Returns** the new policy and state, and what was seen."""

    def follow(self, policy: AbstractPolicy, state: Any, gradient: Gradient) -> tuple[AbstractPolicy, Any, UpdateInfo]:
        """One step of the optimiser along an estimate that has no advantages; the critic stays as it is."""
        descent = jax.tree.map(jnp.negative, gradient)
        updates, state = self.optimiser.update(descent, state, eqx.filter(policy, eqx.is_inexact_array))
        norm = optax.tree.norm(gradient)
        info = UpdateInfo(*(jnp.zeros_like(norm),) * 2, gradient_norm=norm, clipped=jnp.zeros_like(norm))
        return eqx.apply_updates(policy, updates), state, info


class A2C(AbstractUpdate):
    """One step along the gradient.

    **Arguments:**

    - `optimiser`: any optax gradient transformation.
    - `value_coefficient`: weight of the critic's mean squared error.

    Source: Meulemans et al. (2025), App. A and B.
    """

    optimiser: optax.GradientTransformation = eqx.field(static=True)
    value_coefficient: float = 0.5

    def __call__(
        self, policy: AbstractPolicy, state: Any, batch: Batch, key: Key[Array, ""]
    ) -> tuple[AbstractPolicy, Any, UpdateInfo]:
        del key

        def loss(policy: AbstractPolicy) -> tuple[Array, UpdateInfo]:
            log_probs, values = replay_ego(policy, batch.observations, batch.actions)
            policy_loss = -(log_probs * batch.advantages).mean()
            value_loss = ((values - batch.targets) ** 2).mean()
            return policy_loss + self.value_coefficient * value_loss, _info(policy_loss, value_loss)

        return _step(self.optimiser, loss, policy, state)


class PPO(AbstractUpdate):
    """Several epochs over minibatches of whole trajectories, with the clipped objective.

    Gradients go through all of a trajectory, and so through the memory of the policy.

    **Arguments:**

    - `optimiser`: any optax gradient transformation.
    - `epochs`, `minibatches`: how often everything is seen, and in how many parts. The number of trajectories must be
      a multiple of `minibatches`.
    - `clip`: of the probability ratio, and of how far values move from what they were.
    - `value_coefficient`: weight of the critic's mean squared error.

    **Raises** `ValueError` if there are no epochs, or minibatches do not divide the batch.

    Source: Schulman et al. (2017); Meulemans et al. (2025), App. B.
    """

    optimiser: optax.GradientTransformation = eqx.field(static=True)
    epochs: int = eqx.field(static=True, default=4)
    minibatches: int = eqx.field(static=True, default=2)
    clip: float = 0.2
    value_coefficient: float = 0.5

    def __check_init__(self):
        for name in ("epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {getattr(self, name)}.")

    def __call__(
        self, policy: AbstractPolicy, state: Any, batch: Batch, key: Key[Array, ""]
    ) -> tuple[AbstractPolicy, Any, UpdateInfo]:
        trajectories = len(batch.actions)
        if trajectories % self.minibatches:
            raise ValueError(
                f"`minibatches` must divide the number of trajectories, meta_batch · batch = {trajectories}, but is "
                f"{self.minibatches}."
            )
        shuffled = jax.vmap(lambda key: jax.random.permutation(key, trajectories))(jax.random.split(key, self.epochs))
        arrays, static = eqx.partition(policy, eqx.is_array)

        def step(carry: tuple[Any, Any], chosen: Array) -> tuple[tuple[Any, Any], UpdateInfo]:
            arrays, state = carry
            minibatch = spread(jax.tree.map(lambda leaf: leaf[chosen], batch))
            moved, state, info = _step(
                self.optimiser, lambda policy: self.loss(policy, minibatch), eqx.combine(arrays, static), state
            )
            return (eqx.filter(moved, eqx.is_array), state), info

        rows = shuffled.reshape(self.epochs * self.minibatches, -1)
        (arrays, state), infos = jax.lax.scan(step, (arrays, state), rows)
        return eqx.combine(arrays, static), state, jax.tree.map(jnp.mean, infos)

    def loss(self, policy: AbstractPolicy, batch: Batch) -> tuple[Array, UpdateInfo]:
        """Of one minibatch, and what is worth noting of it."""
        log_probs, values = replay_ego(policy, batch.observations, batch.actions)
        ratios = jnp.exp(log_probs - batch.log_probs)
        near = jnp.clip(ratios, 1 - self.clip, 1 + self.clip)
        policy_loss = -jnp.minimum(ratios * batch.advantages, near * batch.advantages).mean()
        near_values = batch.values + jnp.clip(values - batch.values, -self.clip, self.clip)
        errors = jnp.maximum((values - batch.targets) ** 2, (near_values - batch.targets) ** 2)
        clipped = (jnp.abs(ratios - 1) > self.clip).mean()
        return policy_loss + self.value_coefficient * errors.mean(), _info(policy_loss, errors.mean(), clipped)


def _info(policy_loss: Array, value_loss: Array, clipped: Array | None = None) -> UpdateInfo:
    none = jnp.zeros_like(policy_loss)
    return UpdateInfo(policy_loss, value_loss, gradient_norm=none, clipped=none if clipped is None else clipped)


def _step(
    optimiser: optax.GradientTransformation, loss: Any, policy: AbstractPolicy, state: Any
) -> tuple[AbstractPolicy, Any, UpdateInfo]:
    (_, info), gradient = eqx.filter_value_and_grad(loss, has_aux=True)(policy)
    updates, state = optimiser.update(gradient, state, eqx.filter(policy, eqx.is_inexact_array))
    info = eqx.tree_at(lambda info: info.gradient_norm, info, optax.tree.norm(gradient))
    return eqx.apply_updates(policy, updates), state, info
