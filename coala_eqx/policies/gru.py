"""A gated recurrent network with a policy and a value read-out."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Shaped

from coala_eqx._checks import check_sizes
from coala_eqx.loops import scan
from coala_eqx.policies.base import AbstractPolicy, Memory, PolicyOutput
from coala_eqx.policies.network import ReadOut, encode


class GRUMemory(eqx.Module):
    """What it keeps of a sequence."""

    state: Float[Array, " width"]
    steps: Int[Array, ""]
    """How many there were."""


class GRU(AbstractPolicy):
    """A GRU (Cho et al., 2014) on the observations, with linear read-outs for policy and value.

    Integer observations enter as one-hot vectors, others as they are.

    **Arguments:**

    - `observations`: how many observations there are, or the length of an observation that is a vector.
    - `actions`: how many actions there are.
    - `width`: units of the recurrent state.
    - `head_scale`: multiplies the initial read-outs; 0 starts from a uniform policy and a zero critic.
    - `forget_after`: if given, it forgets everything after so many steps, again and again.
    - `key`: draws the parameters.

    **Raises** `ValueError` if a size is below 1.
    """

    cell: eqx.nn.GRUCell
    read_out: ReadOut
    num_observations: int = eqx.field(static=True)
    num_actions: int = eqx.field(static=True)
    forget_after: int | None = eqx.field(static=True)

    def __init__(
        self,
        observations: int,
        actions: int,
        *,
        width: int = 32,
        head_scale: float = 1.0,
        forget_after: int | None = None,
        key: Key[Array, ""],
    ):
        check_sizes(observations=observations, actions=actions, width=width, forget_after=forget_after)
        key_cell, key_policy, key_value = jax.random.split(key, 3)
        self.cell = eqx.nn.GRUCell(observations, width, key=key_cell)
        self.read_out = ReadOut(width, actions, scale=head_scale, keys=(key_policy, key_value))
        self.num_observations = observations
        self.num_actions = actions
        self.forget_after = forget_after

    def initial_memory(self) -> GRUMemory:
        return GRUMemory(jnp.zeros(self.cell.hidden_size, dtype=self.cell.weight_hh.dtype), jnp.zeros((), int))

    def __call__(
        self,
        memory: Memory,
        observation: Shaped[Array, "*features"],
        previous_action: Int[Array, ""],
    ) -> tuple[Memory, PolicyOutput]:
        del previous_action
        encoded = encode(observation, self.num_observations, self.cell.weight_hh.dtype, axes=0)
        memory = self._step(memory, encoded)
        return memory, self.read_out(memory.state)

    def unroll(
        self, memory: Memory, observations: Shaped[Array, "steps *features"], previous_actions: Int[Array, " steps"]
    ) -> tuple[Memory, PolicyOutput]:
        del previous_actions
        encoded = encode(observations, self.num_observations, self.cell.weight_hh.dtype, axes=1)

        def step(memory: GRUMemory, inputs: Array) -> tuple[GRUMemory, Array]:
            memory = self._step(memory, inputs)
            return memory, memory.state

        memory, features = scan(step, memory, encoded)
        return memory, self.read_out(features)

    def _step(self, memory: GRUMemory, inputs: Array) -> GRUMemory:
        state = memory.state
        if self.forget_after is not None:
            state = jnp.where(memory.steps % self.forget_after == 0, jnp.zeros_like(state), state)
        return GRUMemory(self.cell(inputs, state), memory.steps + 1)
