"""Equation 4: the gradient of LOLA's look-ahead objective, in exact form.

**Claim.** With n = M − 1 naive steps, LolaExact is the total derivative in φ of

    J^i(φ, φ^{-i} + Σ_{q=1..n} Δ_q),    Δ_q = α ∂/∂φ^{-i} J^{-i}(φ, φ^{-i} + Σ_{q'<q} Δ_{q'}),

through all updates. (The paper prints J^i in Δ_q; a naive learner climbs its own J^{-i}.) It has no variance.

**Why.** LolaExact differentiates that composition automatically. The likely error is to differentiate something else:
a look-ahead that is computed outside the differentiated function, for instance, has no shaping term.

**How it is checked.** The estimate is compared with plain NumPy without the package: returns by listing all episodes,
∂J^{-i} by the policy-gradient theorem, and the total derivative by a complex step, exact to rounding. It is also
compared with central differences of the package's own objective, which must approach it with the square of the step.

**Drawn at random.** Two-player matrix games with 2 or 3 actions, memory-one policies, SGD with the rate 1, up to 3
look-aheads, T.
"""

import numpy as np
from hypothesis import given, note

import coala_eqx as ce
from coala_eqx.estimators import LolaExact
from coala_eqx.estimators.base import AbstractEstimator
from coala_eqx.policies import MemoryOne
from proofs_checks.common.cases import Case, cases, examples
from proofs_checks.common.ledger import differs, holds
from proofs_checks.common.plain import TWO_PLAYERS_BY_SGD, arrays_of, complex_step, inner_episodes
from proofs_checks.common.rounding import rounding

TOTAL = "Eq. 4: LolaExact = d/dφ of the look-ahead, NumPy and a complex step (relative)"
NO_NOISE = "Eq. 4: variance of LolaExact"
ORDER = "Eq. 4: error of central differences is quartered as the step is halved: |ratio − 1/4|"
SHAPING = "Eq. 4: part of LolaExact that passes through the updates (relative)"

RATE = 1.0
_COVER = (Case(batch=1), Case(batch=1, episodes=4), Case(actions=(3, 2), batch=1, steps=2, episodes=3))


def check_total_derivative(estimator: AbstractEstimator, case: Case) -> None:
    """Check that E[ĝ] is the derivative of Eq. 4, and that ĝ does not vary."""
    problem, policy = case.build()
    mean, variance = ce.exact.moments(estimator, problem, policy)
    payoffs, ego, other = arrays_of(problem, policy)
    expected = complex_step(lambda ego: lookahead_return(payoffs, ego, other, case), ego)
    size = np.linalg.norm(expected) + 1
    bound = rounding(problem, case.count(), 4.0)
    holds(TOTAL, np.linalg.norm(np.asarray(mean.logits) - expected) / size, bound)
    holds(NO_NOISE, variance, bound**2 * size**2 * case.count())


def lookahead_return(payoffs: np.ndarray, ego: np.ndarray, other: np.ndarray, case: Case) -> complex:
    """J^i after M − 1 expected updates."""
    for _ in range(case.episodes - 1):
        played = inner_episodes(payoffs, ego, other, case.steps)
        other = other + RATE * sum(p * gradient for p, _, gradient in played)
    return sum(p * earned for p, earned, _ in inner_episodes(payoffs, ego, other, case.steps))


@given(case=cases(cover=_COVER, limit=5000, episodes=(2, 3, 4), **TWO_PLAYERS_BY_SGD))
@examples(ci=9, deep=300)
def test_it_is_the_total_derivative(case):
    note(case.describe())
    check_total_derivative(LolaExact(), case)


def test_central_differences_are_of_second_order():
    """Check the order of f(φ + h·v) − f(φ − h·v) over 2h along a random direction v, with h = 0.1, 0.05."""
    problem, policy = Case(episodes=3).build()
    direction = np.random.default_rng(0).normal(size=policy.logits.shape)
    slope = float(np.sum(np.asarray(ce.exact.moments(LolaExact(), problem, policy).mean.logits) * direction))

    def value(step: float) -> float:
        moved = MemoryOne(np.asarray(policy.logits) + step * direction)
        return float(ce.exact.expected_return(problem, moved, "lookahead_return"))

    errors = [abs((value(h) - value(-h)) / (2 * h) - slope) for h in (0.1, 0.05)]
    holds(ORDER, abs(errors[1] / errors[0] - 1 / 4), 0.02)


def test_there_is_a_shaping_term():
    """Check that the derivative differs from the one with the updates held fixed."""
    problem, policy = Case(episodes=3, seed=2).build()
    total = np.asarray(ce.exact.moments(LolaExact(), problem, policy).mean.logits)
    payoffs, ego, other = arrays_of(problem, policy)
    for _ in range(2):
        other = other + RATE * sum(p * gradient for p, _, gradient in inner_episodes(payoffs, ego, other, 1))
    partial = complex_step(lambda ego: sum(p * r for p, r, _ in inner_episodes(payoffs, ego, other, 1)), ego)
    differs(SHAPING, np.linalg.norm(total - partial) / np.linalg.norm(total), 0.1)
