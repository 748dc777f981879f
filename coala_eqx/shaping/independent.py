"""Learners among themselves."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, Key

from coala_eqx.games import AbstractGame
from coala_eqx.learners import AbstractLearner, Experience
from coala_eqx.shaping.learning import Policies, alternate, initial_policy_states
from coala_eqx.shaping.roll_out import experience_of, inner_episode


def learn_independently(
    game: AbstractGame,
    policies: Policies,
    learner: AbstractLearner,
    *,
    batch: int,
    steps: int,
    updates: int,
    key: Key[Array, ""],
) -> tuple[Policies, Float[Array, "players episodes"]]:
    """All players are naive learners: each takes the others for part of its environment, and learns from all episodes.

    It is what naive learning comes to without anybody who shapes it, and where naive learners can start from.

    **Arguments:**

    - `policies`: one for each player, who start all episodes with a fresh memory.
    - `learner`: of all of them.
    - `batch`, `steps`: B games of T steps are played between two updates.
    - `updates`: how many, at least 0.

    **Returns** the policies after the updates, and the rewards per step, means over `[batch, steps]`, before each
    update and after the last: `episodes` is updates + 1.

    **Raises** `ValueError` for another number of policies than the game has players, or of updates below 0.
    """
    if len(policies) != game.num_players:
        raise ValueError(f"The game has {game.num_players} players, but `policies` has {len(policies)} entries.")
    if updates < 0:
        raise ValueError(f"`updates` must be at least 0, but is {updates}.")
    static = eqx.filter(policies, eqx.is_array, inverse=True)

    def visit(_: Any, policies: Policies, key: Array) -> tuple[Any, tuple[Experience, ...], Array]:
        _, record = inner_episode(game, policies, initial_policy_states(policies, batch), batch, steps, key)
        experiences = tuple(experience_of(record, player) for player in range(game.num_players))
        return eqx.filter(policies, eqx.is_array), experiences, record.rewards.mean(axis=(0, 1))

    learners, keys = (learner,) * game.num_players, jax.random.split(key, updates + 1)
    learned, rewards = alternate(learners, policies, visit, eqx.filter(policies, eqx.is_array), keys)
    return eqx.combine(learned, static), rewards.T
