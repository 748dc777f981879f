"""Learners among themselves."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, Key

from coala_eqx._checks import check_whole
from coala_eqx.games import AbstractGame
from coala_eqx.learners import AbstractLearner, Experience
from coala_eqx.shaping.learning import Minds, Policies, alternate, fresh_minds
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
    check_whole("updates", updates, 0)
    static = eqx.filter(policies, eqx.is_array, inverse=True)

    def visit(_: Any, policies: Policies, key: Array) -> tuple[Any, tuple[Experience, ...], Array]:
        minds: Minds = fresh_minds(policies, batch)
        _, record = inner_episode(game, policies, minds, batch, steps, key)
        experiences = tuple(experience_of(record, player) for player in range(game.num_players))
        return eqx.filter(policies, eqx.is_array), experiences, record.rewards.mean(axis=(0, 1))

    learners, keys_learn = (learner,) * game.num_players, None
    if learner.uses_key:
        key, key_learn = jax.random.split(key)
        keys_learn = jax.random.split(key_learn, (updates + 1, len(learners)))
    keys, arrays = jax.random.split(key, updates + 1), eqx.filter(policies, eqx.is_array)
    learned, rewards = alternate(learners, policies, visit, arrays, keys, keys=keys_learn)
    return eqx.combine(learned, static), rewards.T
