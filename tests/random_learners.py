"""Learners with randomness that several tests use, and a policy with a critic."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import coala_eqx as ce
from coala_eqx.learners import AbstractDrawingLearner, AbstractLearner
from tests.makers import SGD

ONE = optax.sgd(1.0)


def moved(policy, by):
    return eqx.tree_at(lambda one: one.logits, policy, policy.logits + by)


class Noisy(AbstractLearner):
    """Adds normal noise to its logits, in the first state and in each update; says so."""

    uses_key: ClassVar[bool] = True

    def init(self, policy, key):
        return jax.random.normal(key, policy.logits.shape)

    def update(self, policy, state, experience, key):
        return moved(policy, state + jax.random.normal(key, policy.logits.shape)), state


class Coin(AbstractDrawingLearner):
    """Learns with one rate or another, as a loaded coin says."""

    rates: ClassVar = np.array([0.5, 3.0])
    chances: ClassVar = np.array([0.25, 0.75])

    def init(self, policy, key):
        return None

    def draw(self, batch, key):
        return jnp.asarray(self.rates)[jax.random.categorical(key, jnp.log(self.chances))]

    def num_draws(self, batch):
        return 2

    def draws(self, batch):
        return jnp.asarray(self.rates), jnp.asarray(self.chances)

    def learn(self, policy, state, experience, draw):
        step = SGD.update(policy, SGD.init(policy), experience)[0]
        return moved(policy, draw * (step.logits - policy.logits)), state


def same(one, other):
    for a, b in zip(*(jax.tree.leaves(eqx.filter(tree, eqx.is_array)) for tree in (one, other)), strict=True):
        np.testing.assert_array_equal(a, b)


class Table(ce.policies.AbstractPolicy):
    """Logits and a critic's values of each observation."""

    logits: jax.Array
    critic: jax.Array
    num_observations: int = 5
    num_actions: int = 2

    def initial_memory(self):
        return None

    def __call__(self, memory, observation, previous_action):
        return memory, ce.policies.PolicyOutput(self.logits[observation], self.critic[observation])

    def unroll(self, memory, observations, previous_actions):
        return memory, ce.policies.PolicyOutput(self.logits[observations], self.critic[observations])


def experience_of(steps):
    observations, actions, rewards = np.moveaxis(np.array(steps), 2, 0)
    return ce.learners.Experience(
        jnp.asarray(observations.astype(int)), jnp.asarray(actions.astype(int)), jnp.asarray(rewards)
    )


def random_steps(batch, times, seed=5):
    generator = np.random.default_rng(seed)
    return [
        [(generator.integers(5), generator.integers(2), generator.normal()) for _ in range(times)] for _ in range(batch)
    ]
