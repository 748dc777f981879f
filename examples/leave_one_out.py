"""An estimator of one's own: COALA-PG with a leave-one-out baseline, made of the rest of the batch.

coala-eqx verify --estimator examples/leave_one_out.py:LeaveOneOut
"""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from coala_eqx.estimators import AbstractScoreFunctionEstimator


class LeaveOneOut(AbstractScoreFunctionEstimator):
    """From what is left of its own inner episode an action's mean over the other trajectories is subtracted.

    The others are independent of the action, given everything before this inner episode, so E[ĝ] = ∇J̄ still.
    """

    unbiased_for: ClassVar[str | None] = "shaping_return"
    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards: Any, values: Any = None) -> Float[Array, "batch episodes steps"]:
        rewards = jnp.asarray(rewards)
        batch = rewards.shape[0]
        own = jnp.flip(jnp.cumsum(jnp.flip(rewards, axis=2), axis=2), axis=2)
        others = (own.sum(axis=0) - own) / max(batch - 1, 1)
        by_episode = rewards.sum(axis=2).mean(axis=0)
        future = by_episode[::-1].cumsum()[::-1] - by_episode
        return (own - others) / batch + future[:, None]
