"""Policies that act on the current observation alone."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from coala_eqx.arrays import concrete, floating, numbers
from coala_eqx.games import AbstractGame
from coala_eqx.policies.base import AbstractPolicy, Memory, PolicyOutput


class AbstractMemoryOne(AbstractPolicy):
    """A distribution over actions for each observation; in an iterated matrix game, a memory-one strategy."""

    @property
    @abc.abstractmethod
    def action_logits(self) -> Float[Array, "observations actions"]:
        """Unnormalised log-probabilities of all actions, given each observation."""

    @property
    def num_observations(self) -> int:
        return self.action_logits.shape[0]

    @property
    def num_actions(self) -> int:
        return self.action_logits.shape[1]

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
        logits = self.action_logits[observations]
        return memory, PolicyOutput(logits=logits, values=jnp.zeros_like(logits[..., 0]))


class MemoryOne(AbstractMemoryOne):
    """One row of logits per observation; in an iterated matrix game, the classical memory-one strategy.

    **Arguments:**

    - `logits` `[observations, actions]`: unnormalised log-probabilities; −∞ masks an action. With two actions,
      `logits[:, 0] − logits[:, 1]` is the logit of the first one (cooperation, in the dilemmas).

    **Raises** `ValueError` if `logits` is not a matrix of numbers that are finite, or −∞ for some actions of a row.
    """

    logits: Float[Array, "observations actions"]

    def __init__(self, logits: Any):
        logits = numbers("logits", logits, masks=True)
        if logits.ndim != 2 or 0 in logits.shape:
            raise ValueError(f"`logits` must have shape [observations, actions], but has {logits.shape}.")
        if concrete(logits) and (nobody := np.isneginf(logits).all(axis=1)).any():
            raise ValueError(f"`logits` must leave an action in each row, but masks all in row {np.argmax(nobody)}.")
        self.logits = floating(logits)

    @classmethod
    def random(cls, game: AbstractGame, key: Key[Array, ""], *, player: int = 0, scale: float = 1.0) -> "MemoryOne":
        """Independent normal logits of standard deviation `scale`, for `player` of `game`."""
        shape = (game.num_observations[player], game.num_actions[player])
        return cls(scale * jax.random.normal(key, shape))

    @property
    def action_logits(self) -> Float[Array, "observations actions"]:
        return self.logits


class BinaryMemoryOne(AbstractMemoryOne):
    """A memory-one policy for two actions, with the logit of the first one as only parameter per observation.

    Its gradients are those of the literature on the iterated prisoner's dilemma. A `MemoryOne` has two logits for
    each probability; a gradient step of the same rate changes their difference twice as much.

    **Arguments:**

    - `logits` `[observations]`: logits of the first action (cooperation, in the dilemmas). An iterated 2×2 game has
      those at the start, and after (own, other) = CC, CD, DC, DD.

    **Raises** `ValueError` if `logits` is not a vector of finite numbers.

    Source: Meulemans et al. (2025), Section 4 and Appendix C.
    """

    logits: Float[Array, " observations"]

    def __init__(self, logits: Any):
        logits = numbers("logits", logits)
        if logits.ndim != 1 or 0 in logits.shape:
            raise ValueError(f"`logits` must have shape [observations], but has {logits.shape}.")
        self.logits = floating(logits)

    @property
    def action_logits(self) -> Float[Array, "observations 2"]:
        return jnp.stack([self.logits, jnp.zeros_like(self.logits)], axis=-1)
