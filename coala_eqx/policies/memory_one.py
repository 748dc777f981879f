"""Policies that act on the current observation alone."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from coala_eqx.arrays import numbers
from coala_eqx.games import AbstractGame
from coala_eqx.policies.base import AbstractPolicy, Memory, PolicyOutput


class MemoryOne(AbstractPolicy):
    """One row of logits per observation; in an iterated matrix game, the classical memory-one strategy.

    **Arguments:**

    - `logits` `[observations, actions]`: unnormalised log-probabilities. With two actions,
      `logits[:, 0] − logits[:, 1]` is the logit of the first one (cooperation, in the dilemmas).

    **Raises** `ValueError` if `logits` is not a matrix of finite numbers.
    """

    logits: Float[Array, "observations actions"]

    def __init__(self, logits: Any):
        logits = numbers("logits", logits)
        if logits.ndim != 2 or 0 in logits.shape:
            raise ValueError(f"`logits` must have shape [observations, actions], but has {logits.shape}.")
        self.logits = jnp.asarray(logits).astype(jnp.result_type(float))

    @classmethod
    def random(cls, game: AbstractGame, key: Key[Array, ""], *, player: int = 0, scale: float = 1.0) -> "MemoryOne":
        """Independent normal logits of standard deviation `scale`, for `player` of `game`."""
        shape = (game.num_observations[player], game.num_actions[player])
        return cls(scale * jax.random.normal(key, shape))

    @property
    def num_observations(self) -> int:
        return self.logits.shape[0]

    @property
    def num_actions(self) -> int:
        return self.logits.shape[1]

    def initial_memory(self) -> Memory:
        return None

    def __call__(
        self, memory: Memory, observation: Int[Array, ""], previous_action: Int[Array, ""]
    ) -> tuple[Memory, PolicyOutput]:
        return self.unroll(memory, observation, previous_action)

    def unroll(
        self, memory: Memory, observations: Int[Array, " *steps"], previous_actions: Int[Array, " *steps"]
    ) -> tuple[Memory, PolicyOutput]:
        del previous_actions
        logits = self.logits[observations]
        return memory, PolicyOutput(logits=logits, values=jnp.zeros_like(logits[..., 0]))
