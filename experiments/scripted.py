"""Is there anything to gain by shaping? Scripted agents against naive learners in CleanUp-lite.

Only learning awareness can find a policy that pays now and is paid later. This experiment searches for a map and
learners on which such a policy exists, before anything is trained. The agents neither learn nor remember. The learners
learn as in Figure 6. All settings of learners, map and sizes can be tried.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import polars as pl
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

import coala_eqx as ce
from coala_eqx.games.clean_up_lite import MOVES
from coala_eqx.policies import AbstractPolicy, Memory, PolicyOutput, unroll_by_steps
from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.processes import on_host
from coala_eqx.runs.progress import Progress
from coala_eqx.streams import stream
from coala_eqx.training import Pool, place
from coala_eqx.training.info import measures
from coala_eqx.training.layout import SEEDS
from coala_eqx.training.play import meet_some
from experiments import clean_up, sampled
from experiments.claims import Estimate, claim, largest_of, over_seeds
from experiments.settings import override
from experiments.tables import SCRIPTS

SINGLE = True
"""Play is in single precision."""

ACTIONS = tuple(MOVES)


class Scripted(AbstractPolicy):
    """One of the scripts, by its index, in a game with all actions. It is deterministic and has no memory."""

    game: ce.games.CleanUpLite
    script: Int[Array, ""]
    num_observations: int = eqx.field(static=True)
    num_actions: int = eqx.field(static=True, default=len(ACTIONS))

    def initial_memory(self) -> Memory:
        return jnp.zeros(0)

    def __call__(
        self, memory: Memory, observation: Shaped[Array, "features"], previous_action: Int[Array, ""]
    ) -> tuple[Memory, PolicyOutput]:
        state = self.game.seen(observation)
        row, column = jnp.divmod(state.cells[0], self.game.columns)
        here, first = (jnp.arange(self.game.rows) == number for number in (row, 0))

        def to(goal: int, rows: Bool[Array, "rows"]) -> Int[Array, ""]:
            """The next step to the nearest of these rows in column `goal`."""
            target = jnp.argmin(jnp.where(rows, jnp.abs(jnp.arange(self.game.rows) - row), self.game.rows))
            ways = [column > goal, column < goal, target < row, target > row]
            return jnp.select(ways, [_action(name) for name in ("left", "right", "up", "down")], _action("nothing"))

        waits = to(0, jnp.where(state.apples.any(), state.apples, here))
        cleans = to(self.game.columns - 1, state.dirt)
        works = jnp.where(state.dirt.any() & ~state.apples.any(), cleans, waits)
        can_zap = jnp.asarray(self.game.in_reach)[state.cells[0], state.cells[1]] & (state.frozen[1] == 0)
        action = jnp.stack([works, jnp.where(can_zap, _action("zap"), works), waits, to(0, first)])[self.script]
        return memory, PolicyOutput(jnp.where(jnp.arange(len(ACTIONS)) == action, 0.0, -jnp.inf), jnp.zeros(()))

    def unroll(
        self,
        memory: Memory,
        observations: Shaped[Array, "steps *features"],
        previous_actions: Int[Array, " steps"],
    ) -> tuple[Memory, PolicyOutput]:
        return unroll_by_steps(self, memory, observations, previous_actions)


def _action(name: str) -> int:
    return ACTIONS.index(name)


@dataclasses.dataclass(frozen=True)
class Settings(clean_up.Settings):
    """Settings of learners, map and sizes. Those of training have no effect."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.game.actions != ACTIONS:
            raise ValueError(f"`actions` must be {ACTIONS}, all of which the scripts know, but is {self.game.actions}.")

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        return {"scripts": self.alone(sampled.ESTIMATORS["CoalaPG"])}


PRESETS = {
    "smoke": override(Settings(), sampled.SMOKE_ON_GRIDS),
    "cpu": override(Settings(), clean_up.PATIENT | {"meta_batch": 8, "seeds": 3}),
    "paper": Settings(),
}


def parts(settings: Settings) -> list[Part]:
    """One part."""
    return [Part("scripts", len(SCRIPTS), lambda progress: run(settings, progress))]


def run(settings: Settings, progress: Progress) -> list[Record]:
    """One record for each script, seed and inner episode (`iteration`): rewards of the agent and its learner, and the
    game's measures.
    """
    ((_, pool),) = settings.trainings().values()
    layout = settings.fitting_layout(pool)
    arrays, static = eqx.partition(settings.init(pool), eqx.is_array)
    keys = play_keys(settings)
    records: list[Record] = []

    def play(arrays: Any, key: Key[Array, ""], script: Int[Array, ""]) -> dict[str, Float[Array, " episodes"]]:
        game = settings.game.make()
        agent = Scripted(game=game, script=script, num_observations=game.num_observations[0])
        met = meet_some(pool, eqx.combine(arrays, static), 0, "naive", pool.meta_batch, key, layout, agent)
        rewards = {"reward": met.rewards, "naive": met.co_players[0].rewards}
        means = {name: of.mean(axis=(0, 1, 3)) for name, of in rewards.items()}
        return means | {name: of.mean(axis=(0, 1)) for name, of in measures(pool.game, met).items()}

    of_all_seeds = jax.jit(jax.vmap(play, in_axes=(0, 0, None), spmd_axis_name=SEEDS))
    arrays, keys = place((arrays, keys), mesh := layout.mesh(settings.run.seeds, (pool.num_naive, pool.num_meta)))
    for number, script in enumerate(SCRIPTS):
        with jax.set_mesh(mesh):
            seen = jax.tree.map(on_host, of_all_seeds(arrays, keys, jnp.asarray(number)))
        records += [
            {"script": script, "seed": seed, "iteration": episode + 1, "finite": 1.0}
            | {name: float(values[seed, episode]) for name, values in seen.items()}
            for seed in range(settings.run.seeds)
            for episode in range(settings.pool.episodes)
        ]
        progress(1)
    return records


def play_keys(settings: Settings) -> Key[Array, " seeds"]:
    """One key for each seed. They differ from those that make the pool, which splits the same seed's key."""
    return jax.random.split(stream(jax.random.key(settings.run.seed), "scripts"), settings.run.seeds)


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the study: mean rewards of the best scripts that work and of the best that wait."""
    table = table_of(records)
    last = max(record["iteration"] for record in records)
    fifth = max(1, last // 5)

    def best(kind: str, share: pl.Expr) -> Estimate:
        these = table.filter(share)
        return largest_of(
            over_seeds(these.filter(pl.col("script") == script), "reward")
            for script in SCRIPTS
            if script.startswith(kind)
        )

    iteration = pl.col("iteration")
    shares = {"first": iteration <= fifth, "last": iteration > last - fifth, "all": iteration <= last}
    return [
        claim("Working pays more in the first fifth of a meta-episode: difference of the best rewards",
              best("works", shares["first"]) - best("waits", shares["first"]), "≥", 0.01),
        claim("Waiting pays more in the last fifth: difference of the best rewards",
              best("waits", shares["last"]) - best("works", shares["last"]), "≥", 0.01),
        claim("Waiting pays more over the whole meta-episode: difference of the best rewards",
              best("waits", shares["all"]) - best("works", shares["all"]), "≥", 0.0),
    ]  # fmt: skip
