"""A deliberately wrong estimator: it looks like the leave-one-out baseline, but leaves nothing out.

coala-eqx verify --estimator examples/centred_wrongly.py:CentredWrongly      # exit status 1
"""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from coala_eqx.estimators import AbstractScoreFunctionEstimator


class CentredWrongly(AbstractScoreFunctionEstimator):
    """COALA-PG minus the batch mean of the current episode: an action is compared with itself, too.

    The mean contains the action's own reward, which correlates with its score: biased by a factor
    1 − 1/B on the current inner episode, although it claims otherwise.
    """

    unbiased_for: ClassVar[str | None] = "shaping_return"
    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards: Any, values: Any = None) -> Float[Array, "batch episodes steps"]:
        rewards = jnp.asarray(rewards)
        own = jnp.flip(jnp.cumsum(jnp.flip(rewards, axis=2), axis=2), axis=2)
        by_episode = rewards.sum(axis=2).mean(axis=0)
        future = by_episode[::-1].cumsum()[::-1] - by_episode
        return (own - own.mean(axis=0)) / rewards.shape[0] + future[:, None]
