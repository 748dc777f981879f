"""The contract of an algorithm, and the shared parts of A2C and PPO."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float, Int

from coala_eqx._checks import check_flag, check_not_negative, check_positive, check_share
from coala_eqx.estimators import AbstractEstimator, AbstractLearnerCritic, AbstractScoreFunctionEstimator
from coala_eqx.estimators.base import Gradient
from coala_eqx.learners.optimising import check_optimiser, descend
from coala_eqx.learners.protocol import AbstractUpdateRule, Data
from coala_eqx.policies import AbstractPolicy
from coala_eqx.policies.base import PolicyOutput, entropy_of
from coala_eqx.shaping import MetaEpisode
from coala_eqx.training.batch import Batch, make_batch
from coala_eqx.training.layout import shard
from coala_eqx.training.pieces import mean_over_chunks

Schedule = Callable[[Array], Array]
"""The number of updates so far → a coefficient, as in optax."""


class UpdateInfo(eqx.Module):
    """Measurements of one update, averaged over its gradient steps."""

    policy_loss: Float[Array, ""]
    value_loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    """Norm of the gradient, before the optimiser changes it."""

    entropy: Float[Array, ""]
    """Entropy of the policy, in nats, averaged over the steps of the batch."""

    clipped: Float[Array, ""]
    """Share of the actions whose probability ratio lies beyond the clip."""


class AlgorithmState(eqx.Module):
    """The part of an agent's training that lasts from one update to the next."""

    optimiser: Any
    """State of the optimiser."""

    updates: Int[Array, ""]
    """Number of updates so far."""


class AbstractAlgorithm(AbstractUpdateRule[Data]):
    """A rule by which the policy and critic of a meta agent change after each meta-batch.

    It has the protocol of a learner. Its `update` returns measurements, too.
    """

    uses_key: ClassVar[bool] = True
    """Whether `init` or `update` uses its key. Unlike for learners, the default is that it does."""

    optimiser: eqx.AbstractVar[optax.GradientTransformation]

    @abc.abstractmethod
    def check_estimator(self, estimator: AbstractEstimator) -> None:
        """**Raises** `ValueError` unless the algorithm can follow this estimator."""

    def init(self, policy: AbstractPolicy, key: Any = None) -> AlgorithmState:
        """The state before the first update."""
        return AlgorithmState(self.optimiser.init(eqx.filter(policy, eqx.is_inexact_array)), jnp.zeros((), jnp.int32))

    @abc.abstractmethod
    def update(
        self, policy: AbstractPolicy, state: AlgorithmState, data: Data, key: Any, /
    ) -> tuple[AbstractPolicy, AlgorithmState, UpdateInfo]:
        """Learn from the data of one meta-batch.

        **Returns** the new policy, the new state, and measurements of the update.
        """


class AbstractActorCritic(AbstractAlgorithm[Batch]):
    """Moves a policy along the advantages of a batch, and its critic towards the targets.

    Losses are means over trajectories and steps. At the parameters that played the batch, the gradient of the policy's
    loss is −(estimator's gradient)/(M·T), averaged over meta-episodes.
    """

    optimiser: eqx.AbstractVar[optax.GradientTransformation]
    """Optimiser of policy and critic together. It receives gradients of the loss."""

    value_coefficient: eqx.AbstractVar[float]
    """Weight of the critic's mean squared error."""

    entropy_coefficient: eqx.AbstractVar[float | Schedule]
    """Weight of the entropy bonus: a number, or a schedule over updates."""

    reward_scale: float = eqx.field(default=1.0, kw_only=True)
    """Factor of the rewards in advantages and targets."""

    td_lambda: float = eqx.field(default=1.0, kw_only=True)
    """λ of the critic's targets."""

    leave_one_out: bool = eqx.field(static=True, default=False, kw_only=True)
    """Whether the mean advantage of the other meta-episodes, at the same step, is subtracted."""

    centre: bool = eqx.field(static=True, default=False, kw_only=True)
    """Whether the mean of all advantages is subtracted from each."""

    def check_settings(self) -> None:
        """**Raises** `ValueError` for settings of a wrong type or outside of their range."""
        check_optimiser("optimiser", self.optimiser)
        check_not_negative("value_coefficient", self.value_coefficient)
        if not callable(self.entropy_coefficient):
            check_not_negative("entropy_coefficient", self.entropy_coefficient)
        check_positive("reward_scale", self.reward_scale)
        check_share("td_lambda", self.td_lambda)
        check_flag("leave_one_out", self.leave_one_out)
        check_flag("centre", self.centre)
        if self.leave_one_out and self.centre:
            raise ValueError(
                "With `leave_one_out` the mean of all advantages is 0, and `centre` does nothing: set it to False."
            )

    def check_estimator(self, estimator: AbstractEstimator) -> None:
        if not isinstance(estimator, AbstractScoreFunctionEstimator):
            name, kind = type(self).__name__, type(estimator).__name__
            raise ValueError(
                f"{name} needs an estimator that returns advantages, such as CoalaPG(), but the agent has {kind}(): "
                f"train it by Follow(optimiser)."
            )

    def batch(
        self,
        estimator: AbstractScoreFunctionEstimator,
        episodes: MetaEpisode,
        critic: AbstractLearnerCritic | None = None,
    ) -> Batch:
        """The batch of meta-episodes `[meetings, batch, …]`, with advantages by an estimator.

        `critic`: the critic that sees the learner, if there is one.
        """
        return make_batch(
            estimator,
            episodes,
            reward_scale=self.reward_scale,
            td_lambda=self.td_lambda,
            leave_one_out=self.leave_one_out,
            centre=self.centre,
            critic=critic,
        )

    @abc.abstractmethod
    def minibatch(self, trajectories: int) -> int:
        """Number of trajectories in one step of the optimiser, if the batch has `trajectories`.

        **Raises** `ValueError` if minibatches do not divide the batch.
        """

    @abc.abstractmethod
    def loss(self, policy: AbstractPolicy, batch: Batch) -> tuple[Array, UpdateInfo]:
        """The loss of some trajectories, and measurements. Both are means over the trajectories."""

    def total(
        self, policy_loss: Array, value_loss: Array, output: PolicyOutput, clipped: ArrayLike = 0.0
    ) -> tuple[Array, UpdateInfo]:
        """The result of `loss`, from its parts."""
        entropy = entropy_of(output).mean()
        zero = jnp.zeros_like(entropy)
        info = UpdateInfo(
            policy_loss,
            value_loss,
            gradient_norm=zero,
            entropy=entropy,
            clipped=zero + jnp.asarray(clipped, zero.dtype),
        )
        bonus: Any = self.entropy_coefficient
        return policy_loss + self.value_coefficient * value_loss - bonus * entropy, info

    def step(
        self, policy: AbstractPolicy, state: Any, batch: Batch, chosen: Int[Array, " trajectories"]
    ) -> tuple[AbstractPolicy, Any, UpdateInfo]:
        """One step of the optimiser down the loss of the chosen trajectories."""
        differentiate = eqx.filter_value_and_grad(self.loss, has_aux=True)
        minibatch = shard(jax.tree.map(lambda leaf: leaf[chosen], batch))

        def some(chunk: Batch) -> tuple[UpdateInfo, Gradient]:
            (_, info), gradient = differentiate(policy, chunk)
            return info, gradient

        info, gradient = mean_over_chunks(some, minibatch, batch.chunk or len(chosen))
        policy, state = descend(self.optimiser, policy, state, gradient)
        return policy, state, eqx.tree_at(lambda info: info.gradient_norm, info, optax.tree.norm(gradient))

    def at(self, updates: Int[Array, ""]) -> "AbstractActorCritic":
        """The algorithm with the coefficients of this update."""
        if not callable(self.entropy_coefficient):
            return self
        coefficient = jnp.asarray(self.entropy_coefficient(updates), float)
        return eqx.tree_at(lambda algorithm: algorithm.entropy_coefficient, self, coefficient)
