"""What every policy offers: a step for play, the same over a whole sequence for gradients."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from coala_eqx.loops import scan
from coala_eqx.policies.probabilities import chosen_log_probs

Memory = Any

NO_ACTION = -1
"""The `previous_action` of a policy that has not acted yet."""


class PolicyOutput(eqx.Module):
    """What a policy says about one step, or about every step of a sequence."""

    logits: Float[Array, "*steps actions"]
    """Unnormalised log-probabilities of the actions; −∞ masks an action."""

    values: Float[Array, " *steps"]
    """The critic's estimate of the return to come; 0 for a policy without a critic."""


class AbstractPolicy(eqx.Module):
    """A policy with memory, for one player.

    Its history is what it has observed and done. Whoever plays it decides how long the memory lives: an
    ego agent keeps it across inner episodes, a co-player starts each inner episode with a fresh one.

    `__call__` and `unroll` must agree: the outputs of `unroll` are those of calling the policy step by
    step. Policies act on one trajectory; a batch is a `vmap`, so that they cannot share activations
    across it (which would break the theorem that this package rests on).
    """

    num_observations: eqx.AbstractVar[int]
    """How many observations it tells apart (at least the game's), or the length of one that is a vector."""

    num_actions: eqx.AbstractVar[int]
    """How many actions it chooses from."""

    @abc.abstractmethod
    def initial_memory(self) -> Memory:
        """The memory before the first observation; a pytree of arrays."""

    @abc.abstractmethod
    def __call__(
        self, memory: Memory, observation: Shaped[Array, "*features"], previous_action: Int[Array, ""]
    ) -> tuple[Memory, PolicyOutput]:
        """Take in one observation, and the own action before it (`NO_ACTION` at first).

        **Returns** the new memory, and the output for this step.
        """

    @abc.abstractmethod
    def unroll(
        self,
        memory: Memory,
        observations: Shaped[Array, "steps *features"],
        previous_actions: Int[Array, " steps"],
    ) -> tuple[Memory, PolicyOutput]:
        """Take in a whole sequence.

        **Returns** the memory after it, and the outputs for all steps.
        """


def unroll_by_steps(
    policy: AbstractPolicy,
    memory: Memory,
    observations: Shaped[Array, "steps *features"],
    previous_actions: Int[Array, " steps"],
) -> tuple[Memory, PolicyOutput]:
    """`unroll` for a policy that has no faster way: a scan over its steps."""

    def step(memory: Memory, inputs: tuple[Array, Array]) -> tuple[Memory, PolicyOutput]:
        return policy(memory, *inputs)

    return scan(step, memory, (observations, previous_actions))


class Mind(eqx.Module):
    """With what a policy goes on, on each trajectory of a batch."""

    memory: Memory
    previous_actions: Int[Array, " batch"]


def fresh_mind(policy: AbstractPolicy, batch: int) -> Mind:
    """Before the first observation."""
    memory = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (batch, *leaf.shape)), policy.initial_memory())
    return Mind(memory, jnp.full(batch, NO_ACTION, dtype=int))


def replay_actions(
    policy: AbstractPolicy,
    observations: Shaped[Array, "batch steps *features"],
    actions: Int[Array, "batch steps"],
) -> tuple[Float[Array, "batch steps"], Float[Array, "batch steps"]]:
    """What a policy with a fresh memory thinks of sequences that were played: differentiable in the policy.

    **Returns** the log-probabilities of the actions, and the critic's values, both `[batch, steps]`.
    """
    _, log_probs, values = replay_on(policy, fresh_mind(policy, len(actions)), observations, actions)
    return log_probs, values


def replay_on(
    policy: AbstractPolicy,
    mind: Mind,
    observations: Shaped[Array, "batch steps *features"],
    actions: Int[Array, "batch steps"],
) -> tuple[Mind, Float[Array, "batch steps"], Float[Array, "batch steps"]]:
    """`replay_actions` of a policy that goes on with what it has in mind; **returns** also what it then has."""
    mind, output = replay_outputs(policy, mind, observations, actions)
    return mind, log_probs_of(output, actions), output.values


def replay_outputs(
    policy: AbstractPolicy,
    mind: Mind,
    observations: Shaped[Array, "batch steps *features"],
    actions: Int[Array, "batch steps"],
) -> tuple[Mind, PolicyOutput]:
    """What a policy has in mind after sequences that were played, and its outputs `[batch, steps, …]` meanwhile."""
    before = shift_actions(actions, mind.previous_actions)
    memory, output = jax.vmap(policy.unroll)(mind.memory, observations, before)
    return Mind(memory, actions[:, -1].astype(mind.previous_actions.dtype)), output


def log_probs_of(output: PolicyOutput, actions: Int[Array, "*steps"]) -> Float[Array, "*steps"]:
    """The log-probabilities of actions; −∞, with derivative 0, for an action whose logit is −∞."""
    return chosen_log_probs(output.logits, actions)


def entropy_of(output: PolicyOutput) -> Float[Array, "*steps"]:
    """−Σ p ln p of the policy at each step, in nats. An action of logit −∞ adds exactly 0, and has no slope."""
    log_probs = jax.nn.log_softmax(output.logits)
    possible = jnp.where(jnp.isneginf(log_probs), 0, log_probs)  # for which p · ln p is 0, as it is for −∞
    return -(jnp.exp(possible) * possible).sum(axis=-1)


def shift_actions(
    actions: Int[Array, "batch steps"], first: Int[Array, " batch"] | None = None
) -> Int[Array, "batch steps"]:
    """The own action before each step of sequences that were played; `NO_ACTION` before the first unless given."""
    if first is None:
        first = jnp.full(len(actions), NO_ACTION)
    return jnp.concatenate([first.astype(actions.dtype)[:, None], actions[:, :-1]], axis=1)
