"""A gated recurrent network with a policy and a value read-out."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Shaped

from coala_eqx._checks import check_sizes
from coala_eqx.games.spaces import ActionSpace, ObservationSpace
from coala_eqx.loops import scan
from coala_eqx.policies.base import Memory, PolicyOutput
from coala_eqx.policies.encoders import AbstractEncoder, make_encoder
from coala_eqx.policies.network import AbstractNetwork, ReadOut, as_action_space


class GRUMemory(eqx.Module):
    """Memory of a GRU."""

    state: Float[Array, " width"]
    steps: Int[Array, ""]
    """Number of steps so far."""


class GRU(AbstractNetwork):
    """A GRU (Cho et al., 2014) on the observations, with linear read-outs for policy and value.

    Integer observations enter as one-hot vectors, vectors as they are, and images through a `Convolution`.

    **Arguments:**

    - `observations`: number of observations, or length of one that is a vector; or their space, such as
      `game.observation_spaces[0]`; or an encoder, such as `Convolution(Image(9, 9, 3), channels=16, key=key)`.
    - `actions`: number of actions, or their space, such as `game.action_spaces[0]`.
    - `width`: units of the recurrent state.
    - `head_scale`: factor of the initial read-outs. At 0 the policy is uniform, or of mean 0, and the critic 0.
    - `forget_after`: number of steps after which the memory is cleared, again and again; never unless given.
    - `key`: draws the parameters.

    **Raises** `ValueError` if a size is not a whole number, or below 1.
    """

    cell: eqx.nn.GRUCell
    read_out: ReadOut
    encoder: AbstractEncoder
    action_space: ActionSpace = eqx.field(static=True)
    forget_after: int | None = eqx.field(static=True)

    def __init__(
        self,
        observations: int | ObservationSpace | AbstractEncoder,
        actions: int | ActionSpace,
        *,
        width: int = 32,
        head_scale: float = 1.0,
        forget_after: int | None = None,
        key: Key[Array, ""],
    ):
        check_sizes(width=width, forget_after=forget_after)
        self.encoder, key = make_encoder(observations, key)
        self.action_space = as_action_space(actions)
        key_cell, key_policy, key_value = jax.random.split(key, 3)
        self.cell = eqx.nn.GRUCell(self.encoder.features, width, key=key_cell)
        self.read_out = ReadOut(width, self.action_space, scale=head_scale, keys=(key_policy, key_value))
        self.forget_after = forget_after

    def initial_memory(self) -> GRUMemory:
        return GRUMemory(jnp.zeros(self.cell.hidden_size, dtype=self.cell.weight_hh.dtype), jnp.zeros((), int))

    def __call__(
        self,
        memory: Memory,
        observation: Shaped[Array, "*features"],
        previous_action: Shaped[Array, "*action"],
    ) -> tuple[Memory, PolicyOutput]:
        del previous_action
        encoded = self.encoder(observation, self.cell.weight_hh.dtype, axes=0)
        memory = self._step(memory, encoded)
        return memory, self.read_out(memory.state)

    def unroll(
        self,
        memory: Memory,
        observations: Shaped[Array, "steps *features"],
        previous_actions: Shaped[Array, "steps *action"],
    ) -> tuple[Memory, PolicyOutput]:
        del previous_actions
        encoded = self.encoder(observations, self.cell.weight_hh.dtype, axes=1)

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
