"""LOLA without higher derivatives: COALA-PG on the last inner episode's return.

**Claim.** With the rewards before the last inner episode set to 0 in COALA-PG's coefficients,

    E[ĝ] = ∇ E[(1/B) Σ_b R_M^b],

the return after M − 1 SAMPLED updates. No derivative is taken through an update, and neither the co-player's
parameters nor its learning rule are needed.

**Why.** Theorem 3.1 holds for any rewards that depend on the past alone, hence also for these.

**Drawn at random.** As for Theorem 3.1. That the right-hand side is a look-ahead is Theorem E.1: see
`theorem_d_2.py`; how it differs from Eq. 4, `lola_dice.py`.
"""

from hypothesis import given, note

from coala_eqx.estimators import AbstractEstimator, LolaCoala
from proofs_checks.common.cases import Case, cases, examples
from proofs_checks.common.unbiased import check_unbiased

CLAIM = "Theorem E.1: E[LolaCoala] = ∇E[return of the last inner episode] (relative)"


def check_last_episode(estimator: AbstractEstimator, case: Case) -> None:
    """Check that E[ĝ] is the gradient of the last inner episode's expected return."""
    check_unbiased(CLAIM, estimator, *case.build(), objective="last_episode_return")


@given(case=cases(cover=("steps", "networks"), limit=3_000_000))
@examples(ci=6, deep=200)
def test_lola_coala_is_unbiased(case):
    note(case.describe())
    check_last_episode(LolaCoala(), case)
