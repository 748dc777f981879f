"""LOLA-DiCE estimates neither of the two look-ahead objectives, but differs from both by O(α²/N).

Two objectives have been called LOLA's. Eq. 4 has EXPECTED updates: J(φ, ψ + α·E[ḡ]). The other has the SAMPLED update
of a batch of N: E[J(φ, ψ + α·ḡ)] with ḡ = (1/N) Σ_b g_b. COALA-PG on the last inner episode estimates the second.

**Claims**, for one look-ahead (M = 2) and plain SGD:

1. For logits, E[LOLA-DiCE] differs from both targets at any finite N. The differences vanish as 1/N, and as α².
2. The two targets differ from each other, also by O(α²/N).
3. All three agree where J^i is affine in ψ over the update's range and the update is unbiased for α·∂J^{-i}: for T =
   1, policies parametrised by probabilities, plain SGD, and steps that stay inside (0, 1). There they also agree for
   more look-aheads, because ∂J^{-i} is affine, too.

**Why.** Write s for the ego agent's score. LOLA-DiCE differentiates the sampled update, and its expectation is
E[∂J/∂φ + ∂J/∂ψ · α·(1/N) Σ_b s_b·g_b] at ψ + α·ḡ. With ∂²J/∂ψ² = H, up to α²: the term through the update is
α·∂J/∂ψ·E[s·g] + (α²/N)·H·(E[s·g²] + (N − 1)·E[g]·E[s·g]), for Eq. 4 it is α·∂J/∂ψ·E[s·g] + α²·H·E[g]·E[s·g], and for
the sampled update α·∂J/∂ψ·E[s·g] + (α²/N)·H·(E[s·g²]/2 + (N − 1)·E[g]·E[s·g]). The direct term of the first and the
last differs from Eq. 4's by ½·∂H/∂φ·Var[g]·α²/N. All differences are proportional to α²/N, and to H.

**Drawn at random.** Payoffs and policies for T = 1, M = 2 (3 under claim 3).
"""

from typing import Any

import equinox as eqx
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from jaxtyping import Array, Float

import coala_eqx as ce
from coala_eqx.estimators import LolaDice
from coala_eqx.estimators.base import AbstractEstimator
from coala_eqx.policies import AbstractPolicy, MemoryOne
from coala_eqx.policies.base import Memory, PolicyOutput
from proofs_checks.common.cases import LEARNERS, examples
from proofs_checks.common.ledger import as_printed, differs, holds
from proofs_checks.common.rounding import rounding
from proofs_checks.common.trees import distance, norm, root_mean_square, scale, subtract

IN_RATE = "LOLA-DiCE: E[ĝ] − Eq. 4 grows as α²: what is left is O(α³), α = 2e-4"
IN_BATCH = "LOLA-DiCE: E[ĝ] − Eq. 4 falls as 1/N: what is left is O(α³), α = 1e-4"
IN_RATE_SAMPLED = "LOLA-DiCE: E[ĝ] − sampled-update objective grows as α²: what is left is O(α³), α = 2e-4"
IN_BATCH_SAMPLED = "LOLA-DiCE: E[ĝ] − sampled-update objective falls as 1/N: what is left is O(α³), α = 1e-4"
LEADING = "LOLA-DiCE: E[ĝ] − Eq. 4 over α², N = 1, one game"
LEADING_SAMPLED = "LOLA-DiCE: E[ĝ] − sampled-update objective over α², N = 1, one game"
OFF = "LOLA-DiCE: relative difference to Eq. 4, α = 2, N = 4"
OFF_SAMPLED = "LOLA-DiCE: relative difference to the sampled-update objective, α = 2, N = 4"
TARGETS_APART = "LOLA: relative difference of the two targets for logits, α = 2, N = 4"
TARGETS_AGREE = "LOLA: the two targets agree for probabilities, T = 1 (relative)"
DICE_AGREES = "LOLA-DiCE: unbiased for both there (relative)"


IN_TABLE = "LOLA-DiCE: first component of the gradients of the table (last digit)"

RATE = 1e-4

TABLE_BATCHES = (1, 2, 4, 6)
TABLE = {
    "E[LOLA-DiCE]": "0.3280 0.3296 0.3242 0.3212",
    "sampled-update objective": "0.3310 0.3260 0.3209 0.3184",
    "Eq. 4": "0.3108 0.3108 0.3108 0.3108",
}
"""First component of each gradient for one random game (seed 0), α = 2, against SGD, by growing N."""


class Probability(AbstractPolicy):
    """A policy whose parameters are the probabilities of the first of two actions, one for each observation."""

    first: Float[Array, " observations"]

    def __init__(self, first: Any):
        self.first = jnp.asarray(first)

    @property
    def num_observations(self) -> int:
        return len(self.first)

    @property
    def num_actions(self) -> int:
        return 2

    def initial_memory(self) -> Memory:
        return None

    def __call__(self, memory: Memory, observation: Array, previous_action: Array) -> tuple[Memory, PolicyOutput]:
        return self.unroll(memory, observation, previous_action)

    def unroll(self, memory: Memory, observations: Array, previous_actions: Array) -> tuple[Memory, PolicyOutput]:
        p = self.first[observations]
        logits = jnp.stack([jnp.log(p), jnp.log1p(-p)], axis=-1)
        return memory, PolicyOutput(logits=logits, values=jnp.zeros_like(p))


def logits_problem(seed: int, batch: int, rate: float) -> tuple[ce.ShapingProblem, AbstractPolicy]:
    """A problem with T = 1, M = 2, random payoffs, and logits as parameters."""
    generator = np.random.default_rng(seed)
    game = ce.games.MatrixGame(generator.uniform(-2, 2, (2, 2, 2)).round(1))
    ego, other = (MemoryOne(generator.uniform(-1, 1, (5, 2)).round(1)) for _ in range(2))
    return _problem(game, other, batch, 2, rate), ego


def probability_problem(seed: int, batch: int, episodes: int) -> tuple[ce.ShapingProblem, AbstractPolicy]:
    """A problem with T = 1, random payoffs, probabilities in [0.4, 0.6] as parameters, and steps too short to leave (0,
    1).

    A step is α·r/p with |r| ≤ 2: at most 0.04 for the first and less than 0.05 for the next one.
    """
    generator = np.random.default_rng(seed)
    game = ce.games.MatrixGame(generator.uniform(-2, 2, (2, 2, 2)).round(1))
    ego, other = (Probability(generator.uniform(0.4, 0.6, 5).round(2)) for _ in range(2))
    return _problem(game, other, batch, episodes, 0.008), ego


def _problem(
    game: ce.games.MatrixGame, other: AbstractPolicy, batch: int, episodes: int, rate: float
) -> ce.ShapingProblem:
    """A problem whose rewards are multiplied by the rate, for an SGD of rate 1. The rate is an array, so one
    compilation serves all rates.
    """
    learner = eqx.tree_at(lambda learner: learner.reward_scale, LEARNERS["sgd"], jnp.asarray(float(rate)))
    return ce.ShapingProblem(game=game, co_players=(other,), learner=learner, batch=batch, episodes=episodes, steps=1)


def _targets_and_mean(estimator: AbstractEstimator, seed: int, batch: int, rate: float) -> tuple[Any, Any, Any]:
    """∇(Eq. 4), ∇(sampled update) and E[ĝ]."""
    problem, policy = logits_problem(seed, batch, rate)
    expected = ce.exact.gradient(problem, policy, "lookahead_return")
    sampled = ce.exact.gradient(problem, policy, "last_episode_return")
    return expected, sampled, ce.exact.moments(estimator, problem, policy).mean


def check_orders(estimator: AbstractEstimator, seed: int) -> tuple[float, float]:
    """Check that both differences are O(α²/N): twice the rate makes four times the difference, and N times the batch
    1/N of it.

    The remainder is of the next order, α³ times a product of three rewards of at most 2 each, plus rounding.

    **Returns** the two differences divided by α², for N = 1.
    """
    rate = RATE
    settings = [(1, 2 * rate), (1, rate), (4, rate)]
    found = [_targets_and_mean(estimator, seed, batch, at) for batch, at in settings]
    problem, _ = logits_problem(seed, 4, rate)
    noise = rounding(problem, ce.exact.count_outcomes(problem), 4.0)
    coefficients = []
    for target, in_batch, in_rate in ((0, IN_BATCH, IN_RATE), (1, IN_BATCH_SAMPLED, IN_RATE_SAMPLED)):
        double, one, four = (subtract(entries[2], entries[target]) for entries in found)
        holds(in_rate, distance(double, scale(4.0, one)), 8 * (2 * rate) ** 3 + noise)
        holds(in_batch, distance(scale(4.0, four), one), 8 * rate**3 + noise)
        coefficients.append(norm(one) / rate**2)
    return coefficients[0], coefficients[1]


def check_agreement(estimator: AbstractEstimator, seed: int, batch: int, episodes: int) -> None:
    """Check that with probabilities as parameters both targets are equal, and E[ĝ] is their gradient."""
    problem, policy = probability_problem(seed, batch, episodes)
    mean, variance = ce.exact.moments(estimator, problem, policy)
    expected = ce.exact.gradient(problem, policy, "lookahead_return")
    sampled = ce.exact.gradient(problem, policy, "last_episode_return")
    size = root_mean_square(mean, variance) or 1.0
    bound = rounding(problem, ce.exact.count_outcomes(problem), 3.0)
    holds(TARGETS_AGREE, distance(sampled, expected) / size, bound)
    holds(DICE_AGREES, distance(mean, expected) / size, bound)


@given(seed=st.integers(0, 1000))
@examples(ci=5, deep=150)
def test_the_differences_are_of_order_rate_squared_over_batch(seed):
    check_orders(LolaDice(), seed)


def test_these_orders_have_something_to_be_of():
    """Check that the differences are many times the allowed remainder. Differences of 0 would be of any order."""
    for claim, coefficient in zip((LEADING, LEADING_SAMPLED), check_orders(LolaDice(), 4), strict=True):
        differs(claim, coefficient, 10 * 8 * RATE)


@given(seed=st.integers(0, 1000), sizes=st.sampled_from([(1, 2), (3, 2), (2, 3)]))
@examples(ci=9, deep=300)
def test_all_agree_for_probabilities(seed, sizes):
    check_agreement(LolaDice(), seed, *sizes)


def test_the_table():
    """Check the table, and the differences in all components for N = 4."""
    found = [_targets_and_mean(LolaDice(), 0, batch, 2.0) for batch in TABLE_BATCHES]
    for row, which in (("Eq. 4", 0), ("sampled-update objective", 1), ("E[LOLA-DiCE]", 2)):
        as_printed(IN_TABLE, [float(entries[which].logits[0, 0]) for entries in found], TABLE[row].split())
    expected, sampled, dice = found[TABLE_BATCHES.index(4)]
    size = norm(expected)
    differs(OFF, distance(dice, expected) / size, 0.04)
    differs(OFF_SAMPLED, distance(dice, sampled) / size, 0.01)
    differs(TARGETS_APART, distance(sampled, expected) / size, 0.03)
