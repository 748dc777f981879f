"""Tabular critics: any values, or the exact conditional expectation of something given the own history."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import coala_eqx as ce
from coala_eqx.policies import AbstractPolicy, FullHistory
from coala_eqx.policies.base import Memory, PolicyOutput
from coala_eqx.shaping import MetaEpisode, ShapingProblem
from proofs_checks.common.influence import Signal


class WithCritic(AbstractPolicy):
    """A table of logits, and beside it a table of values: one entry for each own history."""

    actor: FullHistory
    table: Float[Array, " histories"]

    @property
    def num_observations(self) -> int:
        return self.actor.num_observations

    @property
    def num_actions(self) -> int:
        return self.actor.num_actions

    def initial_memory(self) -> Memory:
        return self.actor.initial_memory()

    def __call__(self, memory: Memory, observation: Array, previous_action: Array) -> tuple[Memory, PolicyOutput]:
        row, output = self.actor(memory, observation, previous_action)
        return row, PolicyOutput(logits=output.logits, values=self.table[row])

    def unroll(self, memory: Memory, observations: Array, previous_actions: Array) -> tuple[Memory, PolicyOutput]:
        row, output = self.actor.unroll(memory, observations, previous_actions)
        _, numbered = number_rows(self.actor).unroll(memory, observations, previous_actions)
        return row, PolicyOutput(logits=output.logits, values=self.table[numbered.logits[:, 0].astype(int)])


def number_rows(actor: FullHistory) -> FullHistory:
    """The same table with the number of the row in place of its logits."""
    rows = jnp.broadcast_to(jnp.arange(len(actor.logits))[:, None], actor.logits.shape)
    return eqx.tree_at(lambda policy: policy.logits, actor, rows.astype(float))


def random_critic(actor: FullHistory, seed: int) -> WithCritic:
    """Values that mean nothing: independent normal numbers."""
    return WithCritic(actor, 2 * jax.random.normal(jax.random.key(seed), (len(actor.logits),)))


def exact_critic(problem: ShapingProblem, policy: FullHistory | WithCritic, target: Signal) -> WithCritic:
    """V(h) = E[target_l^b | h_l^b = h], with 0 for histories that cannot occur."""
    total, visits = sums_by_history(problem, policy, target)
    actor = policy.actor if isinstance(policy, WithCritic) else policy
    return WithCritic(actor, jnp.where(visits > 0, total / jnp.where(visits > 0, visits, 1.0), 0.0))


def sums_by_history(problem: ShapingProblem, policy: FullHistory | WithCritic, target: Signal) -> tuple[Array, Array]:
    """E[Σ_b Σ_l 1{h_l^b = h} · target_l^b] and E[Σ_b Σ_l 1{h_l^b = h}], arrays `[histories]`."""
    actor = policy.actor if isinstance(policy, WithCritic) else policy

    def collect(problem: ShapingProblem, policy: AbstractPolicy, episode: MetaEpisode) -> tuple[Array, Array]:
        observations, actions = (x.reshape(problem.batch, -1) for x in (episode.observations, episode.actions))
        rows = history_rows(actor, observations, actions).ravel()
        blank = jnp.zeros(len(actor.logits))
        return blank.at[rows].add(target(episode.rewards, episode.values).ravel()), blank.at[rows].add(1.0)

    return ce.exact.expectation(collect, problem, policy, exchangeable=True)


def history_rows(actor: FullHistory, observations: Array, actions: Array) -> Array:
    """The row of every history, `[batch, steps]`."""

    def one(observations: Array, actions: Array) -> Array:
        previous = jnp.concatenate([jnp.full(1, -1), actions[:-1]])
        _, output = number_rows(actor).unroll(actor.initial_memory(), observations, previous)
        return output.logits[:, 0].astype(int)

    return jax.vmap(one)(observations, actions)


def own_return(rewards: Array, values: Array) -> Array:
    """Σ_{k≥l} r_k^b over the rest of the meta-trajectory (Eq. 10's target): `[batch, episodes, steps]`."""
    del values
    flat = rewards.reshape(len(rewards), -1)
    return jnp.cumsum(flat[:, ::-1], axis=1)[:, ::-1].reshape(rewards.shape)
