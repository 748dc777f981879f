"""Shared parts of the figures of Section 4 and Appendix C: settings and initial policies.

Everything is exact, except that the naive learners that are met are drawn at random. Policies have five logits: start,
CC, CD, DC, DD. Leaves of stacked policies are `[seeds, …]`, and `[seeds, 2, …]` for two agents that meet.

Source: Meulemans et al. (2025), Section 4 and Appendix C.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

import coala_eqx as ce
from coala_eqx.games import MatrixGame
from coala_eqx.learners import ExactAscent
from coala_eqx.policies import BinaryMemoryOne
from coala_eqx.verification.game_files import load_game
from experiments.claims import DILEMMA
from experiments.settings import check_at_least, check_periods, check_seed

INITIAL, TRAINING, EVALUATION, LATER = range(4)
"""Purposes of random keys."""

ENTRIES = ("start", "CC", "CD", "DC", "DD")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of all analytic figures. Their texts say which of them the paper does not give."""

    payoffs: str = DILEMMA
    """Game of two players with two actions each: its name, or a JSON or TOML file."""

    discount: float = 0.95
    """Discount factor γ per step."""

    normalise: bool = True
    """Whether returns are multiplied by 1 − `discount`. The paper does not say.
    Without the factor, η_naive = 5 makes the naive learner jump."""

    naive_rate: float = 5.0
    """Learning rate η_naive of the naive learners."""

    naive_steps: int = 20
    """Number M of steps of a naive learner. The paper does not say, but Figure 10C shows 20."""

    naive_scale: float = 1.0
    """Standard deviation of the naive learners' initial logits. The paper does not say."""

    meta_batch: int = 16
    """Number of naive learners that are met in each iteration. The paper does not say."""

    evaluation_batch: int = 64
    """Number of naive learners that rewards are reported for. They are the same at every record."""

    average: bool = True
    """Whether, in a mixed pool, one meta agent weighs as much as a learner's whole path of M + 1 policies.
    If not, Eq. 17's sum is mixed with one play against the meta agent. The paper does not say."""

    rate: float = 0.005
    """Learning rate η_meta of AdamW. Its other settings are optax's defaults."""

    iterations: int = 2000
    """Number of iterations of meta-training. The paper does not say."""

    every: int = 50
    """Number of iterations between records. It must divide `iterations`."""

    seeds: int = 32
    """Number of seeds."""

    seed: int = 0
    """Seed of all random numbers, from 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "meta_batch", "evaluation_batch", "iterations", "every", "seeds")
        check_seed(self)
        check_at_least(self, 0, "naive_rate", "naive_steps", "naive_scale", "rate")
        check_periods(self)

    def problem(self, **changes: Any) -> ce.IteratedShapingProblem:
        """The first player's shaping problem, with changes of `naive_rate` and `naive_steps`."""
        settings = dataclasses.replace(self, **changes)
        learner = ExactAscent(rate=settings.naive_rate, steps=settings.naive_steps)
        return ce.IteratedShapingProblem(
            load_payoffs(self.payoffs), self.discount, normalise=self.normalise, learner=learner
        )

    def contents(self) -> dict[str, Any]:
        """The payoffs of both players, as nested lists, in case `payoffs` names a file."""
        return {"payoff_table": load_payoffs(self.payoffs).tolist()}

    def keys(self, purpose: int) -> Key[Array, " seeds"]:
        """One key for each seed. Different purposes have different keys."""
        return jax.random.split(jax.random.fold_in(jax.random.key(self.seed), purpose), self.seeds)


def load_two_player(source: str) -> MatrixGame:
    """A matrix game by name or file. **Raises** `ValueError` unless it is one of two players."""
    name, game = load_game(source)
    if not isinstance(game, MatrixGame) or game.num_players != 2:
        raise ValueError(f"This figure needs a matrix game of two players, which {name} is not.")
    return game


def load_two_by_two(source: str) -> MatrixGame:
    """A matrix game by name or file. **Raises** `ValueError` unless it is one of two players with two actions each."""
    name, game = load_game(source)
    if not isinstance(game, MatrixGame) or game.num_actions != (2, 2):
        raise ValueError(f"This figure needs a matrix game of two players with two actions each, which {name} is not.")
    return game


def load_payoffs(source: str) -> Array:
    """Payoffs of a matrix game of two players with two actions each, by name or file."""
    return jnp.asarray(load_two_by_two(source).payoffs)


def stacked(logits: Array) -> BinaryMemoryOne:
    """Policies with logits `[…, 5]`."""
    return eqx.tree_at(lambda policy: policy.logits, BinaryMemoryOne(jnp.zeros(5)), logits)


def normal_policies(key: Key[Array, ""], number: int, scale: float) -> BinaryMemoryOne:
    """Stacked policies with normal logits."""
    return stacked(scale * jax.random.normal(key, (number, 5)))


def normal_pairs(settings: Settings) -> Float[Array, "seeds 2 5"]:
    """Independent standard normal numbers for the initial logits of the two agents of every seed."""
    return jax.vmap(lambda key: jax.random.normal(key, (2, 5)))(settings.keys(INITIAL))


def evaluation_learners(settings: Settings) -> BinaryMemoryOne:
    """`[seeds, evaluation_batch]`: the naive learners that rewards are reported for."""
    draw = jax.vmap(lambda key: normal_policies(key, settings.evaluation_batch, settings.naive_scale).logits)
    return stacked(draw(settings.keys(EVALUATION)))
