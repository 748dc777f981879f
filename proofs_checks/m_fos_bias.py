"""Equations 7 and 26: the bias of M-FOS is (B − 1) times the current-episode part of ∇J̄.

**Claim.** With C_l^b = Σ_{k=l..T·m_l} r_k^b + (1/B) Σ_{b'} Σ_{k>T·m_l} r_k^{b'} and φ_{m,b} a copy of φ for each
inner episode and trajectory,

    E[ĝ_M-FOS] − ∇J̄ = (B − 1) · current,    current = (1/B) Σ_{m,b} ∂E[R_m^b]/∂φ_{m,b},

where R_m^b is the return of trajectory b in inner episode m, and there is no critic. The current inner episode weighs B
times too much. (The paper's main text says that the future does.)

**Why.** By the chain rule ∇J̄ is the sum of all derivatives of (1/B) Σ R_m^b in the copies. An action acts on its own
inner episode in its own trajectory only, which is `current`, and on later inner episodes of all trajectories. Theorem
3.1 gives both the weight 1/B; M-FOS gives the first the weight 1.

**With a critic** subtracted as in Eqs 13–14, M-FOS has yet another expectation. The rest of its own inner episode is
then bootstrapped with the value V̂(h^b_{T·m_l+1}) of its own next one. The average over the batch has the weight 1/B
and takes back only one B-th of that value:

    E[ĝ_M-FOS] − ∇J̄ = (B − 1) · current + (1 − 1/B) · Σ_{m,b} ∂E[V̂(h^b_{T·m+1})]/∂φ_{m,b}.

The values cancel for COALA-PG, whose own inner episode has the weight 1/B, and for batch-unaware, which does not
average. The exact V̂ compensates in part: if the agent remembers its past, V̂ foresees the rest of its own trajectory.

**How it is checked.** The right-hand sides contain no score: the enumerated return is differentiated in the copies
(`common/influence.py`). With scores the identity would only repeat the definition of the estimator.

**Drawn at random.** As for Theorem 3.1, with learners that do not depend on the order of the trajectories.
"""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note

import coala_eqx as ce
from coala_eqx.estimators import MFOS, AbstractEstimator
from coala_eqx.estimators.advantages import next_values
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from proofs_checks.common.cases import EXCHANGEABLE, Case, cases, examples
from proofs_checks.common.expected import WithoutCritic, check_expectation
from proofs_checks.common.influence import Influence, Steps, measure_influence, weigh
from proofs_checks.common.ledger import as_printed, differs
from proofs_checks.common.trees import add, cosine, scale

IDENTITY = "Eqs 7, 26: bias of M-FOS = (B − 1) · current-episode part (relative)"
BIASED = "Eqs 7, 26: relative bias of M-FOS, B > 1"
CRITIC = "Eqs 7, 13, 26: bias of M-FOS with any critic = the same + (1 − 1/B) · ∂E[V̂ of its next episode] (relative)"
ANGLE = "Eqs 7, 26: cosine of M-FOS's expectation and ∇J̄ falls from one B to the next, two games (decrease)"
IN_TABLE = "Eqs 7, 26: cosines of the table (last digit)"

BATCHES = (1, 2, 3, 4, 5, 6)
COSINES = {4: "1 0.882 0.782 0.720 0.681 0.653", 2: "1 0.579 -0.389 -0.616 -0.656 -0.658"}
"""cos(E[ĝ], ∇J̄) by growing B, for two random games keyed by seed (M = 2, T = 1, an ego agent that remembers)."""


def check_identity(estimator: AbstractScoreFunctionEstimator, case: Case) -> float:
    """Check that the bias is (B − 1) · current. **Returns** it relative to ∇J̄."""

    def formula(truth: Any, influence: Influence, steps: Steps) -> Any:
        current = weigh(influence, case.batch, steps.current / case.batch, 0 * steps.current)
        return add(truth, scale(case.batch - 1, current))

    return check_expectation(IDENTITY, WithoutCritic(estimator), case, formula)


def check_identity_with_critic(estimator: AbstractEstimator, case: Case) -> float:
    """Check that the bias is as stated for a random critic. **Returns** it relative to ∇J̄."""
    problem, policy = case.build_with_random_critic()
    share = 1 - 1 / case.batch

    def formula(truth: Any, influence: Influence, steps: Steps) -> Any:
        ends = np.arange(case.episodes * case.steps)[None] % case.steps == case.steps - 1
        end_of_own = steps.current * ends
        rewards = weigh(influence, case.batch, share * steps.current, 0 * steps.current)
        values = weigh(measure_influence(problem, policy, _next_value), case.batch, share * end_of_own, 0 * end_of_own)
        return add(truth, rewards, values)

    return check_expectation(CRITIC, estimator, case, formula, policy=policy)


def _next_value(rewards: Any, values: Any) -> Any:
    del rewards
    return next_values(values)


@given(
    case=cases(
        cover=("plain", "three players", "nonlinear", "remembering networks"), limit=300_000, learner=EXCHANGEABLE
    )
)
@examples(ci=6, deep=250)
def test_the_bias_is_the_current_part_times_b_minus_one(case):
    note(case.describe())
    check_identity(MFOS(), case)


@given(case=cases(cover=("steps", "networks"), limit=60_000, learner=EXCHANGEABLE))
@examples(ci=4, deep=100)
def test_the_bias_with_a_critic(case):
    note(case.describe())
    check_identity_with_critic(MFOS(), case)


@pytest.mark.parametrize("batch", [2, 3])
def test_m_fos_is_biased(batch):
    """Check that the bias is large. The current part is most of the gradient where co-players learn slowly."""
    differs(BIASED, check_identity(MFOS(), Case(batch=batch, seed=1)), 0.1)


@pytest.mark.parametrize("seed", COSINES)
def test_the_direction_turns_away_as_the_batch_grows(seed):
    cosines = []
    for batch in BATCHES:
        problem, policy = Case(batch=batch, ego="FullHistory", seed=seed).build()
        cosines.append(cosine(ce.exact.moments(MFOS(), problem, policy).mean, ce.exact.gradient(problem, policy)))
    for smaller, larger in itertools.pairwise(cosines):
        differs(ANGLE, smaller - larger, 1e-3)
    as_printed(IN_TABLE, cosines, COSINES[seed].split())
