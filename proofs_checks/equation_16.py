"""Equation 16: the discounted return of two memory-one policies in closed form, J^i = r_iᵀ (I − γM)⁻¹ s_0.

**Claim.** Let two players with memory-one policies iterate a matrix game for ever. With s_0 the distribution of the
first joint action, M_{s's} the probability that joint action s' follows s, and r_i player i's payoffs,

    J^i = Σ_{t≥0} γ^t E[r^i_t] = r_iᵀ (I − γM)⁻¹ s_0,    0 ≤ γ < 1.

**Why.** The joint action is a Markov chain, so s_t = Mᵗ s_0 is its distribution after t steps. Σ_t (γM)ᵗ is a
geometric series that converges, because the columns of M add up to 1. A sum over T steps lacks γ^T times the return
from there on, which is at most γ^T·max|r|/(1 − γ). Where all probabilities are 0 or 1, play runs into a cycle of some
length L, and its payoffs are worth 1/(1 − γᴸ) times those of one round. J is a rational function of the probabilities,
with no pole in or on the cube.

**Claim.** M needs the SECOND player's probabilities in that player's own order, in which the joint action CD is called
DC. The paper's M uses one order for both. It lets tit-for-tat cooperate for ever with a player that always defects,
which gives the defector a normalised return of 2 instead of 2·(1 − γ).

**Precision.** The bound is derived in `common/iterated.py`. A running sum over `steps` terms adds steps·eps.

**Derivatives** are compared with those of the sums over steps, by Cauchy's integral over a circle in the complex
plane: f⁽ᵏ⁾(0) = k!/ρᵏ · mean of f(ρe^{iθ})·e^{−ikθ}. With n points it is off by at most k!/Rᵏ·(ρ/R)ⁿ·max|f| for f
without poles within R; it multiplies rounding by k!/ρᵏ, and there is no step size to be balanced. Along a direction
in which every row of probabilities changes by Σ_a|u_a| ≤ 1, or every logit by |u_a| ≤ 1, Σ_a|p_a(z)| ≤ 1 + |z| for
|z| ≤ 1 (of logits: ≤ 1/cos|z|), so that the series converges like that of discount γ(1 + R)². R is chosen to make it
(1 + γ)/2 at most.

**Drawn at random.** Payoffs, 1 to 3 actions of each player, discounts, and probabilities inside the cube and in its
corners. For two players with two actions, all 2⁵ × 2⁵ pairs of corners are checked.
"""

import functools
import itertools
import math
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import coala_eqx as ce
from coala_eqx.policies import MemoryOne
from coala_eqx.returns import discounted_returns, memory_one_returns
from proofs_checks.common.cases import examples, is_deep
from proofs_checks.common.iterated import (
    TINY,
    Match,
    Returns,
    enough_steps,
    enumerate_returns,
    matches,
    play,
    rounding,
    softmax,
)
from proofs_checks.common.ledger import differs, holds
from proofs_checks.common.rounding import EPS

SUM = "Eq. 16: closed form = sum over all steps (normalised)"
TAIL = "Eq. 16: what T enumerated steps leave out, over its bound γ^T·max|r|/(1 − γ)"
REST = "Eq. 16: closed form = T enumerated steps + γ^T·(return from there) (normalised)"
CORNERS = "Eq. 16: closed form = transient + cycle, all pairs of deterministic policies (normalised)"
DERIVATIVES = {
    1: "Eq. 16: first derivatives (times (1 − γ)/max|r|)",
    2: "Eq. 16: second derivatives (times (1 − γ)²/2·max|r|)",
}
UNSWAPPED_EXAMPLE = "Eq. 16: printed M, defector's gain from tit-for-tat, off by 2γ (error)"
UNSWAPPED_MEAN = "Eq. 16: printed M, mean error over random policies"

POINTS = 56
"""Number of points on the circle, whose radius is R/2: 2^−56 < eps."""


def check_sum(returns: Returns, match: Match) -> None:
    """Check that the closed form is the sum over all steps, without terms below eps."""
    tables, payoffs, discount = match.tables(), match.payoffs(), match.discount
    steps = enough_steps(discount)
    summed, _ = play(tables, payoffs, discount, steps)
    error = np.abs(returns(*tables, payoffs, discount) - (1 - discount) * summed).max()
    holds(SUM, error, rounding(match.states, discount, steps) + EPS)


def check_horizon(returns: Returns, match: Match, steps: int) -> None:
    """Check that the closed form is the enumerated return of `steps` steps plus the closed form from there on.

    The return after joint action s, without s itself, is that of policies whose row for the start is their row for s.
    """
    tables, payoffs, discount = match.tables(), match.payoffs(), match.discount
    policies = tuple(MemoryOne(np.log(np.maximum(table, TINY))) for table in tables)
    enumerated = np.asarray(enumerate_returns(policies, payoffs, steps, discount))
    whole = np.asarray(returns(*tables, payoffs, discount))
    missing = whole - (1 - discount) * enumerated
    slack = rounding(match.states, discount, steps)
    holds(TAIL, np.abs(missing).max() / (discount**steps + slack), 1.0)
    _, last = play(tables, payoffs, discount, steps)
    after = np.zeros(2)
    for probability, (own, other) in zip(last, np.ndindex(match.actions), strict=True):
        seen = 1 + own * match.actions[1] + other, 1 + other * match.actions[0] + own
        restarted = (np.concatenate([table[[row]], table[1:]]) for table, row in zip(tables, seen, strict=True))
        after += probability * np.asarray(returns(*restarted, payoffs, discount))
    holds(REST, np.abs(missing - discount**steps * after).max(), 2 * slack)


def check_corners(returns: Returns, payoffs: np.ndarray, discount: float) -> None:
    """Check the closed form in all 2⁵ × 2⁵ corners, where play is a transient and a cycle, against exact fractions."""
    corners = np.array(list(itertools.product([0, 1], repeat=5)))
    tables = jnp.eye(2)[corners]
    over_second = jax.vmap(lambda first, second: returns(first, second, payoffs, discount), (None, 0))
    closed = np.asarray(jax.jit(jax.vmap(over_second, (0, None)))(tables, tables))
    worst = 0.0
    for (i, first), (j, second) in itertools.product(enumerate(corners.tolist()), repeat=2):
        exact = _follow(first, second, payoffs, Fraction(discount))
        worst = max(worst, *(abs(float(Fraction(float(c)) - e)) for c, e in zip(closed[i, j], exact, strict=True)))
    holds(CORNERS, worst / np.abs(payoffs).max(), rounding(4, discount))


def _follow(first: list[int], second: list[int], payoffs: np.ndarray, discount: Fraction) -> list[Fraction]:
    """The normalised returns of two deterministic policies, each given by its action at each observation."""
    a, b, seen = first[0], second[0], []
    while (a, b) not in seen:
        seen.append((a, b))
        a, b = first[1 + 2 * a + b], second[1 + 2 * b + a]
    entry = seen.index((a, b))
    weights = [discount**t for t in range(len(seen))]
    cycle = 1 / (1 - discount ** (len(seen) - entry))
    weights = [weight * (cycle if t >= entry else 1) for t, weight in enumerate(weights)]
    rewards = [[Fraction(float(payoff[joint])) for joint in seen] for payoff in payoffs]
    return [(1 - discount) * sum(w * r for w, r in zip(weights, row, strict=True)) for row in rewards]


def check_derivatives(returns: Returns, match: Match, logits: bool = False) -> None:
    """Check first and second derivatives along a random direction, in probabilities or in logits.

    **Arguments:**

    - `returns`: a function as `memory_one_returns`; of logits if `logits`.
    """
    payoffs, discount, generator = match.payoffs(), match.discount, np.random.default_rng(match.seed + 2)
    points = tuple(np.log(table) for table in match.tables()) if logits else match.tables()
    directions = []
    for point in points:
        direction = generator.uniform(-1, 1, size=point.shape)
        directions.append(direction if logits else direction / np.abs(direction).sum(axis=1, keepdims=True))
    radius = min(1.0, math.sqrt((1 + discount) / (2 * max(discount, 0.1))) - 1) / 2
    circle = np.exp(2j * np.pi * np.arange(POINTS) / POINTS)
    first, second = _line(points, directions, radius * circle[:, None, None])
    tables = (softmax(first), softmax(second)) if logits else (first, second)
    slower = (1 + discount) / 2
    steps = enough_steps(slower)
    values, _ = play(tables, payoffs, discount, steps)
    for order, derivative in enumerate(_derivatives(returns, points, directions, payoffs, discount), start=1):
        scale = math.factorial(order) / radius**order
        expected = (1 - discount) * scale * (values * circle[:, None] ** -order).mean(axis=0).real
        unit = math.factorial(order) / (1 - discount) ** order
        bound = 2 * scale * rounding(match.states, slower, steps) / unit
        holds(DERIVATIVES[order], np.abs(derivative - expected).max() / unit, bound)


@functools.partial(jax.jit, static_argnums=(0, 4))
def _derivatives(returns: Returns, points: Any, directions: Any, payoffs: Any, discount: float) -> Any:
    """The first and the second derivative along a line; the first is taken in reverse mode, as a gradient is."""
    first = jax.jacrev(lambda z: returns(*_line(points, directions, z), payoffs, discount))
    return first(0.0), jax.jacfwd(first)(0.0)


def _line(points: Any, directions: Any, z: Any) -> tuple[Any, ...]:
    return tuple(point + z * direction for point, direction in zip(points, directions, strict=True))


def printed(first: Any, second: Any, payoffs: Any, discount: float) -> Any:
    """Eq. 16 with M as printed, for two actions: both players' probabilities in the first one's order."""
    return memory_one_returns(first, second[jnp.array([0, 1, 3, 2, 4])], payoffs, discount)


def of_logits(first: Any, second: Any, payoffs: Any, discount: float) -> Any:
    """The closed form as a function of logits."""
    return discounted_returns(MemoryOne(first), MemoryOne(second), payoffs, discount)


@given(match=matches(actions=st.sampled_from([(2, 2), (2, 3), (3, 1)]), discount=st.just(0.0) | st.floats(0.3, 0.99)))
@examples(ci=40, deep=1000)
def test_the_closed_form_is_the_sum_over_all_steps(match):
    check_sum(memory_one_returns, match)


@given(match=matches(), steps=st.integers(1, 5) if is_deep() else st.just(3))
@examples(ci=20, deep=200)
def test_the_closed_form_goes_on_where_enumeration_ends(match, steps):
    check_horizon(memory_one_returns, match, steps)


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.95, 0.999])
def test_the_closed_form_in_all_corners(discount):
    check_corners(memory_one_returns, Match(seed=1).payoffs(), discount)


@given(match=matches())
@examples(ci=20, deep=1000)
def test_derivatives_by_probabilities(match):
    check_derivatives(memory_one_returns, match)


@given(match=matches(corner=st.just(False)))
@examples(ci=20, deep=1000)
def test_derivatives_by_logits(match):
    check_derivatives(of_logits, match, logits=True)


def test_the_printed_transition_matrix_is_wrong():
    """Check that it is off by 1.9 in the example, and by some 0.1 for policies drawn uniformly from the cube."""
    payoffs, discount = np.asarray(ce.games.iterated_prisoners_dilemma().payoffs), 0.95
    defect, tit_for_tat = np.eye(2)[[1, 1, 1, 1, 1]], np.eye(2)[[0, 0, 1, 0, 1]]
    right, wrong = (returns(defect, tit_for_tat, payoffs, discount)[0] for returns in (memory_one_returns, printed))
    holds(UNSWAPPED_EXAMPLE, abs(wrong - right - 2 * discount), rounding(4, discount) * 2)
    cooperate = np.random.default_rng(0).uniform(size=(2, 1000, 5))
    tables = np.stack([cooperate, 1 - cooperate], axis=-1)
    off = [jax.vmap(lambda a, b, f=f: f(a, b, payoffs, discount))(*tables) for f in (memory_one_returns, printed)]
    differs(UNSWAPPED_MEAN, np.abs(off[0] - off[1]).mean(), 0.05)
