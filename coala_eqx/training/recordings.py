"""Recordings of agents at the end of training."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from coala_eqx.games import MatrixGame, TabularGame
from coala_eqx.policies import AbstractPolicy
from coala_eqx.runs.files import has_no_name
from coala_eqx.runs.processes import as_local, is_first
from coala_eqx.runs.progress import Progress
from coala_eqx.runs.recordings import Cast, Recording, reward_measures
from coala_eqx.training.info import measures
from coala_eqx.training.layout import Layout
from coala_eqx.training.meetings import NAIVE
from coala_eqx.training.play import by_agent, meet_some
from coala_eqx.training.pool import Pool
from coala_eqx.training.state import PoolState

PLAYER = 4
"""The axis of players in arrays `[meetings, batch, episodes, steps, players, …]`."""

RECORDED = 16
"""Largest number of meta-episodes over which the measures of a recording are averaged."""


def keep_results(
    pool: Pool, states: PoolState, layout: Layout, progress: Progress, agents: tuple[AbstractPolicy, ...] | None = None
) -> None:
    """Write the agents at the end of training, and recordings of them. All processes must call this.

    `agents`: one policy for each agent, leaves `[seeds, …]`. By default they are those of `states`.
    """
    progress.keep(by_agent(pool, states.groups) if agents is None else agents)
    for against, recording in recordings(pool, states, layout).items():
        progress.keep_recording(against, recording)


def recordings(pool: Pool, states: PoolState, layout: Layout) -> dict[str, Recording]:
    """Record the first seed's first agent against naive learners (`naive`) and against other agents (`meta`).

    A recording is one trajectory of a meta-episode, and means over up to `RECORDED` meta-episodes. Matrix games and
    tables are not recorded, nor are meetings that the pool does not have. Only the first process records. Types of
    numbers for which NumPy's files have no name, such as bfloat16, become single precision, which holds them exactly.
    """
    game = pool.game
    if isinstance(game, MatrixGame | TabularGame):
        return {}
    arrays, static = eqx.partition(states, eqx.is_array)
    first = jax.tree.map(lambda leaf: as_local(leaf)[0], arrays)  # all processes must take part
    if not is_first():
        return {}
    meetings = min(RECORDED, pool.meta_batch)

    @eqx.filter_jit
    def play(arrays: Any, kind: str) -> Any:
        state = eqx.combine(arrays, static)
        key = jax.random.fold_in(state.spare_key(1), jnp.uint32(kind == "naive"))
        episodes = meet_some(pool, state, 0, kind, meetings, key, layout)
        others = episodes.co_players
        rewards = jnp.stack([episodes.rewards, *(one.rewards for one in others)], axis=PLAYER)
        actions = jnp.stack([episodes.actions, *(one.actions for one in others)], axis=PLAYER)
        measured = reward_measures(rewards.mean(axis=PLAYER - 1))
        shown = jax.tree.map(lambda leaf: leaf[0, 0], (episodes.observations, actions, rewards))
        return *shown, jax.tree.map(lambda of: of.mean(axis=(0, 1)), measured | measures(game, episodes))

    kinds = {"naive": pool.num_naive, "meta": pool.num_meta}
    played = {kind: play(first, kind) for kind, number in kinds.items() if number}
    played = jax.tree.map(_with_a_name, jax.device_get(played))
    return {
        kind: Recording(game, seen, _small(done), rewards, means, meetings * pool.batch, _cast(pool, kind))
        for kind, (seen, done, rewards, means) in played.items()
    }


def _cast(pool: Pool, kind: str) -> Cast:
    """The players of the recorded meetings of this kind."""
    line_up = next(one for one in pool.line_ups(pool.class_of(0)) if one.kind == kind)
    names = [type(agent.estimator).__name__ for agent in pool.agents]

    def co_player(filling: int) -> str:
        if filling == NAIVE:
            return type(pool.naive.learner).__name__
        return " or ".join(dict.fromkeys(names[number] for number in pool.classes[filling].members if number))

    players = (line_up.seat, *pool.other_seats(line_up))
    return Cast(
        agent=0, estimator=names[0], against=kind, co_players=tuple(map(co_player, line_up.fillings)), players=players
    )


def _small(actions: np.ndarray) -> np.ndarray:
    """Whole numbers as bytes, if they fit. Other arrays are returned unchanged."""
    return actions.astype(np.uint8) if actions.dtype.kind in "iu" and actions.max() < 256 else actions


def _with_a_name(leaf: np.ndarray) -> np.ndarray:
    return leaf.astype(np.float32) if has_no_name(leaf) else leaf
