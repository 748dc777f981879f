"""Records of the agents of the analytic figures."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from jaxtyping import Array, Bool, Float

import coala_eqx as ce
from coala_eqx.policies import BinaryMemoryOne
from experiments.analytic import ENTRIES, Settings, evaluation_learners


def last(path: BinaryMemoryOne) -> BinaryMemoryOne:
    """The agents of the last record."""
    return jax.tree.map(lambda leaf: leaf[:, -1], path)


class Met(eqx.Module):
    """Rewards of agents and learners against each other while the learners learn, averaged over learners.

    Leaves are `[seeds, records, …]`.
    """

    other: Float[Array, "seeds records points"]
    """The agents' returns at each point of the learners' path."""

    own: Float[Array, "seeds records points"]
    """The learners' returns at each point of their path."""

    finite: Bool[Array, "seeds records"]
    """Whether all learners stayed finite."""


@eqx.filter_jit
def meet_learners(problem: ce.IteratedShapingProblem, policies: BinaryMemoryOne, naive: BinaryMemoryOne) -> Met:
    """Let naive learners `[seeds, learners]` learn against policies `[seeds, records]`."""

    def one(policy: BinaryMemoryOne, naive: BinaryMemoryOne) -> Met:
        paths = jax.vmap(lambda learner: problem.learn(policy, learner))(naive)
        return Met(other=paths.other.mean(axis=0), own=paths.own.mean(axis=0), finite=paths.finite.all())

    return jax.vmap(lambda policies, naive: jax.lax.map(lambda policy: one(policy, naive), policies))(policies, naive)


@eqx.filter_jit
def play(problem: ce.IteratedShapingProblem, first: BinaryMemoryOne, second: BinaryMemoryOne) -> Array:
    """Returns of both players, `[…, 2]`, for policies stacked along any number of axes."""
    function = problem.returns
    for _ in range(first.logits.ndim - 1):
        function = jax.vmap(function)
    return function(first, second)


def pool_columns(settings: Settings, pairs: BinaryMemoryOne) -> dict[str, Any]:
    """Rewards and logits of two agents, leaves `[seeds, records, 2, …]`. Rewards against learners are those on their
    last step.
    """
    first, second = first_and_second(pairs)
    naive, problem = evaluation_learners(settings), settings.problem()
    met = [meet_learners(side, agent, naive) for side, agent in ((problem, first), (problem.mirrored(), second))]
    together = play(problem, first, second)
    return {
        "shaping_1": met[0].other[..., -1],
        "shaping_2": met[1].other[..., -1],
        "naive_1": met[0].own[..., -1],
        "naive_2": met[1].own[..., -1],
        "play_1": together[..., 0],
        "play_2": together[..., 1],
        **logits_of(first),
        "finite": (met[0].finite & met[1].finite).astype(float),
    }


SMALLER = pl.min_horizontal("play_1", "play_2")
"""The smaller reward of two agents against each other. It is high only if both cooperate."""


def smaller_reward(table: pl.DataFrame) -> pl.Series:
    """`SMALLER` of each record."""
    return table.select(SMALLER).to_series()


def rows(iterations: Sequence[int], **columns: Any) -> list[dict[str, Any]]:
    """One record for each seed and iteration, from arrays `[seeds, records]`. Other values are the same in all."""
    arrays = {name: np.asarray(value) for name, value in columns.items() if np.ndim(value) == 2}
    same = {name: value for name, value in columns.items() if np.ndim(value) != 2}
    seeds = len(next(iter(arrays.values())))
    return [
        {
            **same,
            "seed": seed,
            "iteration": iteration,
            **{name: float(array[seed, i]) for name, array in arrays.items()},
        }
        for seed in range(seeds)
        for i, iteration in enumerate(iterations)
    ]


def first_and_second(pairs: BinaryMemoryOne) -> tuple[BinaryMemoryOne, BinaryMemoryOne]:
    """The first and the second agents of pairs with leaves `[seeds, records, 2, …]`."""
    first, second = (jax.tree.map(lambda leaf, i=i: leaf[:, :, i], pairs) for i in range(2))
    return first, second


def are_finite(agents: BinaryMemoryOne) -> Array:
    """1 where all parameters are finite, else 0: `[seeds, records]`."""
    finite = [jnp.isfinite(leaf).all(axis=tuple(range(2, leaf.ndim))) for leaf in jax.tree.leaves(agents)]
    return jnp.all(jnp.stack(finite), axis=0).astype(float)


def logits_of(policies: BinaryMemoryOne, prefix: str = "") -> dict[str, Array]:
    """Columns of logits, one for each entry."""
    return {f"{prefix}{entry}": policies.logits[..., i] for i, entry in enumerate(ENTRIES)}


def path_of(settings: Settings) -> list[int]:
    """The iterations that have a record."""
    return list(range(0, settings.iterations + 1, settings.every))
