"""The contract of a policy: a step for play, and the same over a whole sequence for gradients."""

import abc
import warnings
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from coala_eqx.games.spaces import ActionSpace, Derived, Discrete, ObservationSpace
from coala_eqx.loops import scan
from coala_eqx.policies.distributions import AbstractDistribution, Categorical

Memory = Any

NO_ACTION = -1
"""The `previous_action` of a policy that has not acted yet, where actions are discrete. Where they are vectors it is a
vector of zeros. A policy that must tell the first step from an action of zeros counts its steps in its memory."""


class PolicyOutput(eqx.Module):
    """The output of a policy at one step, or at every step of a sequence.

    **Arguments:**

    - `logits` `[*steps, actions]`: unnormalised log-probabilities of discrete actions; −∞ masks an action.
    - `values` `[*steps]`: the critic's estimates of the return to come. Unless given they are 0, as those of a policy
      without a critic must be.
    - `distribution`: any other distribution over actions, such as a `Gaussian`, in place of `logits`.

    **Raises** `ValueError` unless exactly one of `logits` and `distribution` is given.
    """

    distribution: AbstractDistribution
    values: Float[Array, "*steps"]

    def __init__(
        self,
        logits: Float[Array, "*steps actions"] | None = None,
        values: Float[Array, "*steps"] | None = None,
        *,
        distribution: AbstractDistribution | None = None,
    ):
        if logits is not None and distribution is None:
            distribution = Categorical(logits)
        elif distribution is None or logits is not None:
            raise ValueError("A PolicyOutput needs either `logits` or a `distribution`, and not both.")
        self.distribution = distribution
        self.values = jnp.zeros(distribution.is_undefined.shape) if values is None else values

    @property
    def logits(self) -> Float[Array, "*steps actions"]:
        """Logits of discrete actions.

        **Raises** `ValueError` if actions are not discrete.
        """
        if not isinstance(self.distribution, Categorical):
            raise ValueError(
                f"Only discrete actions have logits, but the output is a {type(self.distribution).__name__}."
            )
        return self.distribution.logits


class AbstractPolicy(eqx.Module):
    """A policy with memory, for one player.

    Its history is what it has observed and done. Whoever plays it decides how long the memory lives: an
    ego agent keeps it across inner episodes, a co-player starts each inner episode with a fresh one.

    `__call__` and `unroll` must agree: the outputs of `unroll` are those of calling the policy step by
    step. A policy acts on one trajectory; a batch is a `vmap`. Trajectories of a batch therefore cannot share
    activations, which would break the theorem that this package rests on.

    A policy for continuous actions declares `action_space = Box(n)`; its outputs then hold a `Gaussian`, or another
    distribution over vectors of length n. Unless declared, actions are `Discrete(num_actions)`.
    """

    num_observations: eqx.AbstractVar[int]
    """Number of observations it tells apart (at least the game's), or the number of entries of an observation that is
    an array."""

    num_actions: eqx.AbstractVar[int]
    """Number of actions it chooses from, or the length of an action that is a vector."""

    if TYPE_CHECKING:  # or checkers of types would ask for these whenever a policy is made
        action_space: ActionSpace = eqx.field(init=False)
        observation_space: ObservationSpace | None = eqx.field(init=False)
    else:
        action_space = Derived(lambda policy: Discrete(policy.num_actions))
        """Space of its actions."""

        observation_space = Derived(lambda _: None)
        """Space of its observations; `None` if only their number is known, and both integers and vectors will do."""

    @abc.abstractmethod
    def initial_memory(self) -> Memory:
        """The memory before the first observation; a pytree of arrays."""

    @abc.abstractmethod
    def __call__(
        self, memory: Memory, observation: Shaped[Array, "*features"], previous_action: Shaped[Array, "*action"]
    ) -> tuple[Memory, PolicyOutput]:
        """Take in one observation, and the own action before it: at first `NO_ACTION`, or zeros if it is a vector.

        **Returns** the new memory, and the output for this step.
        """

    @abc.abstractmethod
    def unroll(
        self,
        memory: Memory,
        observations: Shaped[Array, "steps *features"],
        previous_actions: Shaped[Array, "steps *action"],
    ) -> tuple[Memory, PolicyOutput]:
        """Take in a whole sequence.

        **Returns** the memory after it, and the outputs for all steps.
        """


def unroll_by_steps(
    policy: AbstractPolicy,
    memory: Memory,
    observations: Shaped[Array, "steps *features"],
    previous_actions: Shaped[Array, "steps *action"],
) -> tuple[Memory, PolicyOutput]:
    """`unroll` for a policy that has no faster way: a scan over its steps."""

    def step(memory: Memory, inputs: tuple[Array, Array]) -> tuple[Memory, PolicyOutput]:
        return policy(memory, *inputs)

    return scan(step, memory, (observations, previous_actions))


class PolicyState(eqx.Module):
    """Memory and previous action of a policy, one of each per trajectory of a batch."""

    memory: Memory
    previous_actions: Shaped[Array, "batch *action"]


def initial_policy_state(policy: AbstractPolicy, batch: int) -> PolicyState:
    """The state before the first observation."""
    memory = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (batch, *leaf.shape)), policy.initial_memory())
    return PolicyState(memory, _no_actions(batch, policy.action_space.shape))


def _no_actions(batch: int, shape: tuple[int, ...]) -> Shaped[Array, "batch *action"]:
    return jnp.zeros((batch, *shape)) if shape else jnp.full(batch, NO_ACTION, dtype=int)


def replay_actions(
    policy: AbstractPolicy,
    observations: Shaped[Array, "batch steps *features"],
    actions: Shaped[Array, "batch steps *action"],
) -> tuple[Float[Array, "batch steps"], Float[Array, "batch steps"]]:
    """Log-probabilities and values of a policy with a fresh memory on sequences that were played.

    **Returns** the log-probabilities of the actions, and the critic's values, both `[batch, steps]`; differentiable in
    the policy.
    """
    _, log_probs, values = replay_on(policy, initial_policy_state(policy, len(actions)), observations, actions)
    return log_probs, values


def replay_on(
    policy: AbstractPolicy,
    state: PolicyState,
    observations: Shaped[Array, "batch steps *features"],
    actions: Shaped[Array, "batch steps *action"],
) -> tuple[PolicyState, Float[Array, "batch steps"], Float[Array, "batch steps"]]:
    """`replay_actions` of a policy that goes on from a state; **returns** also the state after it."""
    state, output = replay_outputs(policy, state, observations, actions)
    return state, log_probs_of(output, actions), output.values


def replay_outputs(
    policy: AbstractPolicy,
    state: PolicyState,
    observations: Shaped[Array, "batch steps *features"],
    actions: Shaped[Array, "batch steps *action"],
) -> tuple[PolicyState, PolicyOutput]:
    """The state of a policy after sequences that were played, and its outputs `[batch, steps, …]` on them."""
    before = shift_actions(actions, state.previous_actions)
    memory, output = jax.vmap(policy.unroll)(state.memory, observations, before)
    return PolicyState(memory, actions[:, -1].astype(state.previous_actions.dtype)), output


def log_probs_of(output: PolicyOutput, actions: Shaped[Array, "*steps_and_action"]) -> Float[Array, "*steps"]:
    """The log-probabilities of actions; −∞, with derivative 0, for a discrete action whose logit is −∞."""
    return output.distribution.log_prob(actions)


def entropy_of(output: PolicyOutput) -> Float[Array, "*steps"]:
    """The entropy of the policy at each step, in nats."""
    return output.distribution.entropy()


def shift_actions(
    actions: Shaped[Array, "batch steps *action"], first: Shaped[Array, "batch *action"] | None = None
) -> Shaped[Array, "batch steps *action"]:
    """The own action before each step of sequences that were played.

    Before the first step it is `first`; unless given, `NO_ACTION`, or zeros where actions are vectors.
    """
    if first is None:
        first = _no_actions(len(actions), actions.shape[2:])
    return jnp.concatenate([first.astype(actions.dtype)[:, None], actions[:, :-1]], axis=1)


_FORMER = {"Mind": "PolicyState", "fresh_mind": "initial_policy_state"}


def __getattr__(name: str) -> Any:
    """Names of the version before, which still work and warn."""
    if name not in _FORMER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{__name__}.{name} is deprecated: use {_FORMER[name]}.", DeprecationWarning, stacklevel=2)
    return globals()[_FORMER[name]]
