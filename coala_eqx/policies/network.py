"""What policies that are networks share: how they read observations, and their read-outs."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key, Shaped

from coala_eqx.policies.base import PolicyOutput


class ReadOut(eqx.Module):
    """Two linear read-outs of the same features: the logits of the policy, and the critic's value.

    **Arguments:**

    - `width`: length of the features.
    - `actions`: how many there are.
    - `scale`: multiplies the initial weights; 0 starts from a uniform policy and a zero critic.
    - `keys`: draw the weights of the one and the other.
    """

    policy: eqx.nn.Linear
    value: eqx.nn.Linear

    def __init__(self, width: int, actions: int, *, scale: float, keys: tuple[Key[Array, ""], Key[Array, ""]]):
        self.policy = _scaled(eqx.nn.Linear(width, actions, key=keys[0]), scale)
        self.value = _scaled(eqx.nn.Linear(width, 1, key=keys[1]), scale)

    def __call__(self, features: Float[Array, "*steps width"]) -> PolicyOutput:
        return PolicyOutput(logits=apply(self.policy, features), values=apply(self.value, features)[..., 0])


def apply(linear: eqx.nn.Linear, features: Float[Array, "*steps inputs"]) -> Float[Array, "*steps outputs"]:
    """A linear layer, on any number of steps at once."""
    outputs = features @ linear.weight.T
    return outputs if linear.bias is None else outputs + jnp.broadcast_to(linear.bias, outputs.shape)


def encode(
    observations: Shaped[Array, "*steps_and_features"], number: int, dtype: DTypeLike, *, axes: int
) -> Float[Array, "*steps number"]:
    """Integers as one-hot vectors, vectors as they are, and a scalar that is no integer as a vector of length one.

    `axes` is how many axes of steps there are: 0 or 1.

    **Raises** `ValueError` unless vectors have the length `number`.
    """
    shape = observations.shape[axes:]
    if not shape and not jnp.issubdtype(observations.dtype, jnp.floating):
        return jax.nn.one_hot(observations.astype(int), number, dtype=dtype)
    if not shape and number == 1:
        return observations.astype(dtype)[..., None]
    if shape != (number,):
        seen = f"vectors of length {shape[0]}" if len(shape) == 1 else f"arrays of shape {list(shape)}; flatten them"
        seen = seen if shape else f"single numbers of type {observations.dtype}, which are vectors of length 1"
        raise ValueError(
            f"The network is made for {number} observations, or vectors of that length, but its observations are "
            f"{seen}. Make the network with observations={math.prod(shape)}, or observations that are integers."
        )
    return observations.astype(dtype)


def _scaled(linear: eqx.nn.Linear, scale: float) -> eqx.nn.Linear:
    return jax.tree.map(lambda leaf: scale * leaf, linear)
