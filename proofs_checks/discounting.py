"""Discounts below 1: how γ and λ_gae remove the learning-aware signal, exactly.

**Claim.** Without a critic and with d = γ·λ_gae, COALA-PG's coefficient weighs the reward of step k by d^{k−l}. So the
future term at l is multiplied by d^{T·m_l − l + 1}, and later rewards further by their distance. Hence

    E[ĝ] = (1/B) Σ_{l≤k} d^{k−l} Σ_{b,b'} ∂E[r_k^{b'}]/∂φ_{l,b},

which is ∇J̄ only for d = 1. Over T = 100 steps, d = 0.912 leaves 1e-4 of the signal through the co-player's learning.

**Claim.** With γ = 1, λ_gae = λ < 1 and even the EXACT batch-unaware critic, V(h) = E[own + fut | h], COALA-PG is
biased:

    E[ĝ] = E[ĝ_unaware] + (1/B) Σ_{m_k>m_l} λ^{k−l} Σ_{b≠b'} ∂E[δ_k^{b'}]/∂φ_{l,b},    δ_k = r_k + V(h_{k+1}) − V(h_k),

and λ → 0 gives exactly batch-unaware's expectation.

**Why.** In the own trajectory, E[δ_k | h_k] = 0 for the exact critic. Later TD errors add nothing, and λ is harmless
there, as usual. In another trajectory, h_k^{b'} does not contain a_l^b. There E[δ_k^{b'} | a_l^b] is the part of the
co-player's learning that the critic does not foresee. These terms telescope to the shaping signal for λ = 1 only.

**Drawn at random.** As for Theorem 3.1, with learners that do not depend on the order of the trajectories, and
discounts.
"""

import itertools
from typing import Any

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, note

import coala_eqx as ce
from coala_eqx.estimators import BatchUnaware, CoalaPG
from coala_eqx.estimators.advantages import td_errors
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from proofs_checks.common.cases import EXCHANGEABLE, Case, cases, dilemma, examples
from proofs_checks.common.expected import WithoutCritic, check_expectation
from proofs_checks.common.influence import Influence, Steps, weigh
from proofs_checks.common.ledger import as_printed, differs, holds
from proofs_checks.common.trees import add, distance, norm

DISCOUNTED = "Discounting: E[COALA-PG] at d = γ·λ < 1, in closed form (relative)"
LAMBDA = "Discounting: E[COALA-PG] at λ < 1 with the exact critic, in closed form (relative)"
UNAWARE = "Discounting: at λ = 0 it is batch-unaware's expectation (relative)"
FALLS = "Discounting: decrease of the relative bias from one d to the next, prisoner's dilemma"
BIASED = "Discounting: relative bias at d = 0.99, prisoner's dilemma"

IN_TABLE = "Discounting: relative biases of the table, prisoner's dilemma (last digit)"

DISCOUNTS = (0.0, 0.5, 0.9, 0.99)
BIASES = {"no critic": "0.253 0.194 0.0567 0.00616", "exact critic": "0.117 0.067 0.0157 0.00163"}
"""Relative bias for growing d = λ_gae, on the prisoner's dilemma with two trajectories of two episodes of two steps."""


def check_discounted(estimator: AbstractScoreFunctionEstimator, decay: float, case: Case) -> None:
    """Check that, without a critic, every pair of steps is weighed by decay^distance."""

    def formula(truth: Any, influence: Influence, steps: Steps) -> Any:
        weights = _powers(decay, steps) / case.batch
        return weigh(influence, case.batch, weights * (steps.current | steps.future), weights * steps.future)

    check_expectation(DISCOUNTED, WithoutCritic(estimator), case, formula)


def check_lambda(estimator: AbstractScoreFunctionEstimator, decay: float, case: Case) -> None:
    """Check that, with the exact critic, E[ĝ] is batch-unaware's plus other trajectories' TD errors weighed by
    decay^distance.
    """
    problem, with_critic = case.build_with_exact_critic()
    unaware = ce.exact.moments(BatchUnaware(), problem, with_critic).mean

    def formula(truth: Any, influence: Influence, steps: Steps) -> Any:
        weights = _powers(decay, steps) * steps.future / case.batch
        return add(unaware, weigh(influence, case.batch, 0 * weights, weights))

    claim = LAMBDA if decay > 0 else UNAWARE
    check_expectation(claim, estimator, case, formula, policy=with_critic, signal=td_errors)


def _powers(decay: float, steps: Steps) -> np.ndarray:
    return float(decay) ** np.maximum(steps.distance, 0)


@given(
    case=cases(cover=("normalised", "remembering networks"), limit=100_000, learner=EXCHANGEABLE),
    decay=st.sampled_from(DISCOUNTS),
)
@examples(ci=4, deep=150)
def test_without_a_critic(case, decay):
    note(case.describe())
    # Discounts are arrays, because each Python number would compile another program.
    check_discounted(CoalaPG(discount=jnp.asarray(decay)), decay, case)
    check_discounted(CoalaPG(gae_lambda=jnp.asarray(decay)), decay, case)


@given(
    case=cases(cover=("steps",), limit=100_000, tabulated=True, learner=EXCHANGEABLE), decay=st.sampled_from(DISCOUNTS)
)
@examples(ci=4, deep=150)
def test_with_the_exact_critic(case, decay):
    note(case.describe())
    check_lambda(CoalaPG(gae_lambda=jnp.asarray(decay)), decay, case)


@pytest.mark.parametrize("critic", BIASES)
def test_the_curve_of_the_bias(critic):
    """Check that the bias shrinks as d grows, as in the table."""
    problem, policy = dilemma()
    if critic == "exact critic":
        policy = ce.exact.exact_critic(problem, policy, ce.exact.own_return)
    truth = ce.exact.gradient(problem, policy)
    biases = []
    for decay in DISCOUNTS:
        mean = ce.exact.moments(CoalaPG(gae_lambda=jnp.asarray(decay)), problem, policy).mean
        biases.append(distance(mean, truth) / norm(truth))
    for more, less in itertools.pairwise(biases):
        differs(FALLS, more - less, 1e-4)
    differs(BIASED, biases[-1], 1e-3)
    as_printed(IN_TABLE, biases, BIASES[critic].split())


def test_the_signal_over_a_hundred_steps():
    """Weight of one reward in the second inner episode at the first step of the first, for T = 100."""
    rewards = np.zeros((1, 2, 100))
    rewards[0, 1, 0] = 1.0
    weight = float(CoalaPG(discount=0.912).coefficients(rewards)[0, 0, 0])
    holds("Discounting: d = 0.912 over T = 100 steps leaves 1e-4 (weight)", abs(weight - 0.912**100), 1e-16)
    assert round(weight, 5) == 0.0001
