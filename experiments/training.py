"""Training of all seeds of a sampled figure at once, from checkpoints on; its records, and what it would take."""

import dataclasses
import time
from collections.abc import Iterable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from coala_eqx.games import AbstractDrawnGame
from coala_eqx.show import Recording
from coala_eqx.training import Pool, PoolInfo, PoolState, place
from coala_eqx.training.mesh import SEEDS, is_key, on_host
from coala_eqx.training.pool import members, without_co_players
from coala_eqx.verification.columns import remark
from experiments import files
from experiments.progress import Progress
from experiments.records import Record
from experiments.sampled import Settings

RECORDED = 16
"""Meta-episodes, at most, over which what is recorded at the end of training is averaged."""


def train(settings: Settings, pool: Pool, progress: Progress) -> tuple[PoolState, PoolInfo, Any]:
    """All seeds in one program; it goes on from a checkpoint, and keeps the agents at the end.

    An estimator that does not keep its claim at the run's size is named.

    **Returns** the last state, leaves `[seeds, …]`; what was seen, means between records, `[seeds, records, …]`; and
    what `settings.watch` measured, of the same axes.
    """
    for words in dict.fromkeys(remark(one, pool.batch, pool.length, pool.steps) for one in pool.estimators):
        if words:
            progress.say(words)
    with jax.set_mesh(mesh := settings.mesh(pool)):
        state, seen, watched = _train(settings, pool, mesh, progress)
    if isinstance(pool.game, AbstractDrawnGame):
        for against, recording in recordings(pool, pool.game, state).items():
            progress.keep_recording(against, recording)
    return state, seen, watched


def recordings(pool: Pool, game: AbstractDrawnGame, state: PoolState) -> dict[str, Recording]:
    """Of the first seed's first agent against naive learners, and against other agents, as far as the pool has them
    (`naive`, `meta`): a trajectory of a meta-episode, and means over all of as many as `RECORDED`. Numbers that NumPy's
    files have no name for, such as bfloat16, become single precision, which holds them all.
    """
    arrays, static = eqx.partition(state, eqx.is_array)
    first = jax.tree.map(lambda leaf: _on_host_as_it_was(leaf)[0], arrays)
    meta_batch = min(RECORDED, pool.meta_batch)

    @eqx.filter_jit
    def play(arrays: Any, p_naive: float) -> Any:
        state = eqx.combine(arrays, static)
        key = jax.random.fold_in(state.spare_key(1), jnp.uint32(p_naive))
        some = dataclasses.replace(pool, meta_batch=meta_batch, p_naive=p_naive, leave_one_out=False)
        episodes = some.meet(state, members(state.agents, 0), jnp.zeros((), int), key)[not p_naive]
        other = episodes.co_players[0]
        measured = {"reward": episodes.rewards, "other_reward": other.rewards}
        measured = {name: rewards.mean(axis=-1) for name, rewards in measured.items()} | some.measures(episodes)
        both = ((episodes.actions, other.actions), (episodes.rewards, other.rewards))
        shown = episodes.observations, *(jnp.stack(two, axis=-1) for two in both)
        means = jax.tree.map(lambda values: values.mean(axis=(0, 1)), measured)
        return *jax.tree.map(lambda leaf: leaf[0, 0], shown), means

    kinds = {"naive": (pool.num_naive, 1.0), "meta": (pool.num_meta, 0.0)}
    played = {kind: play(first, p_naive) for kind, (number, p_naive) in kinds.items() if number}
    played = jax.tree.map(_with_a_name, jax.device_get(played))
    return {
        kind: Recording(game, observations, actions.astype(np.uint8), rewards, means, meta_batch * pool.batch)
        for kind, (observations, actions, rewards, means) in played.items()
    }


def _with_a_name(leaf: np.ndarray) -> np.ndarray:
    return leaf.astype(np.float32) if files.has_no_name(leaf) else leaf


def _on_host_as_it_was(leaf: Array) -> Array:
    values = jnp.asarray(on_host(leaf))
    return jax.random.wrap_key_data(values) if is_key(leaf) else values


@dataclasses.dataclass(frozen=True)
class _Programs:
    """Of all seeds at once; each is traced once, wherever it is called."""

    iterate: Any
    """Arrays → those after an iteration, and a `PoolInfo`; compiled."""
    watch: Any
    """Arrays → what is measured for a record; compiled."""
    arrays: Any
    """To begin with."""
    static: Any
    """The rest of the state."""


def _programs(settings: Settings, pool: Pool) -> _Programs:
    arrays, static = eqx.partition(settings.init(pool), eqx.is_array)

    def of_one_seed(arrays: Any) -> tuple[Any, PoolInfo]:
        state, info = pool.iterate(eqx.combine(arrays, static))
        return eqx.filter(state, eqx.is_array), info

    def watch_one_seed(arrays: Any) -> Any:
        return settings.watch(pool, eqx.combine(arrays, static))

    iterate, watch = (
        jax.jit(jax.vmap(one, spmd_axis_name=SEEDS), inline=True) for one in (of_one_seed, watch_one_seed)
    )
    return _Programs(iterate, watch, arrays, static)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a training would take on this machine."""

    steps: int
    """Of the game, in all seeds and iterations."""

    seconds: float
    """Of one iteration, with its share of what is measured for each record."""

    memory: float
    """Of each device, in GB, as the compiler sees it; NaN if it does not say."""

    played: float
    """Of it, in GB, the trajectories of an iteration, which are kept until it ends."""

    devices: int


def plan(settings: Settings, pool: Pool) -> Plan:
    """By one iteration and one record, which are compiled and run."""
    with jax.set_mesh(mesh := settings.mesh(pool)):
        programs = _programs(settings, pool)
        arrays = place(programs.arrays, mesh)
        seconds, memory = _cost(programs.iterate, arrays)
        if jax.tree.leaves(jax.eval_shape(programs.watch, arrays)):
            seconds_watched, memory_watched = _cost(programs.watch, arrays)
            seconds, memory = seconds + seconds_watched / settings.every, max(memory, memory_watched)
    agents = len(pool.estimators)
    played = settings.seeds * agents * _bytes_played(pool, programs) / mesh.size
    steps = settings.iterations * settings.steps_per_iteration(agents)
    return Plan(steps=steps, seconds=seconds, memory=memory / 1e9, played=played / 1e9, devices=mesh.size)


def _bytes_played(pool: Pool, programs: _Programs) -> int:
    """Of what one agent of one seed plays in an iteration."""

    def meet(arrays: Any) -> Any:
        state = eqx.combine(arrays, programs.static)
        met = pool.meet(state, members(state.agents, 0), jnp.zeros((), int), state.key)
        return eqx.filter([without_co_players(episodes) for episodes in met], eqx.is_array)

    one_seed = jax.tree.map(lambda leaf: leaf[0], programs.arrays)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(jax.eval_shape(meet, one_seed)))


def _cost(program: Any, arrays: Any) -> tuple[float, float]:
    """Seconds, and bytes of one device."""
    compiled = program.lower(arrays).compile()
    jax.block_until_ready(compiled(arrays))
    began = time.perf_counter()
    jax.block_until_ready(compiled(arrays))
    seconds, memory = time.perf_counter() - began, compiled.memory_analysis()
    held = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes if memory else np.nan
    return seconds, held


def _train(settings: Settings, pool: Pool, mesh: Mesh, progress: Progress) -> tuple[PoolState, PoolInfo, Any]:
    programs = _programs(settings, pool)
    agents, records = len(pool.estimators), settings.iterations // settings.every
    piece = settings.iterations_at_once(agents)

    @jax.jit
    def some(arrays: Any, sums: PoolInfo) -> tuple[Any, PoolInfo]:
        """A piece of work. What is seen is added up from one record to the next."""

        def one(carry: tuple[Any, PoolInfo], _: None) -> tuple[tuple[Any, PoolInfo], None]:
            arrays, info = programs.iterate(carry[0])
            return (arrays, jax.tree.map(lambda one, more: one + more.astype(one.dtype), carry[1], info)), None

        return jax.lax.scan(one, (arrays, sums), length=piece)[0]

    infos = jax.eval_shape(programs.iterate, programs.arrays)[1]
    nothing = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), infos)
    seen = jax.tree.map(
        lambda leaf: np.full((leaf.shape[0], records, *leaf.shape[1:]), np.nan, leaf.dtype),
        (nothing, jax.eval_shape(programs.watch, programs.arrays)),
    )
    checkpoint = progress.checkpoint()
    done, (arrays, sums, seen) = checkpoint.load((programs.arrays, nothing, seen))
    if done % piece:
        raise ValueError(
            f"Another version of this program stopped after {done} iterations, but this one works in pieces of "
            f"{piece}: move the checkpoints of this part away, to start it again."
        )
    arrays, sums, nothing = (place(tree, mesh) for tree in (arrays, sums, nothing))
    progress.log(rows(seen[0], settings.every, range(done // settings.every)))
    progress.begin(done)
    note = ""
    while done < settings.iterations:
        began = time.perf_counter()
        arrays, sums = jax.block_until_ready(some(arrays, sums))
        pace = piece * settings.steps_per_iteration(agents) / (time.perf_counter() - began)
        done += piece
        if not done % settings.every:
            record = done // settings.every - 1
            news = jax.tree.map(lambda leaf: on_host(leaf) / np.float32(settings.every), sums), programs.watch(arrays)
            for path, leaf in zip(jax.tree.leaves(seen), jax.tree.leaves(news), strict=True):
                path[:, record] = on_host(leaf)
            progress.log(rows(seen[0], settings.every, [record]))
            note, sums = _rewards(pool, news[0]), nothing
        checkpoint.save(done, (arrays, sums, seen), always=done == settings.iterations)
        progress(piece, f"{note}{pace:.2g} steps/s")
    progress.keep(jax.tree.map(on_host, arrays.agents))
    return eqx.combine(arrays, programs.static), *seen


def _rewards(pool: Pool, info: PoolInfo) -> str:
    """In words, with a comma after each."""
    against = f"reward {np.nanmean(info.own):.2f}, " if pool.num_naive else ""
    return against + (f"{np.nanmean(info.together):.2f} together, " if pool.num_meta else "")


def rows(seen: PoolInfo, every: int, numbers: Iterable[int]) -> list[Record]:
    """The records of these numbers, from 0 on, of each seed and agent; rewards per step, and what the game measures.

    `every`: iterations from one to the next.
    """
    update = seen.update
    seeds, _, agents = seen.together.shape
    return [
        {
            "seed": seed,
            "agent": agent,
            "iteration": (number + 1) * every,
            "reward": float(seen.own[seed, number, agent].mean()),
            "naive": float(seen.naive[seed, number, agent].mean()),
            "together": float(seen.together[seed, number, agent]),
            "policy_loss": float(update.policy_loss[seed, number, agent]),
            "value_loss": float(update.value_loss[seed, number, agent]),
            "gradient_norm": float(update.gradient_norm[seed, number, agent]),
            "entropy": float(update.entropy[seed, number, agent]),
            "clipped": float(update.clipped[seed, number, agent]),
            "finite": float(seen.finite[seed, number, agent]),
            **{name: float(values[seed, number, agent].mean()) for name, values in seen.measures.items()},
            **{f"{name}_together": float(v[seed, number, agent]) for name, v in seen.measures_together.items()},
        }
        for seed in range(seeds)
        for agent in range(agents)
        for number in numbers
    ]


def all_rows(settings: Settings, seen: PoolInfo, names: Sequence[str]) -> list[Record]:
    """All records of training, with the names of the agents' estimators."""
    records = rows(seen, settings.every, range(settings.iterations // settings.every))
    return [record | {"estimator": names[record["agent"]]} for record in records]


def episode_rows(seen: PoolInfo, name: str) -> list[Record]:
    """What was seen in each inner episode before the last record, of each seed's first agent, against naive learners.

    `panel` is `episodes`, `iteration` the inner episode, and `name` the agent's estimator.
    """
    seeds, _, _, episodes = seen.own.shape
    columns: dict[str, Any] = {"reward": seen.own, "naive": seen.naive, **seen.measures}
    return [
        {"panel": "episodes", "seed": seed, "estimator": name, "iteration": episode + 1}
        | {column: float(values[seed, -1, 0, episode]) for column, values in columns.items()}
        | {"finite": float(seen.finite[seed, :, 0].min())}
        for seed in range(seeds)
        for episode in range(episodes)
    ]


def shape(settings: Settings, name: str, pool: Pool, progress: Progress) -> tuple[list[Record], PoolInfo]:
    """Train one agent that shapes learners. **Returns** records over training, of which `panel` is `training`, and by
    inner episode at its end, and what was seen.
    """
    _, seen, _ = train(settings, pool, progress)
    over_training = [record | {"panel": "training"} for record in all_rows(settings, seen, [name])]
    return over_training + episode_rows(seen, name), seen
