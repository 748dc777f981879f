"""Naive learners that play each other."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, Key

from coala_eqx._checks import check_whole
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
    """Let all players learn as naive learners: each takes the others for part of its environment.

    It shows the result of naive learning without anybody who shapes it. Naive learners can start from there.

    **Arguments:**

    - `policies`: one for each player. All episodes start with a fresh memory.
    - `learner`: the learner of all players.
    - `batch`, `steps`: B and T; B games of T steps are played between two updates.
    - `updates`: number of updates, at least 0.

    **Returns** the policies after the updates, and the rewards per step, means over `[batch, steps]`, before each
    update and after the last: `episodes` is updates + 1.

    **Raises** `ValueError` if there is not one policy for each player, or if `updates` is below 0.
    """
    if len(policies) != game.num_players:
        raise ValueError(f"The game has {game.num_players} players, but `policies` has {len(policies)} entries.")
    check_whole("updates", updates, 0)
    static = eqx.filter(policies, eqx.is_array, inverse=True)

    def visit(_: Any, policies: Policies, key: Array) -> tuple[Any, tuple[Experience, ...], Array]:
        _, record = inner_episode(game, policies, initial_policy_states(policies, batch), batch, steps, key)
        experiences = tuple(experience_of(record, player) for player in range(game.num_players))
        return eqx.filter(policies, eqx.is_array), experiences, record.rewards.mean(axis=(0, 1))

    learners, keys_learn = (learner,) * game.num_players, None
    if learner.uses_key:
        key, key_learn = jax.random.split(key)
        keys_learn = jax.random.split(key_learn, (updates + 1, len(learners)))
    keys, arrays = jax.random.split(key, updates + 1), eqx.filter(policies, eqx.is_array)
    learned, rewards = alternate(learners, policies, visit, arrays, keys, keys=keys_learn)
    return eqx.combine(learned, static), rewards.T
