"""The list of all outcomes of one inner episode."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from coala_eqx.arrays import concrete
from coala_eqx.games import TabularGame
from coala_eqx.learners import Experience


class InnerOutcomes(eqx.Module):
    """All outcomes of one inner episode: K sequences of states and joint actions.

    The state after the last action is left out: nobody sees it, and no reward depends on it.
    """

    observations: Shaped[Array, "outcomes steps players"]
    actions: Int[Array, "outcomes steps players"]
    rewards: Float[Array, "outcomes steps players"]
    chance: Float[Array, " outcomes"]
    """The probability of the states, given the actions."""

    def experience(self, outcomes: Int[Array, "batch episodes"], player: int) -> Experience:
        """The experience of one player, from the numbers of the inner outcomes: arrays `[batch, episodes, steps]`."""
        return Experience(
            observations=self.observations[outcomes, :, player],
            actions=self.actions[outcomes, :, player],
            rewards=self.rewards[outcomes, :, player],
        )


def count_inner_outcomes(table: TabularGame, steps: int) -> int:
    """The number of outcomes that `list_inner_outcomes` lists."""
    paths, spread = table.possible_starts.astype(object), table.moves.spread()
    for _ in range(steps - 1):
        paths = spread(paths)
    return int(paths.sum()) * math.prod(table.num_actions)


def list_inner_outcomes(table: TabularGame, steps: int) -> InnerOutcomes:
    """Every sequence of states and joint actions of positive probability."""
    joint = np.indices(table.num_actions).reshape(table.num_players, -1).T
    states = np.nonzero(table.possible_starts)[0][:, None]
    actions = np.zeros((len(states), 0, table.num_players), dtype=int)
    for step in range(steps):
        states = np.repeat(states, len(joint), axis=0)
        chosen = np.tile(joint, (len(actions), 1))
        actions = np.concatenate([np.repeat(actions, len(joint), axis=0), chosen[:, None]], axis=1)
        if step + 1 < steps:
            row, successor = table.moves.successors(states[:, -1], chosen)
            states = np.concatenate([states[row], successor[:, None]], axis=1)
            actions = actions[row]
    # Known numbers are picked by NumPy: for each new shape JAX would compile a program.
    table = jax.tree.map(lambda leaf: np.asarray(leaf) if concrete(leaf) else leaf, table)
    chance = table.initial[states[:, 0]]
    for step in range(1, steps):
        chance = chance * table.moves.chance(states[:, step - 1], actions[:, step - 1], states[:, step])
    return InnerOutcomes(
        observations=jnp.asarray(np.moveaxis(table.seen.array[:, states], 0, -1)),
        actions=jnp.asarray(actions),
        rewards=jnp.asarray(_players_last(table.earned(states, actions))),
        chance=jnp.asarray(chance),
    )


def _players_last(rewards: Any) -> Any:
    return np.moveaxis(rewards, 0, -1) if isinstance(rewards, np.ndarray) else jnp.moveaxis(rewards, 0, -1)
