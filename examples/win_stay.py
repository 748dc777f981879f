"""A learner of one's own, with a state: it moves towards the action that paid better than what it is used to.

coala-eqx verify --learner examples/win_stay.py:WinStay
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from coala_eqx.learners import AbstractLearner, Experience
from coala_eqx.policies import AbstractPolicy


class WinStay(AbstractLearner):
    """Raises the logits of what it did where rewards were above their running mean, and lowers the others.

    No gradient of anything, and nonlinear in the batch: COALA-PG is unbiased all the same. The LOLA
    estimators that need a gradient learner report themselves inapplicable.
    """

    rate: float = 1.0
    exchangeable: ClassVar[bool] = True

    def init(self, policy: AbstractPolicy, key: Any) -> Float[Array, ""]:
        return jnp.zeros(())

    def update(self, policy: Any, state: Any, experience: Experience, key: Any) -> tuple[Any, Float[Array, ""]]:
        surprise = jnp.tanh(experience.rewards - state)
        chosen = jax.nn.one_hot(experience.actions, policy.num_actions, dtype=policy.logits.dtype)
        change = jnp.zeros_like(policy.logits).at[experience.observations].add(surprise[..., None] * chosen)
        policy = eqx.tree_at(lambda p: p.logits, policy, policy.logits + self.rate * change / len(surprise))
        return policy, (state + experience.rewards.mean().astype(state.dtype)) / 2
