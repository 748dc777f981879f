"""A network without memory."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, Shaped

from coala_eqx._checks import check_sizes
from coala_eqx.games.spaces import ActionSpace, ObservationSpace
from coala_eqx.policies.base import Memory, PolicyOutput
from coala_eqx.policies.encoders import AbstractEncoder, make_encoder
from coala_eqx.policies.network import AbstractNetwork, ReadOut, apply, as_action_space


class MLP(AbstractNetwork):
    """One hidden layer (GELU) on the current observation, without memory.

    **Arguments:**

    - `observations`: number of observations, or length of one that is a vector; or their space, such as
      `game.observation_spaces[0]`; or an encoder, such as `Convolution(Image(9, 9, 3), channels=16, key=key)`.
    - `actions`: number of actions, or their space, such as `game.action_spaces[0]`.
    - `width`: units of the hidden layer.
    - `head_scale`: factor of the initial read-outs. At 0 the policy is uniform, or of mean 0, and the critic 0.
    - `key`: draws the parameters.

    **Raises** `ValueError` if a size is not a whole number, or below 1.
    """

    hidden: eqx.nn.Linear
    read_out: ReadOut
    encoder: AbstractEncoder
    action_space: ActionSpace = eqx.field(static=True)

    def __init__(
        self,
        observations: int | ObservationSpace | AbstractEncoder,
        actions: int | ActionSpace,
        *,
        width: int = 32,
        head_scale: float = 1.0,
        key: Key[Array, ""],
    ):
        check_sizes(width=width)
        self.encoder, key = make_encoder(observations, key)
        self.action_space = as_action_space(actions)
        key_hidden, key_policy, key_value = jax.random.split(key, 3)
        self.hidden = eqx.nn.Linear(self.encoder.features, width, key=key_hidden)
        self.read_out = ReadOut(width, self.action_space, scale=head_scale, keys=(key_policy, key_value))

    def initial_memory(self) -> Memory:
        return jnp.zeros(0, dtype=self.hidden.weight.dtype)

    def __call__(
        self, memory: Memory, observation: Shaped[Array, "*features"], previous_action: Shaped[Array, "*action"]
    ) -> tuple[Memory, PolicyOutput]:
        del previous_action
        return memory, self._think(observation, axes=0)

    def unroll(
        self,
        memory: Memory,
        observations: Shaped[Array, "steps *features"],
        previous_actions: Shaped[Array, "steps *action"],
    ) -> tuple[Memory, PolicyOutput]:
        del previous_actions
        return memory, self._think(observations, axes=1)

    def _think(self, observations: Array, *, axes: int) -> PolicyOutput:
        encoded = self.encoder(observations, self.hidden.weight.dtype, axes=axes)
        return self.read_out(jax.nn.gelu(apply(self.hidden, encoded)))
