"""How noisy estimators' gradients are where no enumeration can tell, and whether they point the same way."""

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
from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, score_function
from coala_eqx.training.algorithms import AbstractActorCritic
from coala_eqx.training.batch import Batch
from coala_eqx.training.layout import Layout, shard
from coala_eqx.training.pieces import mean_over_chunks
from coala_eqx.training.play import meet
from coala_eqx.training.pool import Pool
from coala_eqx.training.state import PoolState


class GradientNoise(eqx.Module):
    """Of several estimators: ĝ is the gradient by one from a meta-batch, G its expectation."""

    inner: Float[Array, "*stacked measured measured estimators estimators"]
    """⟨ĝ_e, ĝ_f⟩ of every two of the meta-batches that were played, and of each with itself."""

    meta_batch: int = eqx.field(static=True)
    """Meta-episodes of one."""

    @property
    def products(self) -> Float[Array, "*stacked estimators estimators"]:
        """⟨G_e, G_f⟩, without bias: from different meta-batches. What stands for ‖G_e‖² may be negative."""
        measured = self.inner.shape[-3]
        every, own = self.inner.sum(axis=(-4, -3)), self._own.sum(axis=-3)
        return (every - own) / (measured * (measured - 1))

    @property
    def variances(self) -> Float[Array, "*stacked estimators"]:
        """E‖ĝ_e − G_e‖², times the meta-batch: of a single meta-episode. (With `leave_one_out` a meta-episode has
        another baseline the more others there are, and so a variance that depends on them a little.)
        """
        return self.meta_batch * (_squares(self._own.mean(axis=-3)) - _squares(self.products))

    @property
    def _own(self) -> Float[Array, "*stacked measured estimators estimators"]:
        return jnp.moveaxis(jnp.diagonal(self.inner, axis1=-4, axis2=-3), -1, -3)

    def mean(self) -> "GradientNoise":
        """Over all that is stacked, such as seeds, before there are ratios."""
        return dataclasses.replace(self, inner=self.inner.mean(axis=tuple(range(self.inner.ndim - 4))))

    def critical_meta_batch(self) -> Float[Array, "*stacked estimators"]:
        """Meta-episodes of which the mean has as much noise as signal, E‖ĝ − G‖² = ‖G‖²; NaN where no signal is seen.

        Source: McCandlish et al. (2018), the simple noise scale.
        """
        squares = _squares(self.products)
        return jnp.where(squares > 0, self.variances / squares, jnp.nan)

    def cosines(self, reference: int = 0) -> Float[Array, "*stacked estimators"]:
        """Of the angle between each G and that of one of the estimators, not cut to ±1; NaN where no signal is seen."""
        squares = _squares(self.products)
        norms = jnp.sqrt(squares * squares[..., reference, None])
        seen = (squares > 0) & (squares[..., reference, None] > 0)
        return jnp.where(seen, self.products[..., reference, :] / norms, jnp.nan)

    def without(self, number: int) -> "GradientNoise":
        """As measured by the other meta-batches only."""
        left = np.delete(np.arange(self.inner.shape[-3]), number)
        return dataclasses.replace(self, inner=self.inner[..., left[:, None], left, :, :])

    def standard_error(self, statistic: Callable[["GradientNoise"], Array]) -> Array:
        """Of anything that is computed from it, such as `GradientNoise.cosines`, by the jackknife over meta-batches;
        NaN where one of them alone makes it NaN. What is stacked, such as seeds, stays the same in all of it: it is an
        error from the meta-batches that were played, not from the seeds that were drawn.

        **Raises** `ValueError` for fewer than three meta-batches.

        Source: Efron and Stein (1981).
        """
        if (measured := self.inner.shape[-3]) < 3:
            raise ValueError(f"An error needs three meta-batches or more, but {measured} were measured.")
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
    layout: Layout = Layout(),
) -> GradientNoise:
    """Measure gradients that an agent of a pool would follow against naive learners, had it these estimators.

    They are those of the pool's first step: the gradients of the mean over a meta-batch, B, M and T of
    log π · advantage, with the agent's scale of rewards and baselines, and its own critic; computed in the chunks of
    the layout, or else in the minibatches of the agent's algorithm.

    **Arguments:**

    - `measured`: number of meta-batches that are played, the same for all estimators.
    - `index`: number of the agent.
    - `leave_one_out`: one for each estimator, in place of the agent's: baselines are compared on the same
      meta-episodes.
    - `layout`: sizes of the pieces of work.

    **Raises** `ValueError` if `measured` is below 2, there is no such agent or it is trained without advantages,
    `leave_one_out` does not fit the pool or the number of estimators, or there are no estimators, or some that give no
    advantages or (`Inapplicable`) need what the game or learner has not; and if the algorithm's minibatches do not
    divide the trajectories.

    Fit for `jit`, and for `vmap` over seeds. The random numbers are none of those that training uses.
    """
    check_whole("measured", measured, 2, "as meta-batches are compared")
    if not estimators:
        raise ValueError("`estimators` must name one or more, but is empty.")
    by_advantages = [one for one in estimators if isinstance(one, AbstractScoreFunctionEstimator)]
    if len(by_advantages) < len(estimators):
        raise ValueError(
            "`estimators` must be such as give advantages, but are "
            f"{', '.join(type(estimator).__name__ for estimator in estimators)}."
        )
    check_whole("index", index, 0)
    if index >= len(pool.agents):
        raise ValueError(f"`index` must be one of {len(pool.agents)} agents, from 0 on, but is {index}.")
    algorithm = pool.agents[index].algorithm
    if not isinstance(algorithm, AbstractActorCritic):
        raise ValueError(f"The agent must be trained by advantages, as by PPO or A2C, but has {algorithm}.")
    if leave_one_out is None:
        leave_one_out = [algorithm.leave_one_out] * len(estimators)
    if len(leave_one_out) != len(estimators):
        raise ValueError(
            f"`leave_one_out` must say of each of the {len(estimators)} estimators, but says of {len(leave_one_out)}."
        )
    for baseline in leave_one_out:
        check_flag("leave_one_out", baseline)
    agents = tuple(
        dataclasses.replace(
            pool.agents[index],
            estimator=estimator,
            meta_estimator=None,
            algorithm=dataclasses.replace(algorithm, leave_one_out=baseline),
        )
        for estimator, baseline in zip(by_advantages, leave_one_out, strict=True)
    )
    alone = dataclasses.replace(pool, p_naive=1.0)
    for one in agents:
        dataclasses.replace(alone, agents=(one,)).check_problem(state)
    agent, own = alone.agent(state, index), alone.class_of(index)

    def measure(key: Array) -> Float[Array, "estimators parameters"]:
        met = [
            one.episodes
            for one in meet(alone, state, agent, own, jnp.zeros((), int), key, layout)
            if one.line_up.meetings
        ]
        batches = [_batch(one.algorithm, estimator, met) for one, estimator in zip(agents, by_advantages, strict=True)]
        return _gradients(algorithm, agent, batches, layout)

    gradients = jax.lax.map(measure, jax.random.split(state.spare_key(3), measured))
    inner = jnp.einsum("iep,jfp->ijef", gradients, gradients, precision="highest")
    return GradientNoise(inner, pool.meta_batch)


def _batch(algorithm: Any, estimator: AbstractScoreFunctionEstimator, met: Sequence[MetaEpisode]) -> Batch:
    batches = [algorithm.batch(estimator, episodes) for episodes in met]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *batches)


def _gradients(
    algorithm: AbstractActorCritic, agent: AbstractPolicy, batches: Sequence[Batch], layout: Layout
) -> Float[Array, "estimators parameters"]:
    """Gradients of batches of the same trajectories."""
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
