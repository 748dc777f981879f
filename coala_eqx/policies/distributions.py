"""Distributions over actions: categorical for discrete ones, a diagonal Gaussian for vectors."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

from coala_eqx.policies.probabilities import chosen_log_probs


class AbstractDistribution(eqx.Module):
    """A distribution over the actions of one step, or of every step of a sequence: leaves `[*steps, …]`."""

    @abc.abstractmethod
    def sample(self, key: Key[Array, ""]) -> Shaped[Array, "*steps_and_action"]:
        """Draw one action for each step."""

    @abc.abstractmethod
    def log_prob(self, actions: Shaped[Array, "*steps_and_action"]) -> Float[Array, "*steps"]:
        """The log-probability, or log-density, of one action for each step."""

    @abc.abstractmethod
    def entropy(self) -> Float[Array, "*steps"]:
        """The entropy of each step, in nats."""

    @property
    @abc.abstractmethod
    def is_undefined(self) -> Bool[Array, "*steps"]:
        """Whether some parameter of a step is NaN."""


class Categorical(AbstractDistribution):
    """A distribution over the integers 0, 1, …, by logits.

    **Arguments:**

    - `logits` `[*steps, actions]`: unnormalised log-probabilities; −∞ masks an action.
    """

    logits: Float[Array, "*steps actions"]

    def sample(self, key: Key[Array, ""]) -> Int[Array, "*steps"]:
        return jax.random.categorical(key, self.logits)

    def log_prob(self, actions: Int[Array, "*steps"]) -> Float[Array, "*steps"]:
        """The log-probability of one action for each step; −∞, with derivative 0, for an action that is masked."""
        return chosen_log_probs(self.logits, actions)

    def entropy(self) -> Float[Array, "*steps"]:
        """−Σ p ln p of each step, in nats. An action that is masked adds exactly 0, and has no slope."""
        log_probs = jax.nn.log_softmax(self.logits)
        possible = jnp.where(jnp.isneginf(log_probs), 0, log_probs)  # for which p · ln p is 0, as it is for −∞
        return -(jnp.exp(possible) * possible).sum(axis=-1)

    @property
    def is_undefined(self) -> Bool[Array, "*steps"]:
        return jnp.isnan(self.logits).any(axis=-1)


class Gaussian(AbstractDistribution):
    """A normal distribution over vectors, with independent components.

    Samples, log-densities and entropies are those of distreqx's `Normal`.

    **Arguments:**

    - `mean` `[*steps, components]`: expected actions.
    - `log_std` `[*steps, components]`: natural logarithms of the standard deviations.
    """

    mean: Float[Array, "*steps components"]
    log_std: Float[Array, "*steps components"]

    def sample(self, key: Key[Array, ""]) -> Float[Array, "*steps components"]:
        return self._components().sample(key)

    def log_prob(self, actions: Float[Array, "*steps components"]) -> Float[Array, "*steps"]:
        return self._components().log_prob(actions.astype(self.mean.dtype)).sum(axis=-1)

    def entropy(self) -> Float[Array, "*steps"]:
        return self._components().entropy().sum(axis=-1)

    @property
    def is_undefined(self) -> Bool[Array, "*steps"]:
        return (jnp.isnan(self.mean) | jnp.isnan(self.log_std)).any(axis=-1)

    def _components(self) -> Any:
        from distreqx.distributions import Normal  # noqa: PLC0415 (only where actions are continuous)

        return Normal(self.mean, jnp.exp(self.log_std))
