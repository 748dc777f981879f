"""Theorem 3.1: E[ĝ_COALA] = ∇J̄, against co-players that learn in any way.

**Claim.** Let J̄(φ) = E[(1/B) Σ_b Σ_l r_l^b] (Eq. 2) in the batched co-player shaping POMDP, with an ego policy that
factorises over the batch, π̄(ā|h̄) = Π_b π(a^b|h^b; φ). Then

    ∇J̄ = E[ Σ_b Σ_l ∇ log π(a_l^b | h_l^b) · ( (1/B) Σ_{k=l..T·m_l} r_k^b + (1/B) Σ_{b'} Σ_{k>T·m_l} r_k^{b'} ) ].

**Conditions.** There are none on the game or on the co-players. There may be several co-players, drawn from a
population, that learn by any function of the batch, with a state that lasts (such as Adam's moments). The update may
also be random, if its randomness is independent of everything else: the argument holds for each of its draws.

**Why.** The score-function identity for the whole batch gives each log π(a_l^b|h_l^b) the weight (1/B) Σ_{b'} Σ_k
r_k^{b'}. A reward drops out if it does not depend on a_l^b given the past at step l, because its product with the
score then has mean zero. This concerns all rewards before l, in all trajectories, and the rewards of the OTHER
trajectories until the end of the current inner episode: trajectories meet only in the co-players' update, which comes
after it. The formula remains.

**Drawn at random.** Matrix games and stochastic games with partial observations, of 2 or 3 players with 2 or 3
actions. Ego policies that see only the last observation, that remember everything (a table), and small networks.
Co-players that learn by SGD, momentum, Adam, A2C, normalised advantages, by arbitrary functions of the batch, of the
batch and a loaded die, or not at all, and are drawn from populations. B, M and T.
"""

import dataclasses

from hypothesis import given, note

import coala_eqx as ce
from coala_eqx.estimators import CoalaPG
from proofs_checks.common.cases import Case, Drawing, cases, examples
from proofs_checks.common.unbiased import check_unbiased

CLAIM = "Theorem 3.1: E[COALA-PG] = ∇J̄ (relative)"


def check_theorem(estimator: ce.estimators.AbstractEstimator, case: Case) -> None:
    """Check that E[ĝ] = ∇J̄."""
    check_unbiased(CLAIM, estimator, *case.build(), objective="shaping_return")


@given(case=cases(limit=3_000_000))
@examples(ci=33, deep=600)
def test_coala_pg_is_unbiased(case):
    note(case.describe())
    check_theorem(CoalaPG(), case)


@given(
    case=cases(
        cover=[
            Case(ego="FullHistory", learner="ordered"),
            Case(ego="GRU", learner="ordered", actions=(2, 1, 2), sights=("some", "all", "none"), states=2, batch=1),
            Case(learner="ordered", population=2, actions=(2, 3), batch=2),
            Case(learner="ordered", batch=1, episodes=3, steps=1),
        ],
        limit=20_000,
        learner=("ordered",),
    )
)
@examples(ci=8, deep=60)
def test_coala_pg_is_unbiased_against_learners_that_draw(case):
    """All draws of all co-players in all updates are enumerated, besides batches in all orders."""
    problem, policy = case.build()
    problem = dataclasses.replace(problem, learner=Drawing())
    draws = 3 ** ((problem.game.num_players - 1) * (problem.episodes - 1))
    assert ce.exact.count_outcomes(problem) == draws * case.count()
    check_unbiased(CLAIM, CoalaPG(), problem, policy, objective="shaping_return")
