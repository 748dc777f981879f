"""Recordings of what agents do at the end of training."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from coala_eqx.games import AbstractDrawnGame
from coala_eqx.policies import AbstractPolicy
from coala_eqx.runs.files import has_no_name
from coala_eqx.runs.processes import as_local, is_first
from coala_eqx.runs.progress import Progress
from coala_eqx.runs.recordings import Recording
from coala_eqx.training.info import measures
from coala_eqx.training.layout import Layout
from coala_eqx.training.play import by_agent, meet_some
from coala_eqx.training.pool import Pool
from coala_eqx.training.state import PoolState

RECORDED = 16
"""Meta-episodes, at most, over which what is recorded at the end of training is averaged."""


def keep_results(
    pool: Pool, states: PoolState, layout: Layout, progress: Progress, agents: tuple[AbstractPolicy, ...] | None = None
) -> None:
    """Write the agents at the end of training, and recordings of what they do. All processes must call it.

    `agents` are all of them, unless given, one policy each, leaves `[seeds, …]`.
    """
    progress.keep(by_agent(pool, states.groups) if agents is None else agents)
    for against, recording in recordings(pool, states, layout).items():
        progress.keep_recording(against, recording)


def recordings(pool: Pool, states: PoolState, layout: Layout) -> dict[str, Recording]:
    """Record the first seed's first agent against naive learners (`naive`) and against other agents (`meta`).

    Each is a trajectory of a meta-episode, and means over as many meta-episodes as `RECORDED`. There is none of games
    that cannot be shown, of meetings that the pool has not, or in other processes than the first. Numbers that NumPy's
    files have no name for, such as bfloat16, become single precision, which holds them all.
    """
    game = pool.game
    if not isinstance(game, AbstractDrawnGame):
        return {}
    arrays, static = eqx.partition(states, eqx.is_array)
    first = jax.tree.map(lambda leaf: as_local(leaf)[0], arrays)  # which all processes do
    if not is_first():
        return {}
    meetings = min(RECORDED, pool.meta_batch)

    @eqx.filter_jit
    def play(arrays: Any, kind: str) -> Any:
        state = eqx.combine(arrays, static)
        key = jax.random.fold_in(state.spare_key(1), jnp.uint32(kind == "naive"))
        episodes = meet_some(pool, state, 0, kind, meetings, key, layout)
        other = episodes.co_players[0]
        measured = {"reward": episodes.rewards, "other_reward": other.rewards}
        measured = {name: rewards.mean(axis=-1) for name, rewards in measured.items()} | measures(game, episodes)
        both = ((episodes.actions, other.actions), (episodes.rewards, other.rewards))
        shown = episodes.observations, *(jnp.stack(two, axis=-1) for two in both)
        means = jax.tree.map(lambda values: values.mean(axis=(0, 1)), measured)
        return *jax.tree.map(lambda leaf: leaf[0, 0], shown), means

    kinds = {"naive": pool.num_naive, "meta": pool.num_meta}
    played = {kind: play(first, kind) for kind, number in kinds.items() if number}
    played = jax.tree.map(_with_a_name, jax.device_get(played))
    return {
        kind: Recording(game, observations, actions.astype(np.uint8), rewards, means, meetings * pool.batch)
        for kind, (observations, actions, rewards, means) in played.items()
    }


def _with_a_name(leaf: np.ndarray) -> np.ndarray:
    return leaf.astype(np.float32) if has_no_name(leaf) else leaf
