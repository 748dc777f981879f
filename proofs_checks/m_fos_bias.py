"""Equations 7 and 26: the bias of M-FOS is (B − 1) times the current-episode part of ∇J̄.

**Claim.** With C_l^b = Σ_{k=l..T·m_l} r_k^b + (1/B) Σ_{b'} Σ_{k>T·m_l} r_k^{b'} and φ_{m,b} a copy of φ for each
inner episode and trajectory,

    E[ĝ_M-FOS] − ∇J̄ = (B − 1) · current,    current = (1/B) Σ_{m,b} ∂E[R_m^b]/∂φ_{m,b},

where R_m^b is the return of trajectory b in inner episode m. The current inner episode weighs B times too much; the
paper's main text says that the future does.

**Why.** By the chain rule ∇J̄ is the sum of all derivatives of (1/B) Σ R_m^b in the copies. An action acts on its own
inner episode in its own trajectory only, which is `current`, and on later inner episodes of all trajectories. Theorem
3.1 gives both the weight 1/B; M-FOS gives the first the weight 1.

**How it is checked.** The right-hand side contains no score: the enumerated return is differentiated in the copies
(`common/influence.py`). Otherwise the identity would be the definition of the estimator, said twice.

**Drawn at random.** As for Theorem 3.1, with learners that do not care for the order of the trajectories.
"""

import itertools
from typing import Any

import pytest
from hypothesis import given, note

import coala_eqx as ce
from coala_eqx.estimators import MFOS, AbstractEstimator
from proofs_checks.common.cases import EXCHANGEABLE, Case, cases, examples
from proofs_checks.common.expected import check_expectation
from proofs_checks.common.influence import Influence, Steps, weigh
from proofs_checks.common.ledger import differs
from proofs_checks.common.trees import add, cosine, scale

IDENTITY = "Eqs 7, 26: bias of M-FOS = (B − 1) · current-episode part (relative)"
BIASED = "Eqs 7, 26: relative bias of M-FOS, B > 1"
ANGLE = "Eqs 7, 26: 1 − cosine of M-FOS's expectation and ∇J̄ grows with B, one game (increase)"
REVERSED = "Eqs 7, 26: − cosine of M-FOS's expectation and ∇J̄, another game, B = 3"


def check_identity(estimator: AbstractEstimator, case: Case) -> float:
    """The bias is (B − 1) · current; **returns** it, relative to ∇J̄."""

    def formula(truth: Any, influence: Influence, steps: Steps) -> Any:
        current = weigh(influence, case.batch, steps.current / case.batch, 0 * steps.current)
        return add(truth, scale(case.batch - 1, current))

    return check_expectation(IDENTITY, estimator, case, formula)


@given(case=cases(cover=("plain", "three players", "nonlinear"), limit=300_000, learner=EXCHANGEABLE))
@examples(ci=6, deep=250)
def test_the_bias_is_the_current_part_times_b_minus_one(case):
    note(case.describe())
    check_identity(MFOS(), case)


@pytest.mark.parametrize("batch", [2, 3])
def test_m_fos_is_biased(batch):
    """Not by a little: the current part is most of the gradient where co-players learn slowly."""
    differs(BIASED, check_identity(MFOS(), Case(batch=batch, seed=1)), 0.1)


def test_the_direction_turns_away_as_the_batch_grows():
    """One random game with a remembering ego (M = 2, T = 1).

    cos(E[ĝ], ∇J̄) for B = 1, 2, 3, 4, 5, 6: 1, 0.882, 0.782, 0.720, 0.681, 0.653.
    """
    angles = [_angle(Case(batch=batch, ego="FullHistory", seed=4)) for batch in (1, 2, 3, 4, 6)]
    for smaller, larger in itertools.pairwise(angles):
        differs(ANGLE, larger - smaller, 1e-3)


def test_the_direction_can_turn_round():
    """For other payoffs, cosines for B = 1, 2, 3, 4, 5, 6: 1, 0.579, −0.389, −0.616, −0.656, −0.658."""
    differs(REVERSED, _angle(Case(batch=3, ego="FullHistory", seed=2)) - 1, 0.3)


def _angle(case: Case) -> float:
    """1 − cosine."""
    problem, policy = case.build()
    return 1 - cosine(ce.exact.moments(MFOS(), problem, policy).mean, ce.exact.gradient(problem, policy))
