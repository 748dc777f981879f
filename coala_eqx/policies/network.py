"""Parts that policies share which are networks: their sizes, and their read-outs."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from coala_eqx._checks import check_sizes
from coala_eqx.games.spaces import ActionSpace, Box, Discrete, ObservationSpace
from coala_eqx.policies.base import AbstractPolicy, PolicyOutput
from coala_eqx.policies.distributions import Gaussian
from coala_eqx.policies.encoders import AbstractEncoder


class AbstractNetwork(AbstractPolicy):
    """A policy that is a network: its encoder and its action space give its sizes."""

    encoder: eqx.AbstractVar[AbstractEncoder]
    """Encoder of the observations."""

    @property
    def num_observations(self) -> int:
        return self.encoder.size

    @property
    def num_actions(self) -> int:
        return self.action_space.size

    @property
    def observation_space(self) -> ObservationSpace | None:
        return self.encoder.space


class ReadOut(eqx.Module):
    """Two linear read-outs of the same features: one for the policy, one for the critic's value.

    For discrete actions the policy's read-out gives logits. For vectors it gives the mean of a `Gaussian`, whose
    standard deviations are parameters of their own, the same in all states, and 1 at first.

    **Arguments:**

    - `width`: length of the features.
    - `actions`: space of the actions.
    - `scale`: factor of the initial weights. At 0 the critic is 0, and the policy uniform, or of mean 0.
    - `keys`: draw the weights of the policy and of the critic.
    """

    policy: eqx.nn.Linear
    value: eqx.nn.Linear
    log_std: Float[Array, " components"] | None

    def __init__(self, width: int, actions: ActionSpace, *, scale: float, keys: tuple[Key[Array, ""], Key[Array, ""]]):
        self.policy = _scaled(eqx.nn.Linear(width, actions.size, key=keys[0]), scale)
        self.value = _scaled(eqx.nn.Linear(width, 1, key=keys[1]), scale)
        self.log_std = jnp.zeros_like(self.policy.weight[:, 0]) if isinstance(actions, Box) else None

    def __call__(self, features: Float[Array, "*steps width"]) -> PolicyOutput:
        read, values = apply(self.policy, features), apply(self.value, features)[..., 0]
        if self.log_std is None:
            return PolicyOutput(logits=read, values=values)
        return PolicyOutput(values=values, distribution=Gaussian(read, jnp.broadcast_to(self.log_std, read.shape)))


def apply(linear: eqx.nn.Linear, features: Float[Array, "*steps inputs"]) -> Float[Array, "*steps outputs"]:
    """A linear layer, on any number of steps at once."""
    outputs = features @ linear.weight.T
    return outputs if linear.bias is None else outputs + jnp.broadcast_to(linear.bias, outputs.shape)


def as_action_space(actions: int | ActionSpace) -> ActionSpace:
    """A number of discrete actions as a space, and a space as it is.

    **Raises** `ValueError` for anything else.
    """
    if isinstance(actions, ActionSpace):
        return actions
    check_sizes(actions=actions)
    return Discrete(actions)


def _scaled(linear: eqx.nn.Linear, scale: float) -> eqx.nn.Linear:
    return jax.tree.map(lambda leaf: scale * leaf, linear)
