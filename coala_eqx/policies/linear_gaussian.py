"""A linear-Gaussian policy without memory."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Shaped

from coala_eqx._checks import check_flag
from coala_eqx.arrays import floating, numbers
from coala_eqx.games import AbstractGame, Box, Vector
from coala_eqx.policies.base import AbstractPolicy, Memory, PolicyOutput
from coala_eqx.policies.distributions import Gaussian


class LinearGaussian(AbstractPolicy):
    """A normal distribution over action vectors, of mean W·x + b in the current observation x.

    **Arguments:**

    - `weight` `[components, observations]`: W.
    - `bias` `[components]`: b.
    - `log_std` `[components]`: natural logarithms of the standard deviations; 0 unless given.
    - `learns_std`: whether gradients reach `log_std`. If not, the standard deviations stay as they are.

    **Raises** `ValueError` for other shapes, or entries that are not finite numbers.
    """

    weight: Float[Array, "components observations"]
    bias: Float[Array, " components"]
    log_std: Float[Array, " components"]
    learns_std: bool = eqx.field(static=True)

    def __init__(self, weight: Any, bias: Any, log_std: Any = None, *, learns_std: bool = True):
        bias, weight = numbers("bias", bias), numbers("weight", weight)
        log_std = numbers("log_std", jnp.zeros(bias.shape) if log_std is None else log_std)
        check_flag("learns_std", learns_std)
        if bias.ndim != 1 or 0 in bias.shape:
            raise ValueError(f"`bias` must have shape [components], but has {bias.shape}.")
        if weight.ndim != 2 or weight.shape[0] != len(bias) or 0 in weight.shape:
            raise ValueError(
                f"`weight` must have shape [components, observations], with {len(bias)} components as `bias`, but has "
                f"{weight.shape}."
            )
        if log_std.shape != bias.shape:
            raise ValueError(f"`log_std` must have the shape of `bias`, {bias.shape}, but has {log_std.shape}.")
        self.bias = floating(bias)
        self.weight = floating(weight)
        self.log_std = floating(log_std)
        self.learns_std = bool(learns_std)

    @classmethod
    def random(
        cls, game: AbstractGame, key: Key[Array, ""], *, player: int = 0, scale: float = 1.0, learns_std: bool = True
    ) -> "LinearGaussian":
        """Independent normal weights and biases of standard deviation `scale`, for a player of a game.

        **Raises** `ValueError` unless the player observes vectors and acts by vectors.
        """
        observed, acted = game.observation_spaces[player], game.action_spaces[player]
        if not isinstance(observed, Vector) or not isinstance(acted, Box):
            raise ValueError(
                f"A LinearGaussian policy needs observations of a Vector and actions of a Box, but player {player} of "
                f"{type(game).__name__} has {observed} and {acted}."
            )
        drawn = scale * jax.random.normal(key, (acted.n, 1 + observed.n))
        return cls(drawn[:, 1:], drawn[:, 0], learns_std=learns_std)

    @property
    def num_observations(self) -> int:
        return self.weight.shape[1]

    @property
    def num_actions(self) -> int:
        return len(self.bias)

    @property
    def action_space(self) -> Box:
        return Box(len(self.bias))

    @property
    def observation_space(self) -> Vector:
        return Vector(self.weight.shape[1])

    def initial_memory(self) -> Memory:
        return None

    def __call__(
        self, memory: Memory, observation: Float[Array, " observations"], previous_action: Float[Array, " components"]
    ) -> tuple[Memory, PolicyOutput]:
        return self.unroll(memory, observation, previous_action)

    def unroll(
        self,
        memory: Memory,
        observations: Shaped[Array, "*steps observations"],
        previous_actions: Float[Array, "*steps components"],
    ) -> tuple[Memory, PolicyOutput]:
        del previous_actions
        scaled = observations.astype(self.weight.dtype) @ self.weight.T
        mean = scaled + jnp.broadcast_to(self.bias, scaled.shape)
        log_std = self.log_std if self.learns_std else jax.lax.stop_gradient(self.log_std)
        distribution = Gaussian(mean, jnp.broadcast_to(log_std, mean.shape))
        return memory, PolicyOutput(distribution=distribution)
