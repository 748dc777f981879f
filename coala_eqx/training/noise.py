"""Noise and direction of estimators' gradients, measured by sampling where outcomes cannot be enumerated."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from coala_eqx._checks import check_flag, check_whole
from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator, LearnerCritic
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, score_function
from coala_eqx.training.algorithms import AbstractActorCritic
from coala_eqx.training.batch import Batch
from coala_eqx.training.fit import check_index
from coala_eqx.training.layout import Layout, shard
from coala_eqx.training.pieces import mean_over_chunks
from coala_eqx.training.play import critic_of, meet
from coala_eqx.training.pool import Pool
from coala_eqx.training.state import PoolState


class GradientNoise(eqx.Module):
    """Gradients of several estimators. ĝ is an estimator's gradient from one meta-batch, and G its expectation."""

    inner: Float[Array, "*stacked measured measured estimators estimators"]
    """⟨ĝ_e, ĝ_f⟩ for every pair of the played meta-batches, and for each with itself."""

    meta_batch: int = eqx.field(static=True)
    """Number of meta-episodes in a meta-batch."""

    @property
    def products(self) -> Float[Array, "*stacked estimators estimators"]:
        """Unbiased estimates of ⟨G_e, G_f⟩, from different meta-batches. The estimate of ‖G_e‖² may be negative."""
        measured = self.inner.shape[-3]
        every, own = self.inner.sum(axis=(-4, -3)), self._own.sum(axis=-3)
        return (every - own) / (measured * (measured - 1))

    @property
    def variances(self) -> Float[Array, "*stacked estimators"]:
        """Variance of a single meta-episode: E‖ĝ_e − G_e‖² times the number of meta-episodes.

        With `leave_one_out` the baseline, and so the variance, depends a little on the number of meta-episodes.
        """
        return self.meta_batch * (_squares(self._own.mean(axis=-3)) - _squares(self.products))

    @property
    def _own(self) -> Float[Array, "*stacked measured estimators estimators"]:
        return jnp.moveaxis(jnp.diagonal(self.inner, axis1=-4, axis2=-3), -1, -3)

    def mean(self) -> "GradientNoise":
        """The mean over all stacked axes, such as seeds. Take it before ratios."""
        return dataclasses.replace(self, inner=self.inner.mean(axis=tuple(range(self.inner.ndim - 4))))

    def critical_meta_batch(self) -> Float[Array, "*stacked estimators"]:
        """Number of meta-episodes whose mean gradient has as much noise as signal, E‖ĝ − G‖² = ‖G‖².

        It is NaN where the estimate of ‖G‖² is not positive.

        Source: McCandlish et al. (2018), the simple noise scale.
        """
        squares = _squares(self.products)
        return jnp.where(squares > 0, self.variances / squares, jnp.nan)

    def cosines(self, reference: int = 0) -> Float[Array, "*stacked estimators"]:
        """Cosine of the angle between each G and that of the estimator `reference`. It is not cut to ±1.

        It is NaN where the estimate of either ‖G‖² is not positive.
        """
        squares = _squares(self.products)
        norms = jnp.sqrt(squares * squares[..., reference, None])
        seen = (squares > 0) & (squares[..., reference, None] > 0)
        return jnp.where(seen, self.products[..., reference, :] / norms, jnp.nan)

    def without(self, number: int) -> "GradientNoise":
        """The same without one meta-batch."""
        left = np.delete(np.arange(self.inner.shape[-3]), number)
        return dataclasses.replace(self, inner=self.inner[..., left[:, None], left, :, :])

    def standard_error(self, statistic: Callable[["GradientNoise"], Array]) -> Array:
        """Standard error of a statistic, such as `GradientNoise.cosines`, by the jackknife over meta-batches.

        It is NaN where leaving out one meta-batch makes the statistic NaN. Stacked axes, such as seeds, stay fixed: the
        error comes from the meta-batches that were played, not from the seeds that were drawn.

        **Raises** `ValueError` for fewer than three meta-batches.

        Source: Efron and Stein (1981).
        """
        if (measured := self.inner.shape[-3]) < 3:
            raise ValueError(f"A standard error needs three or more meta-batches, but {measured} were measured.")
        left = jnp.stack([statistic(self.without(number)) for number in range(measured)])
        return jnp.sqrt((measured - 1) * left.var(axis=0))


def gradient_noise(
    pool: Pool,
    state: PoolState,
    estimators: Sequence[AbstractEstimator],
    measured: int,
    *,
    index: int = 0,
    leave_one_out: Sequence[bool] | None = None,
    by_critic: Sequence[bool] | None = None,
    layout: Layout = Layout(),
) -> GradientNoise:
    """Measure the gradients that an agent of a pool would follow against naive learners with these estimators.

    They are the gradients of the pool's first step: of the mean of log π · advantage over a meta-batch, B, M and T,
    with the agent's scale of rewards, its baselines and its critic. They are computed in the chunks of the layout, or
    else in the minibatches of the agent's algorithm.

    **Arguments:**

    - `measured`: number of meta-batches that are played, the same for all estimators.
    - `index`: number of the agent.
    - `leave_one_out`: one flag for each estimator, in place of the agent's. It compares baselines on the same
      meta-episodes.
    - `by_critic`: one flag for each estimator: whether it is given the agent's critic that sees the learner. By default
      those are that need it.
    - `layout`: sizes of the pieces of work.

    **Raises** `ValueError` if

    - `measured` is below 2;
    - there is no such agent, or it is trained without advantages;
    - `leave_one_out` does not fit the pool or the number of estimators;
    - there are no estimators, or one returns no advantages or (`Inapplicable`) needs what the game or learner lacks;
    - the algorithm's minibatches do not divide the trajectories.

    The function can be used in `jit`, and in `vmap` over seeds. It uses none of the random numbers of training.
    """
    check_whole("measured", measured, 2, "as meta-batches are compared")
    if not estimators:
        raise ValueError("`estimators` must hold one or more estimators, but is empty.")
    by_advantages = [one for one in estimators if isinstance(one, AbstractScoreFunctionEstimator)]
    if len(by_advantages) < len(estimators):
        raise ValueError(
            "`estimators` must return advantages, but are "
            f"{', '.join(type(estimator).__name__ for estimator in estimators)}."
        )
    check_index(pool, index)
    algorithm = pool.agents[index].algorithm
    if not isinstance(algorithm, AbstractActorCritic):
        raise ValueError(f"The agent's algorithm must use advantages, as PPO and A2C do, but is {algorithm}.")
    if leave_one_out is None:
        leave_one_out = [algorithm.leave_one_out] * len(estimators)
    if len(leave_one_out) != len(estimators):
        raise ValueError(
            f"`leave_one_out` must have a flag for each of {len(estimators)} estimators, but has {len(leave_one_out)}."
        )
    for baseline in leave_one_out:
        check_flag("leave_one_out", baseline)
    if by_critic is None:
        by_critic = [one.needs_shaping for one in by_advantages]
    _check_by_critic(pool, state, index, by_advantages, by_critic)
    agents = tuple(
        dataclasses.replace(
            pool.agents[index],
            estimator=estimator,
            meta_estimator=None,
            algorithm=dataclasses.replace(algorithm, leave_one_out=baseline),
            critic=pool.agents[index].critic if shaped else None,
        )
        for estimator, baseline, shaped in zip(by_advantages, leave_one_out, by_critic, strict=True)
    )
    alone = dataclasses.replace(pool, p_naive=1.0)
    for one in agents:
        dataclasses.replace(alone, agents=(one,)).check_problem(state)
    agent, own = alone.agent(state, index), alone.class_of(index)

    critic = critic_of(pool, state, index)
    probe = None if critic is None else critic.probe

    def measure(key: Array) -> Float[Array, "estimators parameters"]:
        met = [
            one.episodes
            for one in meet(alone, state, agent, own, jnp.zeros((), int), key, layout, probe)
            if one.line_up.meetings
        ]
        batches = [
            _batch(one.algorithm, estimator, met, critic if shaped else None)
            for one, estimator, shaped in zip(agents, by_advantages, by_critic, strict=True)
        ]
        return _gradients(algorithm, agent, batches, layout)

    gradients = jax.lax.map(measure, jax.random.split(state.spare_key(3), measured))
    inner = jnp.einsum("iep,jfp->ijef", gradients, gradients, precision="highest")
    return GradientNoise(inner, pool.meta_batch)


def _check_by_critic(
    pool: Pool,
    state: PoolState,
    index: int,
    estimators: Sequence[AbstractScoreFunctionEstimator],
    by_critic: Sequence[bool],
) -> None:
    """**Raises** `ValueError` unless there is a flag for each estimator, and the critic that is asked for."""
    if len(by_critic) != len(estimators):
        raise ValueError(
            f"`by_critic` must have a flag for each of {len(estimators)} estimators, but has {len(by_critic)}."
        )
    for shaped in by_critic:
        check_flag("by_critic", shaped)
    if any(by_critic) and critic_of(pool, state, index) is None:
        names = ", ".join(type(one).__name__ for one, shaped in zip(estimators, by_critic, strict=True) if shaped)
        raise ValueError(
            f"{names} must be given a critic that sees the learner, but the agent has none: give it "
            f"`critic=CriticTraining()`."
        )


def _batch(
    algorithm: Any,
    estimator: AbstractScoreFunctionEstimator,
    met: Sequence[MetaEpisode],
    critic: LearnerCritic | None,
) -> Batch:
    batches = [algorithm.batch(estimator, episodes, critic) for episodes in met]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *batches)


def _gradients(
    algorithm: AbstractActorCritic, agent: AbstractPolicy, batches: Sequence[Batch], layout: Layout
) -> Float[Array, "estimators parameters"]:
    """Gradients of several batches, which hold the same trajectories with different advantages."""
    advantages = jnp.stack([batch.advantages for batch in batches], axis=1)
    observations, actions = batches[0].observations, batches[0].actions

    def some(chunk: tuple[Array, Array, Array]) -> Float[Array, "estimators parameters"]:
        observations, actions, advantages = chunk
        pull = score_function(agent, observations, actions)
        by_estimator = jnp.moveaxis(advantages, 1, 0)
        return jax.lax.map(lambda weights: ravel_pytree(pull(weights / weights.size))[0], by_estimator)

    minibatch = algorithm.minibatch(len(actions))
    return mean_over_chunks(some, shard((observations, actions, advantages)), layout.chunk or minibatch)


def _squares(products: Float[Array, "*stacked estimators estimators"]) -> Float[Array, "*stacked estimators"]:
    return jnp.diagonal(products, axis1=-2, axis2=-1)
