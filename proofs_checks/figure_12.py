"""Figure 12: how the future part of the gradient compares with the current part as the batch grows, exactly.

∇J̄ is split into the effect of an action on its own inner episode (current), on the later inner episodes of its own
trajectory (D), and on those of the other trajectories (X). All three are derivatives in copies of φ, as in
`m_fos_bias.py`.

**Claims.**

1. Without a critic, the ratio future/current, ‖D + X‖/‖current‖ for COALA-PG, is divided by B for M-FOS, in every game.
2. X tends to a constant as B grows if the learner's EXPECTED update depends to first order on the ego agent's actions.
   Otherwise it falls as 1/B. An example is the prisoner's dilemma with T = 1 and R + P = T + S (T: temptation), the
   paper's own payoffs: the co-player gains the same by defecting whatever the ego agent does. COALA-PG's ratio falls
   as 1/B there, too, for an ego agent without memory across inner episodes.
3. Batch-unaware keeps D alone. For an ego agent without memory across inner episodes, ‖D‖/‖current‖ falls as 1/B, or
   as 1/B² in the games of claim 2. With such a memory it tends to a constant, and only the part of D that passes
   through the learner vanishes. (App. H.1 and Fig. 12 need this condition for their statement on batch-unaware.)

**Why.** The learner averages over the batch, so one action changes its expected update by c/B, and X sums over B − 1
other trajectories: X → c·∂J/∂ψ. If c = 0, the rest comes from the second moment of the update, on which one action has
an influence of order 1/B². D has one trajectory only. A memory carries the action to the later inner episodes without
the learner, and this path does not depend on B. For M-FOS the current part has the weight B/B instead of 1/B.

**By how much.** `RATIOS` has future/current for one random policy (seed 0) by B. M-FOS's ratio is COALA-PG's divided
by B. Without memory it is also batch-unaware's, because D = X/(B − 1): an action reaches its own later inner episodes
only through the learner, as it reaches those of the other trajectories.

**How it is checked.** For T = 1, M = 2 and SGD, the learner depends only on how often each joint action occurs. Sums
over C(B + 2, 3) counts then give exact derivatives up to B = 128. For small B they are compared with the full
enumeration.

**Drawn at random.** Claim 1 draws as Theorem 3.1 does; the others use fixed games with random policies.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, note

import coala_eqx as ce
from coala_eqx.estimators import MFOS, CoalaPG
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from coala_eqx.policies import FullHistory, MemoryOne
from proofs_checks.common.cases import EXCHANGEABLE, LEARNERS, Case, cases, examples
from proofs_checks.common.expected import WithoutCritic, check_expectation
from proofs_checks.common.influence import Influence, Steps, measure_influence, weigh
from proofs_checks.common.ledger import as_printed, holds
from proofs_checks.common.rounding import EPS, rounding

RATIO = "Fig. 12: E[ĝ] = current part · weight + future part, weight 1 (COALA-PG) or B (M-FOS) (relative)"
COUNTS = "Fig. 12: sums over counts against the full enumeration, B ≤ 3"
TENDS = "Fig. 12: X = ∂J/∂ψ · ∂E[update]/∂φ + x/B + O(1/B²), in stag hunt: B² · remainder, B = 128"
EQUAL = "Fig. 12: D = X/(B − 1) without memory (relative)"
IN_TABLE = "Fig. 12: ratios future/current of the table, stag hunt and prisoner's dilemma, B = 1 to 128 (last digit)"
FALLS = "Fig. 12: X = x/B + O(1/B²) for R + P = T + S, T = 1: B² · remainder, B = 128"
FALLS_TO = "Fig. 12: the limit of X is 0 there"
MEMORY = "Fig. 12: D = (its part through memory) + d/B + O(1/B²): B² · remainder, B = 128"
NO_MEMORY = "Fig. 12: D = d/B + O(1/B²) without memory: B² · remainder, B = 128"
NO_FIRST_ORDER = "Fig. 12: D = O(1/B²) without memory for R + P = T + S, T = 1: B² · D, B = 128"

_ORDER_ONE = 2.0
"""Bound on remainders, in units of a probability's derivative. Rewards, rate and logits are of order one, so remainders
are, too.
"""

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
RATIOS = {
    ("stag hunt", "COALA-PG", "no memory"): "0.679 0.716 0.738 0.750 0.756 0.759 0.761 0.762",
    ("stag hunt", "M-FOS", "no memory"): "0.679 0.358 0.184 0.094 0.047 0.024 0.012 0.006",
    ("stag hunt", "batch-unaware", "no memory"): "0.679 0.358 0.184 0.094 0.047 0.024 0.012 0.006",
    ("stag hunt", "batch-unaware", "memory"): "0.464 0.210 0.073 0.001 0.036 0.055 0.064 0.069",
    ("dilemma", "COALA-PG", "no memory"): "0.082 0.044 0.026 0.015 0.008 0.004 0.002 0.001",
}
"""‖future‖/‖current‖ by growing B, keyed by game, estimator and memory."""

_RATE = 1.0
_DILEMMA = ce.games.iterated_prisoners_dilemma()
_STAG_HUNT = ce.games.stag_hunt()


class Parts(NamedTuple):
    """Derivatives in the first episode's logits of one trajectory, `[2]`. They are multiplied by B, and include the
    factor 1/B of ∇J̄.
    """

    current: np.ndarray
    own: np.ndarray
    """D."""
    cross: np.ndarray
    """X."""


def check_weights(estimator: AbstractScoreFunctionEstimator, case: Case) -> None:
    """Check that E[ĝ] = w·current + D + X with w = 1 for COALA-PG and w = B for M-FOS."""
    weight = case.batch if isinstance(estimator, MFOS) else 1

    def formula(truth: Any, influence: Influence, steps: Steps) -> Any:
        current = weight * steps.current / case.batch
        future = steps.future / case.batch
        return weigh(influence, case.batch, current + future, future)

    check_expectation(RATIO, WithoutCritic(estimator), case, formula)


def check_equal_shares(
    parts: Callable[..., Parts], game: ce.games.MatrixGame, first: jax.Array, other: jax.Array, batch: int
) -> None:
    """Check that D = X/(B − 1) for an ego agent without memory. `parts` is a function as below."""
    part = parts(game, first, jnp.stack([first, first]), other, batch)
    # The sums have C(B + 2, 3) terms whose weights contain log-factorials up to B. Errors are relative to the largest.
    bound = (math.comb(batch + 2, 3) + 25 + 4 * math.lgamma(batch + 1)) * EPS * 4
    holds(EQUAL, np.abs(part.own - part.cross / (batch - 1)).max() / _unit(first), bound)


def check_cross_part(parts: Callable[..., Parts], seed: int) -> None:
    """Check that X tends to its limit, which is 0 in the dilemma."""
    first, second, other = random_logits(seed)
    for game, claim in ((_STAG_HUNT, TENDS), (_DILEMMA, FALLS)):
        half, full = (parts(game, first, second, other, batch) for batch in (64, 128))
        limit = _limits(game.payoffs, first, second, other)[1]
        holds(claim, _remainder(half.cross, full.cross, limit, first), _ORDER_ONE)
        if claim == FALLS:
            holds(FALLS_TO, np.linalg.norm(limit), 20 * EPS)


def check_own_part(parts: Callable[..., Parts], seed: int) -> None:
    """Check that D tends to its limit, which is 0 without memory."""
    first, second, other = random_logits(seed)
    half, full = (parts(_STAG_HUNT, first, second, other, batch) for batch in (64, 128))
    limit = _limits(_STAG_HUNT.payoffs, first, second, other)[0]
    holds(MEMORY, _remainder(half.own, full.own, limit, first), _ORDER_ONE)
    forgetful = jnp.stack([first, first])
    half, full = (parts(_STAG_HUNT, first, forgetful, other, batch) for batch in (64, 128))
    holds(NO_MEMORY, _remainder(half.own, full.own, np.zeros(2), first), _ORDER_ONE)
    only = parts(_DILEMMA, first, forgetful, other, 128)
    holds(NO_FIRST_ORDER, 128**2 * np.linalg.norm(only.own) / _unit(first), _ORDER_ONE)


def parts(game: ce.games.MatrixGame, first: jax.Array, second: jax.Array, other: jax.Array, batch: int) -> Parts:
    """The three parts for T = 1, M = 2 against SGD, from sums over how often each joint action occurs.

    **Arguments:**

    - `first` `[2]`: the ego agent's logits in the first inner episode.
    - `second` `[2, 2]`: its logits in the second, by its own action in the first.
    - `other` `[2]`: the co-player's logits.
    """
    counts = np.array([(a, b, c, batch - 1 - a - b - c) for a, b, c in _triples(batch - 1)], dtype=float)
    log_factorials = np.array([math.lgamma(n + 1) for n in range(batch + 1)])
    orders = log_factorials[batch - 1] - log_factorials[counts.astype(int)].sum(axis=1)
    return Parts(*(np.asarray(part) for part in _parts(game.payoffs, first, second, other, counts, orders)))


def _triples(total: int) -> np.ndarray:
    grid = np.indices((total + 1,) * 3).reshape(3, -1).T
    return grid[grid.sum(axis=1) <= total]


@jax.jit
def _parts(
    payoffs: jax.Array, first: jax.Array, second: jax.Array, other: jax.Array, counts: jax.Array, orders: jax.Array
) -> tuple[jax.Array, ...]:
    joint = jnp.array([(0, 0), (0, 1), (1, 0), (1, 1)])
    everyone = jnp.log(jnp.outer(jax.nn.softmax(first), jax.nn.softmax(other))).ravel()
    weights = jnp.exp(orders + counts @ everyone)
    batch = counts.sum(axis=1) + 1

    def second_return(counts: jax.Array, batch: jax.Array) -> jax.Array:
        """The expected second reward, `[2]`, by own first action, after the co-player's update."""
        scores = jnp.eye(2)[joint[:, 1]] - jax.nn.softmax(other)
        learned = other + _RATE * (counts * payoffs[1].ravel()) @ scores / batch
        return jax.nn.softmax(second) @ payoffs[0] @ jax.nn.softmax(learned)

    with_one = jax.vmap(lambda c, n: jax.vmap(lambda k: second_return(c + jnp.eye(4)[k], n))(jnp.arange(4)))(
        counts, batch
    )
    chosen = with_one[:, jnp.arange(4), joint[:, 0]]
    shares = counts / jnp.maximum(batch[:, None] - 1, 1)
    of_others = jnp.einsum("nj,nkj->nk", shares, with_one[..., joint[:, 0]])

    def mine(copy: jax.Array) -> jax.Array:
        return jnp.outer(jax.nn.softmax(copy), jax.nn.softmax(other)).ravel()

    current = jax.grad(lambda copy: mine(copy) @ payoffs[0].ravel())(first)
    own = jax.grad(lambda copy: weights @ chosen @ mine(copy))(first)
    cross = jax.grad(lambda copy: weights @ of_others @ mine(copy))(first)
    return current, own, (batch[0] - 1) * cross


def random_logits(seed: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    generator = np.random.default_rng(seed)
    first, second, other = generator.uniform(-1, 1, 2), generator.uniform(-1, 1, (2, 2)), generator.uniform(-1, 1, 2)
    return jnp.asarray(first.round(1)), jnp.asarray(second.round(1)), jnp.asarray(other.round(1))


@given(case=cases(cover=("three players", "remembering networks"), limit=100_000, learner=EXCHANGEABLE))
@examples(ci=3, deep=100)
def test_m_fos_divides_the_ratio_by_the_batch(case):
    note(case.describe())
    for estimator in (CoalaPG(), MFOS()):
        check_weights(estimator, case)


def test_counts_give_what_the_enumeration_gives():
    first, second, other = random_logits(0)
    game = _STAG_HUNT
    table = FullHistory.random(game, 2, jax.random.key(0))
    rows = 1 + table.branch_of.array[[0, 1], 0]
    policy = eqx.tree_at(lambda p: p.logits, table, table.logits.at[0].set(first).at[rows].set(second))
    co_player = MemoryOne(jnp.zeros((5, 2)).at[0].set(other))
    for batch in (1, 2, 3):
        problem = ce.ShapingProblem(
            game=game, co_players=(co_player,), learner=LEARNERS["sgd"], batch=batch, episodes=2, steps=1
        )
        influence = measure_influence(problem, policy)
        counted = parts(game, first, second, other, batch)
        expected = Parts(
            current=influence.own.logits[0, 0, 0],
            own=influence.own.logits[0, 1, 0],
            cross=(batch - 1) * influence.other.logits[0, 1, 0],
        )
        for one, two in zip(counted, expected, strict=True):
            holds(COUNTS, np.abs(one - two).max(), rounding(problem, 16**batch, 4.0))


@given(seed=st.integers(0, 1000))
@examples(ci=4, deep=100)
def test_the_cross_part_tends_to_a_constant_or_falls(seed):
    check_cross_part(parts, seed)


@given(seed=st.integers(0, 1000), batch=st.integers(2, 16))
@examples(ci=4, deep=200)
def test_without_memory_the_own_part_is_a_share_of_the_cross_part(seed, batch):
    first, _, other = random_logits(seed)
    for game in (_STAG_HUNT, _DILEMMA):
        check_equal_shares(parts, game, first, other, batch)


@given(seed=st.integers(0, 1000))
@examples(ci=4, deep=100)
def test_the_own_part_falls_unless_there_is_memory(seed):
    check_own_part(parts, seed)


@pytest.mark.parametrize("row", RATIOS, ids=" ".join)
def test_the_table(row):
    game, estimator, memory = row
    first, second, other = random_logits(0)
    second = second if memory == "memory" else jnp.stack([first, first])
    ratios = []
    for batch in BATCHES:
        part = parts({"stag hunt": _STAG_HUNT, "dilemma": _DILEMMA}[game], first, second, other, batch)
        future = part.own if estimator == "batch-unaware" else part.own + part.cross
        weight = batch if estimator == "M-FOS" else 1
        ratios.append(float(np.linalg.norm(future) / np.linalg.norm(weight * part.current)))
    as_printed(IN_TABLE, ratios, RATIOS[row].split())


def _unit(first: jax.Array) -> float:
    """∂p/∂logit, to which every part is proportional."""
    return float(jnp.prod(jax.nn.softmax(first)))


def _remainder(half: np.ndarray, full: np.ndarray, limit: np.ndarray, first: jax.Array) -> float:
    """B²·‖q(B) − q∞ − q_1/B‖ at B = 128, with q_1 from B = 64."""
    slope = 64 * (half - limit)
    return float(128**2 * np.linalg.norm(full - limit - slope / 128) / _unit(first))


@jax.jit
def _limits(payoffs: jax.Array, first: jax.Array, second: jax.Array, other: jax.Array) -> tuple[jax.Array, jax.Array]:
    """D and X for B → ∞, where the update is the expected one and no single trajectory changes it by more than 1/B."""
    ego, learner = jax.nn.softmax(first), jax.nn.softmax(other)

    def learned(ego: jax.Array) -> jax.Array:
        gains = ego @ payoffs[1]
        return other + _RATE * learner * (gains - learner @ gains)

    def second_return(ego: jax.Array, learned: jax.Array) -> jax.Array:
        return ego @ jax.nn.softmax(second) @ payoffs[0] @ jax.nn.softmax(learned)

    own = jax.grad(lambda copy: second_return(jax.nn.softmax(copy), learned(ego)))(first)
    cross = jax.grad(lambda copy: second_return(ego, learned(jax.nn.softmax(copy))))(first)
    return own, cross
