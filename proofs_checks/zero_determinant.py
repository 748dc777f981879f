"""Equation 18: zero-determinant policies enforce a linear relation between the returns, against every opponent.

**Claim.** In the iterated dilemma with payoffs T > R > P > S, let player X cooperate after CC, CD, DC, DD (own action
first) with probabilities

    p_1 = 1 − φ(χ − 1)(R − P)/(P − S),        p_2 = 1 − φ(1 + χ(T − P)/(P − S)),
    p_3 = φ(χ + (T − P)/(P − S)),             p_4 = 0,

χ ≥ 1, and at the start with any p_0. Whatever Y does, the normalised discounted returns s_X and s_Y, and the share
c = (1 − γ) Σ_t γ^t Pr[X cooperates in step t], satisfy

    γ·φ·[(s_X − P) − χ(s_Y − P)]/(P − S) = (1 − γ)·(c − p_0).

Hence (s_X − P) − χ(s_Y − P) vanishes as γ → 1. Its size is at most (1 − γ)/γ · (P − S)/φ · max(p_0, 1 − p_0).

**Why.** Put X's and Y's payoffs of the four joint actions into p: in each of them p = [X has cooperated] + φ·[(r_X −
P) − χ(r_Y − P)]/(P − S). Let c_t be the probability that X cooperates in step t, and z_t the mean of the second
bracket over the joint action of step t, divided by P − S. X's next action depends on this joint action only, however
Y chooses: c_{t+1} = c_t + φ·z_t. Multiplied by γ^{t+1} and summed, the left side is Σ_t γ^{t+1} c_{t+1} = c/(1 − γ) −
p_0. The right side is γ·(c + φ·z)/(1 − γ), with z the normalised return of z_t. This is the claim. (The idea is due to
Akin, and to Press and Dyson.) Cut off after finitely many steps, the sums give

    γ·φ·Σ_{t<T−1} γ^t z_t = Σ_{t<T} γ^t c_t − p_0 − γ·Σ_{t<T−1} γ^t c_t.

**Claim.** χ = 1 with φ = (P − S)/((P − S) + (T − P)) is tit-for-tat: then p_1 = 1, p_4 = 0, p_2 = 1 − φ(T − S)/(P −
S) = 0, p_3 = 1 − p_2 = 1.

**Claim.** All p lie in [0, 1] for 0 < φ ≤ (P − S)/((P − S) + χ(T − P)), and not beyond, if T + S ≥ 2P, as in the
paper's game. Otherwise φ ≤ (P − S)/(χ(P − S) + (T − P)) is the range, and the printed one lets p_3 exceed 1, by up to
(χ − 1)(2P − T − S)/((P − S) + χ(T − P)).

**Why.** All p are linear in φ. p_1 ≥ 0 and p_2 ≥ 0 bound φ by P − S over (χ − 1)(R − P) and over (P − S) + χ(T − P);
the second is the smaller bound, as R < T. p_3 ≤ 1 bounds it by P − S over χ(P − S) + (T − P), and the two
denominators differ by ((P − S) + χ(T − P)) − (χ(P − S) + (T − P)) = (χ − 1)(T + S − 2P).

**Drawn at random.** T, R, P, S; χ, φ, p_0, γ; opponents with memory one, random and deterministic, and opponents that
remember everything, for finitely many steps.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
from hypothesis import given

from coala_eqx.games import MatrixGame
from coala_eqx.policies import FullHistory, MemoryOne
from coala_eqx.returns import memory_one_returns
from proofs_checks.common.cases import examples
from proofs_checks.common.iterated import TINY, Match, enumerate_returns, rounding
from proofs_checks.common.ledger import holds
from proofs_checks.common.rounding import EPS

RELATION = "Eq. 18: γφ[(s_X − P) − χ(s_Y − P)]/(P − S) = (1 − γ)(Pr[own C] − p_0), memory-one opponents"
HISTORIES = "Eq. 18: the same over finitely many steps, opponents that remember everything"
NEARLY = "Eq. 18: |(s_X − P) − χ(s_Y − P)| over its bound (1 − γ)/γ·(P − S)/φ·max(p_0, 1 − p_0)"
TIT_FOR_TAT = "Eq. 18: χ = 1 and φ = (P − S)/((P − S) + (T − P)) is tit-for-tat (largest error)"
WITHIN = "Eq. 18: up to the largest φ all p lie in [0, 1] (by how much not)"
BEYOND = "Eq. 18: beyond the largest φ, (1 + h) times it, an entry leaves [0, 1] by h (error)"
PRINTED = "Eq. 18: where T + S < 2P, the printed range lets p_3 exceed 1 as derived (error)"

COOPERATES = np.array([[[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]])
"""Payoffs that count how often each player cooperates."""

STEPS = 4


@dataclasses.dataclass(frozen=True)
class Deal:
    """A prisoner's dilemma and a zero-determinant policy for it."""

    punishment: float = 0.0
    gaps: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """P − S, R − P and T − R."""

    chi: float = 3.0
    share: float = 1.0
    """φ, as a share of the largest."""

    start: float = 0.0
    """p_0."""

    discount: float = 0.95

    @property
    def outcomes(self) -> tuple[float, float, float, float]:
        """T, R, P, S."""
        lower, middle, upper = self.gaps
        return (
            self.punishment + middle + upper,
            self.punishment + middle,
            self.punishment,
            self.punishment - lower,
        )

    @property
    def phi(self) -> float:
        """φ of the policy."""
        return self.share * largest_phi(self.outcomes, self.chi)

    def payoffs(self) -> np.ndarray:
        """Payoffs of both players."""
        t, r, p, s = self.outcomes
        return np.array([[[r, s], [t, p]], [[r, t], [s, p]]])

    def table(self, enforcing: "Enforcing") -> np.ndarray:
        """The probabilities of both actions in all five situations."""
        cooperate = np.array([self.start, *enforcing(self.outcomes, self.chi, self.phi)])
        return np.stack([cooperate, 1 - cooperate], axis=1)

    def size(self) -> float:
        """Size of the numbers that the relation adds up: 1 + φ(1 + χ)·max|payoff|/(P − S)."""
        return 1 + self.phi * (1 + self.chi) * np.abs(self.payoffs()).max() / self.gaps[0]


Enforcing = Callable[[tuple[float, float, float, float], float, float], tuple[float, float, float, float]]
"""(T, R, P, S), χ, φ → p_1, p_2, p_3, p_4."""


def zero_determinant(
    outcomes: tuple[float, float, float, float], chi: float, phi: float
) -> tuple[float, float, float, float]:
    """Eq. 18, as printed."""
    t, r, p, s = outcomes
    return (
        1 - phi * (chi - 1) * (r - p) / (p - s),
        1 - phi * (1 + chi * (t - p) / (p - s)),
        phi * (chi + (t - p) / (p - s)),
        0.0,
    )


def largest_phi(outcomes: tuple[float, float, float, float], chi: float) -> float:
    """The end of the range of φ: p_2 = 0 or p_3 = 1, whichever comes first."""
    t, _, p, s = outcomes
    return (p - s) / max((p - s) + chi * (t - p), chi * (p - s) + (t - p))


def printed_phi(outcomes: tuple[float, float, float, float], chi: float) -> float:
    """The end of the range of φ as the paper prints it."""
    t, _, p, s = outcomes
    return (p - s) / ((p - s) + chi * (t - p))


def deals(**others: Any) -> st.SearchStrategy[Deal]:
    """A strategy that draws deals of every kind, with payoffs in tenths."""
    gap = st.integers(1, 30).map(lambda tenths: tenths / 10)
    drawn = {
        "punishment": st.integers(-20, 20).map(lambda tenths: tenths / 10),
        "gaps": st.tuples(gap, gap, gap),
        "chi": st.floats(1, 10),
        "share": st.floats(0.01, 1),
        "start": st.floats(0, 1),
        "discount": st.floats(0, 0.99),
    }
    return st.builds(Deal, **(drawn | others))


def check_relation(enforcing: Enforcing, deal: Deal, opponent: np.ndarray) -> None:
    """Check the relation for an opponent with memory one, to the rounding derived for Eq. 16."""
    table, slack = deal.table(enforcing), rounding(4, deal.discount) * deal.size()
    returns = memory_one_returns(table, opponent, deal.payoffs(), deal.discount)
    share = memory_one_returns(table, opponent, COOPERATES, deal.discount)[0]
    surplus = _surplus(deal, returns)
    left = deal.discount * deal.phi * surplus / deal.gaps[0]
    holds(RELATION, abs(left - (1 - deal.discount) * (share - deal.start)), slack)


def check_limit(enforcing: Enforcing, deal: Deal, opponent: np.ndarray) -> None:
    """Check that the surplus stays within the bound for a discount near 1."""
    returns = memory_one_returns(deal.table(enforcing), opponent, deal.payoffs(), deal.discount)
    unit = deal.gaps[0] / (deal.discount * deal.phi)
    bound = (1 - deal.discount) * max(deal.start, 1 - deal.start)
    slack = rounding(4, deal.discount) * deal.size()
    holds(NEARLY, abs(_surplus(deal, returns)) / unit / (bound + slack), 1.0)


def check_histories(enforcing: Enforcing, deal: Deal, seed: int) -> None:
    """Check the relation over a few steps, for an opponent that remembers everything.

    Each of the three sums has at most STEPS terms, over at most 4^STEPS histories of some 10 roundings a step.
    """
    opponent = FullHistory.random(MatrixGame(deal.payoffs()), STEPS, jax.random.key(seed), player=1, scale=2.0)
    policies = MemoryOne(np.log(np.maximum(deal.table(enforcing), TINY))), opponent
    shorter = enumerate_returns(policies, deal.payoffs(), STEPS - 1, deal.discount)
    share, shorter_share = (
        enumerate_returns(policies, COOPERATES, steps, deal.discount)[0] for steps in (STEPS, STEPS - 1)
    )
    weights = sum(deal.discount**step for step in range(STEPS - 1))
    surplus = _surplus(deal, shorter / weights) * weights
    left = deal.discount * deal.phi * surplus / deal.gaps[0]
    right = share - deal.start - deal.discount * shorter_share
    holds(HISTORIES, abs(left - right), STEPS * (4**STEPS + 10 * STEPS) * EPS * deal.size())


def check_range(limit: Callable[..., float], deal: Deal) -> None:
    """Check that `limit` is the largest φ: at it, and at a share of it, no entry leaves [0, 1], and beyond it one
    does.
    """
    for share in (deal.share, 1.0):
        entries = zero_determinant(deal.outcomes, deal.chi, share * limit(deal.outcomes, deal.chi))
        holds(WITHIN, _outside(entries), 10 * EPS * (1 + deal.chi))
    for excess in (1e-3, 1.0):
        entries = zero_determinant(deal.outcomes, deal.chi, (1 + excess) * limit(deal.outcomes, deal.chi))
        holds(BEYOND, abs(_outside(entries) - excess), 10 * EPS * (1 + deal.chi))


def _surplus(deal: Deal, returns: Any) -> Any:
    """(s_X − P) − χ(s_Y − P)."""
    return (returns[0] - deal.punishment) - deal.chi * (returns[1] - deal.punishment)


def _outside(entries: tuple[float, ...]) -> float:
    """Distance to [0, 1] of the entry that is farthest outside."""
    return max(0.0, *(-entry for entry in entries), *(entry - 1 for entry in entries))


opponents = st.builds(Match, corner=st.booleans(), seed=st.integers(0, 10_000)).map(lambda match: match.tables()[1])


@given(deal=deals(), opponent=opponents)
@examples(ci=100, deep=2000)
def test_the_relation_holds_against_every_opponent(deal, opponent):
    check_relation(zero_determinant, deal, opponent)


@given(deal=deals(discount=st.integers(1, 5).map(lambda k: 1 - 10.0**-k)), opponent=opponents)
@examples(ci=50, deep=1000)
def test_the_surplus_vanishes_as_the_discount_goes_to_one(deal, opponent):
    check_limit(zero_determinant, deal, opponent)


@given(deal=deals(discount=st.just(0.95)), seed=st.integers(0, 10_000))
@examples(ci=25, deep=1000)
def test_the_relation_needs_no_short_memory(deal, seed):
    check_histories(zero_determinant, deal, seed)


@given(deal=deals())
@examples(ci=100, deep=2000)
def test_tit_for_tat_is_a_member(deal):
    t, _, p, s = deal.outcomes
    member = zero_determinant(deal.outcomes, 1.0, (p - s) / ((p - s) + (t - p)))
    holds(TIT_FOR_TAT, np.abs(np.subtract(member, (1, 0, 1, 0))).max(), 10 * EPS * (t - s) / (p - s))


@given(deal=deals())
@examples(ci=100, deep=2000)
def test_the_range_of_phi(deal):
    check_range(largest_phi, deal)
    t, _, p, s = deal.outcomes
    if t + s >= 2 * p:
        check_range(printed_phi, deal)
    else:
        entries = zero_determinant(deal.outcomes, deal.chi, printed_phi(deal.outcomes, deal.chi))
        excess = (deal.chi - 1) * (2 * p - t - s) / ((p - s) + deal.chi * (t - p))
        holds(PRINTED, abs(entries[2] - 1 - excess), 10 * EPS * (1 + deal.chi) * (1 + excess))
