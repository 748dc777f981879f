"""Equation 24: batch-level REINFORCE is unbiased; its variance is usually, but not always, above COALA-PG's.

**Claim.** With C_l = (1/B) Σ_{b'} Σ_{k≥l} r_k^{b'} for every trajectory, E[Σ_b Σ_l ∇ log π(a_l^b|h_l^b) · C_l] = ∇J̄.

**Why.** It is the score-function estimator for the batch as one big trajectory; only rewards before l are left out.

**Claim.** The paper expects a larger variance than COALA-PG's, because more noise is carried along. Take one step
(M = T = 1), with score s, reward r, μ = E[r] and g = E[s·r]. The B trajectories are independent there if the
co-players are always the same. Then

    Var[ĝ_24] − Var[ĝ_COALA] = (B−1)/B · ( E‖s‖²·(E[r²] + (B−2)·μ²) + ‖g‖² + 2·μ·E[‖s‖²·r] ).

**Why.** ĝ_24 = ĝ_COALA + Z with Z = (1/B) Σ_{b≠b'} s_b·r_{b'}, which has mean zero. So the difference is E‖Z‖² +
2·E[ĝ_COALA·Z]. A product s_b·s_c·r_{b'}·r_{c'} has a mean other than zero only if each score meets itself or its own
reward: b = c (with b' = c' or not), or b' = c and c' = b. In ĝ_COALA·Z only s_b·r_b·s_b·r_{b'} has one.

**Hence** COALA-PG has the larger variance only where 2·μ·E[‖s‖²·r] is negative enough: rare actions, whose scores are
large, earn rewards of the opposite sign to the mean. This never happens where all rewards have the same sign, nor if B
is large enough, because the term (B−2)·μ² grows with it. (For M, T > 1 no such formula is given here.) The example
(0.9, 0.1), r = (1, −1.5), B = 2 has 0.0619 against 0.0703 (per logit).

**Drawn at random.** As for Theorem 3.1; for the variances, one-step games.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, note

import coala_eqx as ce
from coala_eqx.estimators import AbstractEstimator, CoalaPG, Reinforce
from coala_eqx.policies import MemoryOne, replay_actions
from proofs_checks.common.cases import LEARNERS, Case, cases, examples
from proofs_checks.common.ledger import differs, holds
from proofs_checks.common.rounding import EPS, rounding
from proofs_checks.common.unbiased import check_unbiased

UNBIASED = "Eq. 24: E[batch-level REINFORCE] = ∇J̄ (relative)"
VARIANCE = "Eq. 24: excess variance over COALA-PG in one step, closed form (relative)"
EXAMPLE = "Eq. 24: less variance than COALA-PG in the example (difference per logit)"
SAME_SIGN = "Eq. 24: excess variance where all rewards are positive, one step"

ONE_STEP = {"episodes": (1,), "steps": (1,), "ego": ("MemoryOne",), "population": (1,)}
BANDITS = (
    Case(episodes=1, batch=1),
    Case(episodes=1, batch=2),
    Case(actions=(3, 2), episodes=1, batch=4),
    Case(actions=(2, 3), sights=("none", "all"), states=2, episodes=1, batch=3),
    Case(sights=("all", "all"), states=2, episodes=1, batch=2),
)


def check_unbiasedness(estimator: AbstractEstimator, case: Case) -> None:
    """Check that E[ĝ] = ∇J̄."""
    check_unbiased(UNBIASED, estimator, *case.build(), objective="shaping_return")


def check_excess_variance(estimator: AbstractEstimator, case: Case) -> float:
    """Check that Var[ĝ] − Var[ĝ_COALA] is the closed form. **Returns** the difference."""
    problem, policy = case.build()
    ours, theirs = (ce.exact.moments(e, problem, policy).variance for e in (CoalaPG(), estimator))
    expected = _excess(problem, policy)
    outcomes = ce.exact.count_outcomes(problem)
    holds(VARIANCE, abs(theirs - ours - expected) / theirs, rounding(problem, outcomes, 4.0))
    return float(expected)


def _excess(problem: ce.ShapingProblem, policy: ce.policies.AbstractPolicy) -> float:
    """The closed form of the difference, from the moments of one score and one reward."""
    one = ce.ShapingProblem(
        game=problem.game, co_players=problem.co_players, learner=problem.learner, batch=1, episodes=1, steps=1
    )

    def products(problem, policy, episode):
        step, action = episode.observations[0, 0], episode.actions[0, 0]
        reward = episode.rewards[0, 0, 0]
        probabilities = jnp.exp(
            jnp.stack(
                [replay_actions(policy, step[None], jnp.full((1, 1), a))[0][0, 0] for a in range(policy.num_actions)]
            )
        )
        score = jnp.zeros((policy.num_observations, policy.num_actions))
        score = score.at[step[0]].set(jnp.eye(policy.num_actions)[action[0]] - probabilities)
        square = jnp.sum(score**2)
        return reward, reward**2, square, square * reward, score * reward

    mean, second, fisher, skew, gradient = ce.exact.expectation(products, one, policy)
    batch = problem.batch
    bracket = fisher * (second + (batch - 2) * mean**2) + jnp.sum(gradient**2) + 2 * mean * skew
    return (batch - 1) / batch * bracket


@given(case=cases(cover=("plain", "normalised", "networks", "one player"), limit=3_000_000))
@examples(ci=12, deep=300)
def test_batch_level_reinforce_is_unbiased(case):
    note(case.describe())
    check_unbiasedness(Reinforce(), case)


@given(case=cases(cover=BANDITS, **ONE_STEP))
@examples(ci=15, deep=200)
def test_the_excess_variance_of_one_step(case):
    note(case.describe())
    check_excess_variance(Reinforce(), case)


@given(case=cases(cover=BANDITS[1:3], batch=(2, 3, 4, 5, 6), **ONE_STEP))
@examples(ci=10, deep=200)
def test_rewards_of_one_sign_leave_coala_pg_with_less_variance(case):
    problem, policy = case.build()
    table = problem.game.table()
    positive = ce.games.TabularGame(
        table.initial, table.transition, np.abs(table.rewards), table.observations, table.num_observations
    )
    problem = ce.ShapingProblem(
        game=positive, co_players=problem.co_players, learner=problem.learner, batch=case.batch, episodes=1, steps=1
    )
    ours, theirs = (ce.exact.moments(e, problem, policy).variance for e in (CoalaPG(), Reinforce()))
    note(f"{case.describe()}, with |rewards|")
    differs(SAME_SIGN, theirs - ours, -rounding(problem, ce.exact.count_outcomes(problem), theirs))


def test_the_counterexample():
    """Check the variances of one player with two arms against numbers by hand.

    COALA-PG: with one logit, s = a − p and ĝ = (1/2)(s_1·r_1 + s_2·r_2), so Var = Var[s·r]/2. E[(s·r)²] = 0.9·(0.1·1)²
    + 0.1·(0.9·1.5)² = 0.19125 and E[s·r] = 0.09 + 0.135 = 0.225, hence 0.140625/2 = 0.0703125.
    """
    game = ce.games.MatrixGame(np.array([[1.0, -1.5]]))
    problem = ce.ShapingProblem(game=game, co_players=(), learner=LEARNERS["static"], batch=2, episodes=1, steps=1)
    policy = MemoryOne(np.log([[0.9, 0.1]] * 3))
    ours, theirs = (float(ce.exact.moments(e, problem, policy).variance) / 2 for e in (CoalaPG(), Reinforce()))
    assert ours == pytest.approx(0.0703125, rel=100 * EPS)
    assert round(theirs, 4) == 0.0619
    differs(EXAMPLE, ours - theirs, 0.0082)
