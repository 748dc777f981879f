"""Theorems D.2 and E.1: COALA-PG's expectation is the total derivative of the returns along the co-player's learning.

**Claim.** If the ego policy conditions on the history of the inner episode only, and the naive co-player starts from
φ^{-i},

    E[ĝ_COALA] = d/dφ Σ_{m=0..M−1} E[ J(φ, φ^{-i} + Σ_{q≤m} Δ(x̄_q)) ],

where J(φ, ψ) is the ego agent's expected return in one inner episode, Δ(x̄_q) is the co-player's update from its q-th
SAMPLED batch, and Δ(x̄_0) = 0. For the last inner episode alone, the same holds for `LolaCoala` and the last term.

**Why.** Given the co-player's parameters ψ_m in inner episode m, each trajectory's expected return there is J(φ,
ψ_m), because the ego agent remembers nothing else. So J̄ = Σ_m E[J(φ, ψ_m)], and by Theorem 3.1 E[ĝ] is its
derivative. The derivative is total: φ enters J directly, and through the distribution of the batches from which ψ_m
is learned. For an ego agent with a memory across inner episodes the right-hand side is another function.

**How it is checked.** The right-hand side shares nothing with the package: plain NumPy, a recursion over inner
episodes that plays, learns and plays again, and the derivative by a complex step, ∂f/∂φ = Im f(φ + ih)/h, exact to
rounding as nothing is subtracted.

**Drawn at random.** Two-player matrix games with 2 or 3 actions, memory-one policies, SGD with the rate 1, B, M, T.
"""

import itertools

import equinox as eqx
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, note

import coala_eqx as ce
from coala_eqx.estimators import CoalaPG, LolaCoala
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from coala_eqx.policies import MemoryOne
from proofs_checks.common.cases import Case, cases, examples
from proofs_checks.common.expected import check_mean
from proofs_checks.common.ledger import differs, holds
from proofs_checks.common.plain import TWO_PLAYERS_BY_SGD, arrays_of, complex_step, inner_episodes
from proofs_checks.common.rounding import rounding
from proofs_checks.common.trees import root_mean_square

TOTAL = "Theorem D.2: E[COALA-PG] = d/dφ Σ_m E[J(φ, φ⁻ + ΣΔ)] (relative)"
LAST = "Theorem E.1: E[LolaCoala] = d/dφ of its last term (relative)"
NO_MEMORY = "Theorem D.2: the same for a table of histories with equal rows (relative)"
MEMORY = "Theorem D.2: difference for an ego agent that remembers earlier inner episodes (relative)"

RATE = 1.0

_COVER = (
    Case(),
    Case(batch=1, episodes=3),
    Case(actions=(2, 3), batch=2),
    Case(batch=1, steps=2),
    Case(actions=(3, 2), batch=3),
)


def check_total_derivative(estimator: AbstractScoreFunctionEstimator, case: Case) -> None:
    """Check that E[ĝ] is the derivative of the sum for COALA-PG, and of the last term for LolaCoala."""
    problem, policy = case.build()
    derivative = derivatives(*arrays_of(problem, policy), case)
    last_only = estimator.unbiased_for == "last_episode_return"
    expected = derivative[-1] if last_only else derivative.sum(axis=0)
    claim = LAST if last_only else TOTAL
    check_mean(claim, estimator, problem, policy, MemoryOne(expected), case.count() * case.batch)


def derivatives(payoffs: np.ndarray, ego: np.ndarray, other: np.ndarray, case: Case) -> np.ndarray:
    """d/dφ E[J(φ, ψ_m)], `[episodes, observations, actions]`."""

    def returns(ego: np.ndarray) -> np.ndarray:
        values = np.zeros(case.episodes, dtype=complex)
        _play_and_learn(values, 0, 1.0, payoffs, ego, other, case)
        return values

    return complex_step(returns, ego)


def _play_and_learn(values, m, probability, payoffs, ego, other, case) -> None:
    """Add probability · J(φ, ψ_m) for this and all later inner episodes."""
    played = list(inner_episodes(payoffs, ego, other, case.steps))
    values[m] += probability * sum(p * earned for p, earned, _ in played)
    if m + 1 == case.episodes:
        return
    for batch in itertools.product(played, repeat=case.batch):
        chance = probability * np.prod([p for p, _, _ in batch])
        update = sum(gradient for _, _, gradient in batch) / case.batch
        _play_and_learn(values, m + 1, chance, payoffs, ego, other + RATE * update, case)


@given(case=cases(cover=_COVER, limit=5000, episodes=(2, 3, 4), **TWO_PLAYERS_BY_SGD), last_only=st.booleans())
@examples(ci=10, deep=300)
def test_the_expectation_is_a_total_derivative(case, last_only):
    note(case.describe())
    check_total_derivative(LolaCoala() if last_only else CoalaPG(), case)


@pytest.mark.parametrize("remembers", [False, True])
def test_not_if_the_ego_agent_remembers(remembers):
    """Check that the claim fails for M = 2 and T = 1 if the ego agent remembers.

    J(φ, ψ) with a fresh memory, and the first batch, depend only on the root of a table of histories. Its row then
    counts for all rows, so the right-hand side is that of a memory-one policy. It is the sum of E[ĝ] over all rows if
    these are equal, so that nothing is remembered, and not if they differ.
    """
    problem, policy = Case(ego="FullHistory").build()
    root = np.asarray(policy.logits[0])
    if not remembers:
        policy = eqx.tree_at(lambda p: p.logits, policy, jnp.broadcast_to(root, policy.logits.shape))
    mean, variance = ce.exact.moments(CoalaPG(), problem, policy)
    payoffs, memory_one, other = arrays_of(problem, MemoryOne(np.tile(root, (5, 1))))
    expected = derivatives(payoffs, memory_one, other, Case()).sum(axis=0)[0]
    error = np.linalg.norm(np.asarray(mean.logits).sum(axis=0) - expected)
    if remembers:
        differs(MEMORY, error / np.linalg.norm(expected), 0.01)
    else:
        holds(NO_MEMORY, error / root_mean_square(mean, variance), rounding(problem, Case().count(), 3.0))
