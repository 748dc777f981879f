"""A gated recurrent network with a policy and a value read-out."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Shaped

from coala_eqx.policies.base import AbstractPolicy, Memory, PolicyOutput, unroll_by_steps


class GRU(AbstractPolicy):
    """A GRU (Cho et al., 2014) on the observations, with linear read-outs for policy and value.

    Integer observations enter as one-hot vectors, others as they are.

    **Arguments:**

    - `observations`: how many observations there are, or the length of an observation that is a vector.
    - `actions`: how many actions there are.
    - `width`: units of the recurrent state.
    - `head_scale`: multiplies the initial read-outs; 0 starts from a uniform policy and a zero critic.
    - `key`: draws the parameters.

    **Raises** `ValueError` if a size is below 1.
    """

    cell: eqx.nn.GRUCell
    policy_head: eqx.nn.Linear
    value_head: eqx.nn.Linear
    num_observations: int = eqx.field(static=True)
    num_actions: int = eqx.field(static=True)

    def __init__(
        self,
        observations: int,
        actions: int,
        *,
        width: int = 32,
        head_scale: float = 1.0,
        key: Key[Array, ""],
    ):
        for name, size in (("observations", observations), ("actions", actions), ("width", width)):
            if size < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {size}.")
        key_cell, key_policy, key_value = jax.random.split(key, 3)
        self.cell = eqx.nn.GRUCell(observations, width, key=key_cell)
        self.policy_head = _scaled(eqx.nn.Linear(width, actions, key=key_policy), head_scale)
        self.value_head = _scaled(eqx.nn.Linear(width, "scalar", key=key_value), head_scale)
        self.num_observations = observations
        self.num_actions = actions

    def initial_memory(self) -> Memory:
        return jnp.zeros(self.cell.hidden_size, dtype=self.cell.weight_hh.dtype)

    def __call__(
        self,
        memory: Float[Array, " width"],
        observation: Shaped[Array, "*features"],
        previous_action: Int[Array, ""],
    ) -> tuple[Memory, PolicyOutput]:
        del previous_action
        dtype = self.cell.weight_hh.dtype
        if observation.ndim == 0:
            observation = jax.nn.one_hot(observation, self.num_observations, dtype=dtype)
        memory = self.cell(observation.astype(dtype), memory)
        return memory, PolicyOutput(logits=self.policy_head(memory), values=self.value_head(memory))

    def unroll(
        self, memory: Memory, observations: Shaped[Array, "steps *features"], previous_actions: Int[Array, " steps"]
    ) -> tuple[Memory, PolicyOutput]:
        return unroll_by_steps(self, memory, observations, previous_actions)


def _scaled(linear: eqx.nn.Linear, scale: float) -> eqx.nn.Linear:
    return jax.tree.map(lambda leaf: scale * leaf, linear)
