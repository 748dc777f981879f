"""How an agent's policy and critic follow a batch: A2C and PPO."""

import abc
import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Int, Key

from coala_eqx.arrays import check_choice, check_finite, check_not_negative, check_positive, check_whole, concrete
from coala_eqx.estimators.base import Gradient
from coala_eqx.learners.optimising import ascend, check_optimiser, descend
from coala_eqx.policies import AbstractPolicy
from coala_eqx.policies.base import PolicyOutput, log_probs_of
from coala_eqx.shaping import replay_ego_outputs
from coala_eqx.shaping.problem import size
from coala_eqx.training.batch import Batch
from coala_eqx.training.mesh import spread
from coala_eqx.training.pieces import mean_over_chunks


class UpdateInfo(eqx.Module):
    """What an update saw, averaged over its gradient steps."""

    policy_loss: Float[Array, ""]
    value_loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    """Before anything that the optimiser does."""

    entropy: Float[Array, ""]
    """Of the policy, in nats, at the steps of the batch."""

    clipped: Float[Array, ""]
    """Share of the actions whose probability ratio lay beyond the clip."""


class AbstractUpdate(eqx.Module):
    """Moves a policy along the gradient that a batch estimates, and its critic towards the targets.

    Losses are means over trajectories and steps: at the parameters that played the batch the policy's loss has the
    gradient −(estimator's gradient)/(M·T), averaged over meta-episodes.
    """

    optimiser: eqx.AbstractVar[optax.GradientTransformation]
    """Of policy and critic together; it is handed gradients of the loss."""

    value_coefficient: eqx.AbstractVar[float]
    entropy_coefficient: eqx.AbstractVar[float]

    chunk: eqx.AbstractVar[int | None]
    """How many trajectories a gradient is computed of at a time; all of a step's unless given."""

    FOLLOWED: ClassVar[dict[str, Any]] = {"value_coefficient": 0, "entropy_coefficient": 0, "chunk": None}
    """What the settings are of the step that `follow` takes, which is their value where they say what it does."""

    def check_settings(self) -> None:
        """**Raises** `ValueError` for an optimiser that is none of optax's, weights that are negative or not finite, or
        a chunk that is no integer ≥ 1.
        """
        check_optimiser("optimiser", self.optimiser)
        check_not_negative("value_coefficient", self.value_coefficient)
        check_not_negative("entropy_coefficient", self.entropy_coefficient)
        if self.chunk is not None:
            size("chunk", self.chunk)

    def init(self, policy: AbstractPolicy) -> Any:
        """The optimiser's state."""
        return self.optimiser.init(eqx.filter(policy, eqx.is_inexact_array))

    @abc.abstractmethod
    def __call__(
        self, policy: AbstractPolicy, state: Any, batch: Batch, key: Key[Array, ""]
    ) -> tuple[AbstractPolicy, Any, UpdateInfo]:
        """**Returns** the new policy and state, and what was seen."""

    @abc.abstractmethod
    def loss(self, policy: AbstractPolicy, batch: Batch) -> tuple[Array, UpdateInfo]:
        """Of some trajectories, and what is worth noting of it; both are means over them."""

    def total(
        self, policy_loss: Array, value_loss: Array, output: PolicyOutput, clipped: ArrayLike = 0.0
    ) -> tuple[Array, UpdateInfo]:
        """What `loss` returns, from its parts."""
        entropy = entropy_of(output).mean()
        zero = jnp.zeros_like(entropy)
        info = UpdateInfo(
            policy_loss,
            value_loss,
            gradient_norm=zero,
            entropy=entropy,
            clipped=zero + jnp.asarray(clipped, zero.dtype),
        )
        return policy_loss + self.value_coefficient * value_loss - self.entropy_coefficient * entropy, info

    def step(
        self, policy: AbstractPolicy, state: Any, batch: Batch, chosen: Int[Array, " trajectories"]
    ) -> tuple[AbstractPolicy, Any, UpdateInfo]:
        """One step of the optimiser down the loss of the chosen trajectories."""
        differentiate = eqx.filter_value_and_grad(self.loss, has_aux=True)
        minibatch = spread(jax.tree.map(lambda leaf: leaf[chosen], batch))

        def some(chunk: Batch) -> tuple[UpdateInfo, Gradient]:
            (_, info), gradient = differentiate(policy, chunk)
            return info, gradient

        info, gradient = mean_over_chunks(some, minibatch, self.chunk or len(chosen))
        policy, state = descend(self.optimiser, policy, state, gradient)
        return policy, state, eqx.tree_at(lambda info: info.gradient_norm, info, optax.tree.norm(gradient))

    @abc.abstractmethod
    def minibatch(self, trajectories: int) -> int:
        """How many trajectories of a batch of so many one step of the optimiser sees.

        **Raises** `ValueError` if they cannot be divided like that, or `chunk` does not divide a minibatch.
        """

    def check_chunk(self, minibatch: int) -> None:
        """**Raises** `ValueError` unless `chunk` divides so many trajectories."""
        if self.chunk is not None and minibatch % self.chunk:
            raise ValueError(f"`chunk` must divide the {minibatch} trajectories of a step, but is {self.chunk}.")

    def follow(self, policy: AbstractPolicy, state: Any, gradient: Gradient) -> tuple[AbstractPolicy, Any, UpdateInfo]:
        """One step of the optimiser along an estimate that has no advantages; the critic stays as it is."""
        norm = optax.tree.norm(gradient)
        unknown = jnp.full_like(norm, jnp.nan)
        info = UpdateInfo(unknown, unknown, gradient_norm=norm, entropy=unknown, clipped=unknown)
        return *ascend(self.optimiser, policy, state, gradient), info

    def set_in_vain(self) -> Iterator[str]:
        """Settings of this update that `follow` does not heed, though they are neither their defaults nor what it does:
        as text, such as `epochs=8`.
        """
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name, followed in self.FOLLOWED.items():
            value = getattr(self, name)
            if concrete(value) and value not in (defaults.get(name), followed):
                yield f"{name}={value}"


class A2C(AbstractUpdate):
    """One step along the gradient.

    **Arguments:**

    - `optimiser`: any optax gradient transformation.
    - `value_coefficient`: weight of the critic's mean squared error.
    - `entropy_coefficient`, `chunk`: as `PPO`'s.

    **Raises** `ValueError` for settings of wrong types, or weights that are negative or not finite.

    Source: Meulemans et al. (2025), App. A and B.
    """

    optimiser: optax.GradientTransformation = eqx.field(static=True)
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.0
    chunk: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        self.check_settings()

    def __call__(
        self, policy: AbstractPolicy, state: Any, batch: Batch, key: Key[Array, ""]
    ) -> tuple[AbstractPolicy, Any, UpdateInfo]:
        del key
        return self.step(policy, state, batch, jnp.arange(self.minibatch(len(batch.actions))))

    def minibatch(self, trajectories: int) -> int:
        self.check_chunk(trajectories)
        return trajectories

    def loss(self, policy: AbstractPolicy, batch: Batch) -> tuple[Array, UpdateInfo]:
        output = replay_ego_outputs(policy, batch.observations, batch.actions)
        policy_loss = -(log_probs_of(output, batch.actions) * batch.advantages).mean()
        value_loss = ((output.values - batch.targets) ** 2).mean()
        return self.total(policy_loss, value_loss, output)


class PPO(AbstractUpdate):
    """Several epochs over minibatches of whole trajectories, with the clipped objective.

    Gradients go through all of a trajectory, and so through the memory of the policy.

    **Arguments:**

    - `optimiser`: any optax gradient transformation.
    - `epochs`, `minibatches`: how often everything is seen, and in how many parts. The number of trajectories must be
      a multiple of `minibatches`.
    - `clip`: of the probability ratio; above the rounding of ratios, which alone would clip the first step otherwise.
    - `value_clip`: of how far values move from what they were; `"clip"` is as far as `clip`, `None` is no limit.
    - `value_coefficient`: weight of the critic's mean squared error.
    - `entropy_coefficient`: weight of the policy's entropy, in nats, averaged over steps: what it adds to the objective
      is no part of the estimator's gradient, and keeps the policy from becoming deterministic.
    - `chunk`: if given, a minibatch's gradient is a sum over chunks of so many trajectories, one after the other: the
      same to rounding, with memory for one chunk only. A CPU whose cache holds a chunk is several times faster so.

    **Raises** `ValueError` for settings of wrong types, clips that are not positive, weights that are negative or not
    finite, or no epochs; if minibatches do not divide the batch, or chunks the minibatch.

    Source: Schulman et al. (2017); Meulemans et al. (2025), App. B.
    """

    optimiser: optax.GradientTransformation = eqx.field(static=True)
    epochs: int = eqx.field(static=True, default=4)
    minibatches: int = eqx.field(static=True, default=2)
    clip: float = 0.2
    value_clip: float | str | None = eqx.field(static=True, default="clip", kw_only=True)
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.0
    chunk: int | None = eqx.field(static=True, default=None)

    FOLLOWED: ClassVar[dict[str, Any]] = AbstractUpdate.FOLLOWED | {
        "epochs": 1,
        "minibatches": 1,
        "clip": jnp.inf,
        "value_clip": None,
    }

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

    def __call__(
        self, policy: AbstractPolicy, state: Any, batch: Batch, key: Key[Array, ""]
    ) -> tuple[AbstractPolicy, Any, UpdateInfo]:
        trajectories = len(batch.actions)
        minibatch = self.minibatch(trajectories)
        shuffled = jax.vmap(lambda key: jax.random.permutation(key, trajectories))(jax.random.split(key, self.epochs))
        arrays, static = eqx.partition(policy, eqx.is_array)

        def step(carry: tuple[Any, Any], chosen: Array) -> tuple[tuple[Any, Any], UpdateInfo]:
            arrays, state = carry
            moved, state, info = self.step(eqx.combine(arrays, static), state, batch, chosen)
            return (eqx.filter(moved, eqx.is_array), state), info

        rows = shuffled.reshape(-1, minibatch)
        (arrays, state), infos = jax.lax.scan(step, (arrays, state), rows)
        return eqx.combine(arrays, static), state, jax.tree.map(jnp.mean, infos)

    def minibatch(self, trajectories: int) -> int:
        if trajectories % self.minibatches:
            raise ValueError(
                f"`minibatches` must divide the number of trajectories, meta_batch · batch = {trajectories}, but is "
                f"{self.minibatches}."
            )
        self.check_chunk(minibatch := trajectories // self.minibatches)
        return minibatch

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


def entropy_of(output: PolicyOutput) -> Float[Array, "*steps"]:
    """−Σ p ln p of the policy at each step, in nats. An action of logit −∞ adds exactly 0, and has no slope."""
    log_probs = jax.nn.log_softmax(output.logits)
    possible = jnp.where(jnp.isneginf(log_probs), 0, log_probs)  # for which p · ln p is 0, as it is for −∞
    return -(jnp.exp(possible) * possible).sum(axis=-1)
