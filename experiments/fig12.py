"""Figure 12: the gradient through the future compared with that through the current inner episode.

An action earns in its own inner episode and in all later ones, the more so the more the learner responds to it. Both
parts of the estimates are measured for the same agents on the same meta-episodes, while COALA-PG trains these agents in
a mixed pool.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import polars as pl
from jaxtyping import Array, Float

from coala_eqx.estimators import MFOS, AbstractScoreFunctionEstimator, BatchUnaware, CoalaPG
from coala_eqx.policies import AbstractPolicy
from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.progress import Progress
from coala_eqx.runs.settings import named
from coala_eqx.shaping import MetaEpisode, score_function
from coala_eqx.training import Layout, Pool, PoolState
from coala_eqx.training.batch import flatten_meta_batch, subtract_leave_one_out
from coala_eqx.training.play import meet_some
from experiments import fig5c, sampled, training
from experiments.claims import claim, kept, of_means, over_seeds
from experiments.errors import Measured
from experiments.settings import check_at_least, override

SINGLE = True
"""Training is done in single precision."""

ESTIMATORS: dict[str, AbstractScoreFunctionEstimator] = {
    "CoalaPG": CoalaPG(),
    "MFOS": MFOS(),
    "BatchUnaware": BatchUnaware(),
}

MEMORIES = {"remembers all": 0, "remembers one inner episode": 1}
"""Length of the agents' memory in inner episodes (0: unlimited), keyed by part."""


def at_a_time(measured: int, meta_batch: int) -> int:
    """Number of meta-episodes that are played at a time. It divides half of those that are measured."""
    half = measured // 2
    return next(size for size in range(min(half, meta_batch), 0, -1) if half % size == 0)


@dataclasses.dataclass(frozen=True)
class Settings(fig5c.Settings):
    """Settings of this figure."""

    measured: int = 2048
    """Number of meta-episodes against naive learners that measure each seed's first agent. It must be even."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "measured")
        if self.measured % 2:
            raise ValueError(f"`measured` must be even, as halves of it are compared, but is {self.measured}.")
        if at_a_time(self.measured, self.pool.meta_batch) < 2:
            raise ValueError(
                "`measured`/2 must have a divisor from 2 to `meta_batch`, as meta-episodes are compared with others "
                f"that are played beside them, but is {self.measured // 2}, and `meta_batch` is {self.pool.meta_batch}."
            )
        if self.agent.discount != 1:
            raise ValueError(
                f"`agent.discount` must be 1, with which the parts are measured, but is {self.agent.discount}."
            )

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        settings = {name: override(self, {"agent.memory": memory}) for name, memory in MEMORIES.items()}
        return {name: (one, one.make_pool((CoalaPG(),) * self.agents)) for name, one in settings.items()}

    def watch(self, pool: Pool, state: PoolState) -> Any:
        return magnitudes(pool, state, self.measured, self.fitting_layout(pool))


PRESETS = {
    "smoke": override(Settings(), named(fig5c.PRESETS["smoke"]) | {"measured": 4}),
    "cpu": override(
        Settings(),
        named(fig5c.PRESETS["cpu"]) | {"measured": 256, "every": 50, "seeds": 2, "agent.entropy_coefficient": 0.02},
    ),
    "paper": Settings(),
}


def parts(settings: Settings) -> list[Part]:
    """One part for each memory."""
    return sampled.parts(settings, run)


def split(
    estimator: AbstractScoreFunctionEstimator, rewards: Float[Array, "batch episodes steps"]
) -> tuple[Float[Array, "batch episodes steps"], Float[Array, "batch episodes steps"]]:
    """The parts of the coefficients, without a critic, from rewards of the same inner episode and from later ones.

    Coefficients are linear in the rewards, so each part follows from setting all other rewards to 0.
    """
    episodes = jnp.arange(rewards.shape[1])

    def of(episode: Array) -> Array:
        only = rewards * (episodes == episode)[:, None]
        return estimator.coefficients(only)[:, episode]

    current = jnp.moveaxis(jax.vmap(of)(episodes), 0, 1)
    return current, estimator.coefficients(rewards) - current


def magnitudes(
    pool: Pool, state: PoolState, measured: int, layout: Layout
) -> dict[str, tuple[Float[Array, ""], Float[Array, ""]]]:
    """‖E[ĝ]‖² of the current and of the future part for each estimator, of the first agent against naive learners.

    Two halves of the meta-episodes give independent estimates of E[ĝ]. Their inner product is an unbiased estimate of
    ‖E[ĝ]‖², and may be negative.
    """
    agent = pool.agent(state, 0)
    chunk = at_a_time(measured, pool.meta_batch)

    def gradients(key: Array) -> Any:
        return _gradients(agent, meet_some(pool, state, 0, "naive", chunk, key, layout))

    def half(keys: Array) -> Any:
        zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(gradients, keys[0]))
        total, _ = jax.lax.scan(lambda so_far, key: (jax.tree.map(jnp.add, so_far, gradients(key)), None), zero, keys)
        return jax.tree.map(lambda leaf: leaf / len(keys), total)

    keys = jax.random.split(state.spare_key(2), (2, measured // 2 // chunk))
    first, second = half(keys[0]), half(keys[1])
    return {
        name: (_inner(first[name][0], second[name][0]), _inner(first[name][1], second[name][1])) for name in ESTIMATORS
    }


def _gradients(agent: AbstractPolicy, episodes: MetaEpisode) -> dict[str, tuple[Any, Any]]:
    """Means over meta-episodes of Σ_b Σ_l ∇log π · (C − mean C at l in the other meta-episodes), for both parts of all
    estimators.
    """
    parts = {name: jax.vmap(lambda rewards, e=e: split(e, rewards))(episodes.rewards) for name, e in ESTIMATORS.items()}
    observations, actions = jax.tree.map(flatten_meta_batch, (episodes.observations, episodes.actions))
    pull = score_function(agent, observations, actions)
    return jax.tree.map(lambda weights: pull(flatten_meta_batch(subtract_leave_one_out(weights) / len(weights))), parts)


def _inner(one: Any, other: Any) -> Float[Array, ""]:
    return sum(jax.tree.leaves(jax.tree.map(lambda a, b: (a * b).sum(), one, other)), jnp.zeros(()))


def run(settings: sampled.Settings, name: str, pool: Pool, progress: Progress) -> list[Record]:
    """Squared magnitudes over training, of the first agent of each seed."""
    del name
    _, seen, squares = training.train(settings, pool, progress)
    return [
        {
            "seed": seed,
            "estimator": estimator,
            "iteration": (record + 1) * settings.run.every,
            "current": float(current[seed, record]),
            "future": float(future[seed, record]),
            "reward": float(seen.ego[seed, record, 0].mean()),
            "finite": float(seen.finite[seed, record, 0]),
        }
        for estimator, (current, future) in squares.items()
        for seed in range(settings.run.seeds)
        for record in range(settings.run.iterations // settings.run.every)
    ]


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: ratios of root mean squares over training and seeds. Negative estimates enter
    the means as they are. M-FOS's ratio is COALA-PG's divided by B by definition.
    """
    table = kept(table_of(records))

    def root(future: float, current: float) -> float:
        return (max(future, 0.0) / current) ** 0.5 if current > 0 else float("nan")

    def ratio(part: str, estimator: str) -> Measured:
        here = table.filter(pl.col("part") == part, pl.col("estimator") == estimator)
        return of_means(root, over_seeds(here, "future"), over_seeds(here, "current"))

    first, second = MEMORIES
    coala = ratio(first, "CoalaPG")
    return [
        claim(
            "COALA-PG's future part is not too small: future over current part, root mean square over training",
            coala,
            "≥",
            0.3,
        ),
        claim("COALA-PG's future part is not too large: the same ratio", coala, "≤", 3),
        claim("M-FOS's current part dominates: the same ratio", ratio(first, "MFOS"), "≤", 0.3),
        claim(
            "Batch-unaware's current part dominates for agents that forget: the same ratio",
            ratio(second, "BatchUnaware"),
            "≤",
            0.3,
        ),
    ]
