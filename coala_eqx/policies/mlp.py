"""A network without memory."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, Shaped

from coala_eqx._checks import check_sizes
from coala_eqx.policies.base import AbstractPolicy, Memory, PolicyOutput
from coala_eqx.policies.network import ReadOut, apply, encode


class MLP(AbstractPolicy):
    """One hidden layer (GELU) on the current observation only: what a policy can do without a history.

    **Arguments:**

    - `observations`: how many observations there are, or the length of an observation that is a vector.
    - `actions`: how many actions there are.
    - `width`: units of the hidden layer.
    - `head_scale`: multiplies the initial read-outs; 0 starts from a uniform policy and a zero critic.
    - `key`: draws the parameters.

    **Raises** `ValueError` if a size is below 1.
    """

    hidden: eqx.nn.Linear
    read_out: ReadOut
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
        check_sizes(observations=observations, actions=actions, width=width)
        key_hidden, key_policy, key_value = jax.random.split(key, 3)
        self.hidden = eqx.nn.Linear(observations, width, key=key_hidden)
        self.read_out = ReadOut(width, actions, scale=head_scale, keys=(key_policy, key_value))
        self.num_observations = observations
        self.num_actions = actions

    def initial_memory(self) -> Memory:
        return jnp.zeros(0, dtype=self.hidden.weight.dtype)

    def __call__(
        self, memory: Memory, observation: Shaped[Array, "*features"], previous_action: Int[Array, ""]
    ) -> tuple[Memory, PolicyOutput]:
        del previous_action
        return memory, self._think(observation, axes=0)

    def unroll(
        self, memory: Memory, observations: Shaped[Array, "steps *features"], previous_actions: Int[Array, " steps"]
    ) -> tuple[Memory, PolicyOutput]:
        del previous_actions
        return memory, self._think(observations, axes=1)

    def _think(self, observations: Array, *, axes: int) -> PolicyOutput:
        encoded = encode(observations, self.num_observations, self.hidden.weight.dtype, axes=axes)
        return self.read_out(jax.nn.gelu(apply(self.hidden, encoded)))
