"""Equations 6 and 25: the bias of the batch-unaware estimator is minus the cross-trajectory terms.

**Claim.** With C_l^b = (1/B) Σ_{k≥l} r_k^b and φ_{m,b} a copy of φ for each inner episode and trajectory,

    E[ĝ_unaware] − ∇J̄ = − (1/B) Σ_{m'<m} Σ_{b≠b'} ∂E[R_m^{b'}]/∂φ_{m',b}.

It is zero for B = 1, and for any B if no co-player learns.

**Why.** ∇J̄ is the sum of all derivatives of (1/B) Σ R_m^b in the copies. The estimator estimates the derivatives of
R_m^b in the copies of its own trajectory. One trajectory acts on another only through a co-player's update, so it acts
on later inner episodes only, and not at all if nothing is learned.

**How it is checked.** The right-hand side contains no score: the enumerated return is differentiated in the copies.

**Drawn at random.** As for Theorem 3.1, with learners that do not depend on the order of the trajectories.
"""

from typing import Any

from hypothesis import given, note

from coala_eqx.estimators import AbstractEstimator, BatchUnaware
from proofs_checks.common.cases import EXCHANGEABLE, Case, cases, examples
from proofs_checks.common.expected import check_expectation
from proofs_checks.common.influence import Influence, Steps, weigh
from proofs_checks.common.ledger import differs
from proofs_checks.common.trees import subtract
from proofs_checks.common.unbiased import check_unbiased

IDENTITY = "Eqs 6, 25: bias of batch-unaware = − cross-trajectory terms (relative)"
BIASED = "Eqs 6, 25: relative bias of batch-unaware, B > 1, against a learner"
ALONE = "Eqs 6, 25: batch-unaware is unbiased for B = 1 (relative)"
STATIC = "Eqs 6, 25: batch-unaware is unbiased against co-players that do not learn (relative)"


def check_identity(estimator: AbstractEstimator, case: Case) -> float:
    """Check that the bias is minus the cross-trajectory terms. **Returns** the bias relative to ∇J̄."""

    def formula(truth: Any, influence: Influence, steps: Steps) -> Any:
        return subtract(truth, weigh(influence, case.batch, 0 * steps.future, steps.future / case.batch))

    return check_expectation(IDENTITY, estimator, case, formula)


@given(case=cases(cover=("steps", "networks"), limit=300_000, learner=EXCHANGEABLE))
@examples(ci=6, deep=250)
def test_the_bias_is_what_crosses_trajectories(case):
    note(case.describe())
    check_identity(BatchUnaware(), case)


def test_it_is_biased_against_a_learner():
    differs(BIASED, check_identity(BatchUnaware(), Case(ego="FullHistory", steps=2, seed=1)), 1e-3)


@given(case=cases(cover=("alone", Case(ego="FullHistory", batch=1, learner="adam")), batch=(1,)))
@examples(ci=6, deep=100)
def test_it_is_unbiased_for_a_batch_of_one(case):
    note(case.describe())
    check_unbiased(ALONE, BatchUnaware(), *case.build(), objective="shaping_return")


@given(case=cases(cover=("static",), learner=("static",)))
@examples(ci=4, deep=100)
def test_it_is_unbiased_against_static_co_players(case):
    note(case.describe())
    check_unbiased(STATIC, BatchUnaware(), *case.build(), objective="shaping_return")
