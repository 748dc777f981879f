"""Exact variance with exact critics: what a critic that sees the learner is worth, at small sizes.

Nothing is sampled: every outcome is enumerated, and each critic is the exact conditional mean of what it predicts
(`coala_eqx.exact.learner_values`). The ego agent remembers everything, and the co-player learns by SGD. All estimates
are unbiased, so that only their variance differs. It is given relative to that of COALA-PG without a critic, as a
geometric mean over random policies.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
import polars as pl

import coala_eqx as ce
from coala_eqx.estimators import CoalaHybrid, CoalaPG, ShapingValues
from coala_eqx.exact.learner_values import ExactLearnerValues
from coala_eqx.games import MatrixGame
from coala_eqx.learners import PolicyGradient
from coala_eqx.policies import FullHistory, MemoryOne
from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.progress import Progress
from experiments.claims import claim

PAPER, BEFORE, WITHOUT = "paper's critic", "W before", "W without b, κ = 1"
HALF, NONE, NONE_BEFORE, HYBRID, ACTIONS = "κ = 0.5", "κ = 0", "κ = 0, W before", "hybrid", "all actions"

GAMES = {"prisoner's dilemma": ce.games.iterated_prisoners_dilemma, "stag hunt": ce.games.stag_hunt}

_LEARNER = PolicyGradient(optimiser=optax.sgd(1.0))


@dataclasses.dataclass(frozen=True)
class Settings:
    """Problems to enumerate."""

    sizes: tuple[str, ...] = ("1,2,2", "1,3,2", "1,4,2", "1,2,3", "1,2,4", "2,2,2")
    """Sizes T,M,B: steps, inner episodes, trajectories."""

    policies: int = 4
    """Number of random policies of both players."""

    seed: int = 0
    """Seed of the first policies; the next ones have the next seeds."""

    def __post_init__(self) -> None:
        for size in self.sizes:
            parts = size.split(",")
            if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
                raise ValueError(f"`sizes` must be T,M,B, such as 1,2,2, but one is {size!r}.")
        if not self.sizes or self.policies < 1:
            raise ValueError("There must be a size and a policy: `sizes` or `policies` is empty or 0.")


PRESETS = {
    "smoke": Settings(sizes=("1,2,2", "1,2,3"), policies=2),
    "cpu": Settings(),
    "paper": Settings(policies=16),
}


def parts(settings: Settings) -> list[Part]:
    """One part for each size and game."""
    return [
        Part(f"{game}, T, M, B = {size}", settings.policies, functools.partial(_measured, settings, game, size))
        for size in settings.sizes
        for game in GAMES
    ]


def _measured(settings: Settings, game: str, size: str, progress: Progress) -> list[Record]:
    records = []
    steps, episodes, batch = map(int, size.split(","))
    for number in range(settings.policies):
        records += measure(GAMES[game](), steps, episodes, batch, settings.seed + number)
        progress(1)
    shared = {"game": game, "steps": steps, "episodes": episodes, "batch": batch}
    return [record | shared for record in records]


def measure(game: MatrixGame, steps: int, episodes: int, batch: int, seed: int) -> list[Record]:
    """The variance of each estimate for random policies, over that of COALA-PG without a critic, and its relative
    bias.
    """
    generator = np.random.default_rng(seed)
    with jax.enable_x64(True):
        problem = ce.ShapingProblem(
            game=game, co_players=(MemoryOne(generator.normal(size=(game.num_observations[1], 2))),), learner=_LEARNER,
            batch=batch, episodes=episodes, steps=steps,
        )  # fmt: skip
        policy = FullHistory.random(game, steps * episodes, jax.random.key(seed))
    exact = ExactLearnerValues(problem, policy)
    inner, whole = exact.own_values(whole=False), exact.own_values(whole=True)
    values = exact.values
    before = values.before[:, None].repeat(batch, axis=1)
    instead = ShapingValues(values.before, values.after, before, values.others)
    estimates = {
        "": exact.estimates(CoalaPG(), shaped=False),
        PAPER: exact.estimates(CoalaPG(), shaped=False, own=whole),
        BEFORE: exact.estimates(CoalaPG(), shaped=instead, own=inner),
        WITHOUT: exact.estimates(CoalaPG(), shaped=True, own=inner),
        HALF: exact.estimates(CoalaPG(kappa=0.5), shaped=True, own=inner),
        NONE: exact.estimates(CoalaPG(kappa=0.0), shaped=True, own=inner),
        NONE_BEFORE: exact.estimates(CoalaPG(kappa=0.0), shaped=instead, own=inner),
        HYBRID: exact.estimates(CoalaHybrid(), shaped=True, own=inner),
        ACTIONS: exact.all_action_estimates(),
    }
    moments = {name: exact.moments_of(each) for name, each in estimates.items()}
    true, plain = exact.gradient, moments[""].variance
    return [
        {
            "seed": seed,
            "critic": name,
            "relative_variance": one.variance / plain,
            "relative_bias": float(np.linalg.norm(one.mean - true) / np.linalg.norm(true)),
        }
        for name, one in moments.items()
        if name
    ]


def ratios(table: pl.DataFrame, critic: str) -> pl.DataFrame:
    """The geometric mean over policies of the variance over that of the paper's critic, for each size and game."""
    keys = ("game", "steps", "episodes", "batch")
    log = pl.col("relative_variance").log()
    ours, theirs = (
        table.filter(pl.col("critic") == name).group_by(*keys, maintain_order=True).agg(log.mean().alias(name))
        for name in (critic, PAPER)
    )
    both = ours.join(theirs, on=keys, suffix=" again", maintain_order="left")
    return both.with_columns((pl.col(both.columns[-2]) - pl.col(both.columns[-1])).exp().alias("ratio"))


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: the worst of all sizes and games, in geometric means over policies."""
    table = table_of(records)

    def worst(critic: str) -> float:
        return float(np.asarray(ratios(table, critic)["ratio"]).max())

    bias = float(table["relative_bias"].to_numpy().max())
    return [
        claim("All estimates are unbiased: the largest relative bias", bias, "≤", 1e-9),
        claim("W without trajectory b, at κ = 1, is about as good as the paper's critic at these sizes: its variance "
              "over that of the paper's critic, at worst", worst(WITHOUT), "≤", 1.1),
        claim("κ = 0 with W without trajectory b: its variance over that of the paper's critic, at worst",
              worst(NONE), "≤", 0.6),
        claim("All actions, weighed by their exact Q: variance over that of the paper's critic, at worst",
              worst(ACTIONS), "≤", 1 / 4),
    ]  # fmt: skip
