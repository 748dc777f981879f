"""Expected returns of fixed policies over one inner episode, by summing over the tree of histories."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from coala_eqx.games import AbstractEnumerableGame, AbstractGame, TabularGame
from coala_eqx.policies import NO_ACTION, AbstractPolicy
from coala_eqx.policies.probabilities import log_probabilities

_MOST_HISTORIES = 2_000_000


def episode_returns(
    game: AbstractGame, policies: tuple[AbstractPolicy, ...], steps: int, discount: float = 1.0
) -> Float[Array, " players"]:
    """E[Σ_{t=1..steps} discount^{t−1} r_t] of every player, for policies that start with a fresh memory.

    The result is exact, differentiable to any order in the policies and in the game's tables, and traceable. The tree
    has one node for each distinct history, also where policies have no memory.

    **Arguments:**

    - `game`: a game that can be tabulated.
    - `policies`: one policy for each player.
    - `steps`: number of steps T of the inner episode.
    - `discount`: factor per step.

    **Raises** `ValueError` if the game cannot be tabulated, or if it has more than 2e6 histories of `steps` steps.
    """
    if not isinstance(game, AbstractEnumerableGame):
        raise ValueError(f"{type(game).__name__} cannot be written as a table, which exact returns need.")
    table = game.table()
    policy_states = [(_row(policy.initial_memory()), np.array([NO_ACTION])) for policy in policies]
    (states,) = np.nonzero(table.possible_starts)
    policy_states = [
        jax.tree.map(lambda leaf: jnp.repeat(leaf, len(states), axis=0), policy_state) for policy_state in policy_states
    ]
    probabilities = table.initial[states]
    joint = np.indices(table.num_actions).reshape(table.num_players, -1).T
    returns = jnp.zeros(table.num_players, dtype=table.rewards.dtype)
    for step in range(steps):
        branch, policy_states = _joint_probabilities(table, policies, policy_states, states, joint)
        weights = probabilities[:, None] * branch
        rewards = table.earned(states[:, None], joint[None])
        returns += discount**step * jnp.einsum("nj,pnj->p", weights, rewards)
        if step + 1 < steps:
            before, chosen = np.repeat(states, len(joint)), np.tile(joint, (len(states), 1))
            _check_size(table.moves.count_successors(before, chosen), steps)
            pair, successor = table.moves.successors(before, chosen)
            node, choice = np.divmod(pair, len(joint))
            chance = table.moves.chance(before[pair], chosen[pair], successor)
            probabilities = weights[node, choice] * chance
            policy_states = [
                _branch(policy_state, node, joint[choice, p]) for p, policy_state in enumerate(policy_states)
            ]
            states = successor
    return returns


def _joint_probabilities(
    table: TabularGame,
    policies: tuple[AbstractPolicy, ...],
    policy_states: list[Any],
    states: np.ndarray,
    joint: np.ndarray,
) -> tuple[Float[Array, "nodes joint_actions"], list[Any]]:
    """The probability of every joint action at every node, and the memories and previous actions after the node."""
    product, after = jnp.ones((1, 1)), []
    for player, (policy, (memory, previous_actions)) in enumerate(zip(policies, policy_states, strict=True)):
        observations = table.observations[player, states]
        new_memory, output = jax.vmap(policy)(memory, observations, jnp.asarray(previous_actions))
        product = product * jnp.exp(log_probabilities(output.logits))[:, joint[:, player]]
        after.append((new_memory, previous_actions))
    return product, after


def _row(memory: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], memory)


def _branch(policy_state: tuple[Any, Any], node: np.ndarray, actions: np.ndarray) -> tuple[Any, np.ndarray]:
    return jax.tree.map(lambda leaf: leaf[node], policy_state[0]), actions


def _check_size(histories: int, steps: int) -> None:
    if histories > _MOST_HISTORIES:
        raise ValueError(
            f"One inner episode of {steps} steps has more than {histories:,} histories (limit "
            f"{_MOST_HISTORIES:,}); lower `steps`."
        )
