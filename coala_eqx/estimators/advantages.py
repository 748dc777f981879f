"""Returns and advantages over a batch of meta-trajectories: Algorithm 1 of the paper.

Arrays are `[batch, episodes, steps]`; l = 1..MT is the long time step and m_l its inner episode.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from coala_eqx.arrays import Scalar
from coala_eqx.loops import scan
from coala_eqx.returns.to_go import sums_to_go


def batch_lambda_returns(
    rewards: Any,
    next_values: Any = None,
    *,
    discount: Scalar = 1.0,
    lambda_: Scalar = 1.0,
    average_future_episodes: bool,
    normalize_current_episode: bool,
) -> Float[Array, "batch episodes steps"]:
    """λ-returns in which later inner episodes may be averaged over the batch. They take one reverse scan over l.

    With λ = discount = 1 and no values, the result is the sum of two parts. The first is the sum of rewards over the
    rest of this inner episode, divided by B if `normalize_current_episode`. The second is the sum over all later inner
    episodes: of this trajectory, or averaged over the batch if `average_future_episodes`.

    **Arguments:**

    - `rewards` `[batch, episodes, steps]`: rewards, or TD errors for advantages.
    - `next_values` `[batch, episodes, steps]`: value of the NEXT history, hence 0 at the last step. Default: 0
      everywhere.
    - `discount`, `lambda_`: factors per step, also across inner episodes.
    - `average_future_episodes`, `normalize_current_episode`: the two flags of Algorithm 1.

    **Raises** `ValueError` for other shapes.

    Source: Meulemans et al. (2025), Algorithm 1. Here v_t is the value of the next history and both accumulators start
    at 0; the reading v_t = V̂(h_t) makes every advantage biased (see `docs/errata.md`).
    """
    rewards, next_values = reward_and_value_arrays("next_values", rewards, next_values)
    batch = len(rewards)
    # A step's contribution to its own return, and to the average that takes over at the end of an inner episode.
    alone, together = rewards / batch if normalize_current_episode else rewards, rewards
    if next_values is not None:
        bootstrapped = discount * (1 - lambda_) * next_values
        alone, together = alone + bootstrapped, together + bootstrapped
    decay = discount * lambda_

    def back(carry: tuple[Array, Array], inputs: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        own, average = carry
        alone, together, ends_episode = inputs
        own = alone + decay * jnp.where(ends_episode, average, own)
        return (own, together + decay * average), own

    alone = alone.reshape(batch, -1)
    if not average_future_episodes:
        return sums_to_go(alone, decay).reshape(rewards.shape)
    alone = alone.T
    averages = together.mean(axis=0).ravel()
    ends_episode = np.tile(np.arange(rewards.shape[2]) == rewards.shape[2] - 1, rewards.shape[1])
    start = (jnp.zeros_like(alone[0]), jnp.zeros_like(averages[0]))
    _, returns = scan(back, start, (alone, averages, jnp.asarray(ends_episode)), reverse=True)
    return returns.T.reshape(rewards.shape)


def batch_advantages(
    rewards: Any,
    values: Any = None,
    *,
    discount: Scalar = 1.0,
    gae_lambda: Scalar = 1.0,
    average_future_episodes: bool,
    normalize_current_episode: bool,
) -> Float[Array, "batch episodes steps"]:
    """Generalised advantages: `batch_lambda_returns` of TD errors, with λ = 1 and the discount discount · gae_lambda.

    **Arguments:**

    - `rewards` `[batch, episodes, steps]`: rewards.
    - `values` `[batch, episodes, steps]`: V̂(h_l) of THIS history. Default: 0 everywhere.
    - `discount`, `gae_lambda`: factors per step, also across inner episodes.
    - `average_future_episodes`, `normalize_current_episode`: the two flags of Algorithm 1.

    **Raises** `ValueError` for other shapes.

    Source: Meulemans et al. (2025), Appendix A.3 and Algorithm 1.
    """
    return batch_lambda_returns(
        td_errors(rewards, values, discount),
        discount=discount * gae_lambda,
        average_future_episodes=average_future_episodes,
        normalize_current_episode=normalize_current_episode,
    )


def td_errors(rewards: Any, values: Any = None, discount: Scalar = 1.0) -> Float[Array, "batch episodes steps"]:
    """δ_l = r_l + discount·V̂(h_{l+1}) − V̂(h_l), across inner episodes. The value after the last step is 0.

    Without values, the TD errors are the rewards. **Raises** `ValueError` if `values` does not have the shape of
    `rewards`.
    """
    rewards, values = reward_and_value_arrays("values", rewards, values)
    if values is None:
        return rewards
    return rewards + discount * next_values(values) - values


def next_values(values: Float[Array, "batch episodes steps"]) -> Float[Array, "batch episodes steps"]:
    """V̂(h_{l+1}) from V̂(h_l): values shifted by one step along the whole meta-trajectory, 0 at its end."""
    long_values = values.reshape(values.shape[0], -1)
    shifted = jnp.concatenate([long_values[:, 1:], jnp.zeros_like(long_values[:, :1])], axis=1)
    return shifted.reshape(values.shape)


def reward_and_value_arrays(name: str, rewards: Any, values: Any) -> tuple[Array, Array | None]:
    """Both as floating-point arrays. **Raises** `ValueError` that names `name` if shapes differ."""
    rewards = jnp.asarray(rewards)
    if rewards.ndim != 3 or 0 in rewards.shape:
        raise ValueError(f"`rewards` must have shape [batch, episodes, steps], but has {rewards.shape}.")
    rewards = rewards.astype(jnp.result_type(rewards, 0.0))
    if values is None:
        return rewards, None
    values = jnp.asarray(values)
    if values.shape != rewards.shape:
        raise ValueError(
            f"`{name}` must have the shape of `rewards`, [batch, episodes, steps] = {rewards.shape}, "
            f"but has {values.shape}."
        )
    return rewards, values.astype(rewards.dtype)
