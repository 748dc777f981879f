"""How noisy estimators' gradients are where no enumeration can tell, and whether they point the same way."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from coala_eqx.estimators import AbstractScoreFunctionEstimator
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, score_function
from coala_eqx.training.pool import Pool, PoolState, members


class GradientNoise(eqx.Module):
    """Of several estimators: ĝ is the gradient by one from a meta-batch, G its expectation."""

    products: Float[Array, "*stacked estimators estimators"]
    """⟨G_e, G_f⟩, without bias: from different meta-batches. What stands for ‖G_e‖² may be negative."""

    variances: Float[Array, "*stacked estimators"]
    """E‖ĝ_e − G_e‖², times the meta-batch: of a single meta-episode."""

    def mean(self) -> "GradientNoise":
        """Over all that is stacked, such as seeds, before there are ratios."""
        stacked = tuple(range(self.variances.ndim - 1))
        return GradientNoise(self.products.mean(axis=stacked), self.variances.mean(axis=stacked))

    def critical_meta_batch(self) -> Float[Array, "*stacked estimators"]:
        """Meta-episodes of which the mean has as much noise as signal, E‖ĝ − G‖² = ‖G‖²; NaN where no signal is seen.

        Source: McCandlish et al. (2018), the simple noise scale.
        """
        squares = jnp.diagonal(self.products, axis1=-2, axis2=-1)
        return jnp.where(squares > 0, self.variances / squares, jnp.nan)

    def cosines(self, reference: int = 0) -> Float[Array, "*stacked estimators"]:
        """Of the angle between each G and that of one of the estimators, not cut to ±1; NaN where no signal is seen."""
        squares = jnp.diagonal(self.products, axis1=-2, axis2=-1)
        norms = jnp.sqrt(squares * squares[..., reference, None])
        seen = (squares > 0) & (squares[..., reference, None] > 0)
        return jnp.where(seen, self.products[..., reference, :] / norms, jnp.nan)


def gradient_noise(
    pool: Pool,
    state: PoolState,
    estimators: Sequence[AbstractScoreFunctionEstimator],
    measured: int,
    *,
    index: int = 0,
) -> GradientNoise:
    """Of gradients that an agent of a pool would follow against naive learners, had it these estimators.

    They are those of the pool's first step: of the mean over a meta-batch, B, M and T of log π · advantage, with the
    pool's scale of rewards and baselines, and the agent's own critic.

    **Arguments:**

    - `measured`: how many meta-batches are played, the same for all estimators.
    - `index`: which agent.

    **Raises** `ValueError` if `measured` is below 2, or there are no estimators.

    Fit for `jit`, and for `vmap` over seeds. The random numbers are none of those that training uses.
    """
    if measured < 2:
        raise ValueError(f"`measured` must be at least 2, as meta-batches are compared, but is {measured}.")
    if not estimators:
        raise ValueError("`estimators` must name one or more, but is empty.")
    agent = members(state.agents, index)
    pool = dataclasses.replace(pool, p_naive=1.0, naive_weight=1.0, estimators=tuple(estimators))

    def add(total: Any, key: Array) -> tuple[Any, None]:
        episodes, _ = pool.meet(state, agent, jnp.zeros((), int), key)
        gradients = _gradients(pool, agent, episodes)
        return jax.tree.map(jnp.add, total, (gradients, gradients @ gradients.T)), None

    keys = jax.random.split(state.spare_key(3), measured)
    shapes = jax.eval_shape(lambda: add((0.0, 0.0), keys[0])[0])
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    (sums, own), _ = jax.lax.scan(add, zeros, keys)
    every = sums @ sums.T
    return GradientNoise(
        products=(every - own) / (measured * (measured - 1)),
        variances=pool.meta_batch * jnp.diagonal(own - every / measured) / (measured - 1),
    )


def _gradients(pool: Pool, agent: AbstractPolicy, episodes: MetaEpisode) -> Float[Array, "estimators parameters"]:
    """By each of the pool's estimators."""
    pull = score_function(agent, episodes)

    def of(estimator: Any) -> Array:
        advantages = pool.batch_by(estimator, episodes).advantages.reshape(episodes.actions.shape)
        return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(pull(advantages / advantages.size))])

    return jnp.stack([of(estimator) for estimator in pool.estimators])
