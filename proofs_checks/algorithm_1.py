"""Algorithm 1: the batch λ-returns are the closed forms, and v_t must be read as the next step's value.

**Claim.** At λ = γ = 1 and without values, the coefficients are the sums of Eqs 5, 24, 25 and 26. With V̂, they are
Eqs 13–14 for COALA-PG. For the other estimators they are these equations with the estimator's own weights.

**Claim.** For every λ, γ and both flags the scan equals the double sum it abbreviates. With ρ_k^b =
γ·(1−λ)·v_{k+1}^b, e the end of l's inner episode, n = B or 1, and G_l = mean_b Σ_{k≥l} (γλ)^{k−l} (r_k^b + ρ_k^b),

    out_l^b = Σ_{k=l..e} (γλ)^{k−l} (r_k^b/n + ρ_k^b) + (γλ)^{e−l+1} · ( G_{e+1}  or, without averaging,  out_{e+1}^b ).

**Claim.** The paper does not place v_t in time. If it is the value of the NEXT history, 0 after the last step, the
algorithm is exact. If it is V̂(h_t), as App. A.3 uses the letter, both accumulators start at V̂(h_MT). With λ = 1 every
advantage then contains this value, discounted: V̂(h_MT^b) in the last inner episode, and its mean over the batch in
earlier ones. The value depends on earlier actions, so the estimate is biased.

**Why.** Unrolling a recursion x_l = u_l + c·x_{l+1} gives Σ_{k≥l} c^{k−l} u_k. Algorithm 1 consists of two such
recursions, and the second replaces the first where an inner episode ends. Telescoping the TD errors δ = r + V̂' − V̂
leaves the values of Eqs 13–14.

**Drawn at random.** Rewards and values of any shape, λ and γ, the flags; for the bias, as for Theorem 3.1.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, note

import coala_eqx as ce
from coala_eqx.estimators import MFOS, BatchUnaware, CoalaPG, Reinforce
from coala_eqx.estimators.advantages import batch_advantages, batch_lambda_returns, next_values
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from coala_eqx.policies import FullHistory
from proofs_checks.common.cases import COVER, EXCHANGEABLE, Case, cases, dilemma, examples, is_deep
from proofs_checks.common.expected import check_expectation
from proofs_checks.common.influence import Influence, Steps, weigh
from proofs_checks.common.ledger import as_printed, differs, holds
from proofs_checks.common.rounding import EPS, rounding
from proofs_checks.common.trees import add, distance, norm

CLOSED_FORM = "Algorithm 1: coefficients at λ = γ = 1 are Eqs 5, 13, 14, 24–26"
DOUBLE_SUM = "Algorithm 1: the scan is the double sum, any λ, γ and flags"
OFFSET = "Algorithm 1: v_t read as V̂(h_t) adds V̂(h_MT) to every advantage"
BIAS = "Algorithm 1: bias of that reading, exact critic, = Σ ∂E[V̂(h_MT)]/∂φ_{l,b} (relative)"
EXAMPLE = "Algorithm 1: relative bias of that reading with the exact critic, prisoner's dilemma"
TARGETS = "Algorithm 1: E[TD(λ) target − V(h); h] = 0 for the exact V, v_t the next value"
IN_TABLE = "Algorithm 1: the same with v_t = V̂(h_t), largest error for λ = 0, 0.5, 1, one game (last digit)"

PRINTED_TARGETS = {0.0: "2.074", 0.5: "1.887", 1.0: "1.918"}
"""The largest |E[target − V(h); h]| over histories, keyed by λ, for one random game and TD(λ) targets as printed."""

_SOME = (1, 1, 1), (2, 1, 3), (1, 3, 2), (3, 2, 1), (2, 3, 2), (4, 2, 3)
SHAPES = st.tuples(*[st.integers(1, 4)] * 3) if is_deep() else st.sampled_from(_SOME)
"""Shapes (B, M, T). Only the deep profile draws many, because programs are compiled for each."""

UNIT = st.sampled_from([0.0, 0.3, 0.9, 1.0])


def check_closed_form(name: str, estimator: AbstractScoreFunctionEstimator, rewards: Any, values: Any) -> None:
    """Check the coefficients of the estimator called `name` against sums in plain loops."""
    batch, episodes, _ = rewards.shape
    expected = np.zeros(rewards.shape)
    for b, m, t in np.ndindex(rewards.shape):
        own = rewards[:, m, t:].sum(axis=1)
        future = rewards[:, m + 1 :].sum(axis=(1, 2))
        start_of_next = values[:, m + 1, 0] if m + 1 < episodes else np.zeros(batch)
        # The bootstrapped advantage of the current inner episode, and the later rewards beyond V̂.
        advantage, beyond = own + start_of_next - values[:, m, t], future - start_of_next
        expected[b, m, t] = {
            "CoalaPG": (advantage[b] + beyond.sum()) / batch,
            "MFOS": advantage[b] + beyond.mean(),
            "BatchUnaware": (advantage[b] + beyond[b]) / batch,
            "Reinforce": (advantage + beyond).mean(),
        }[name]
    error = np.abs(np.asarray(_coefficients(estimator, rewards, values)) - expected).max()
    holds(CLOSED_FORM, error, _bound(rewards, values))


@eqx.filter_jit
def _coefficients(estimator: AbstractScoreFunctionEstimator, rewards: Any, values: Any) -> Any:
    return estimator.coefficients(rewards, values)


def check_double_sum(scan: Any, rewards: Any, next_values: Any, discount: float, lambda_: float, **flags: bool) -> None:
    """Check that `scan`, called as `batch_lambda_returns`, is the double sum over l and k ≥ l. Costs O(L²·B)."""
    batch, episodes, steps = rewards.shape
    length, decay = episodes * steps, discount * lambda_
    r, v = rewards.reshape(batch, -1), discount * (1 - lambda_) * next_values.reshape(batch, -1)
    norm_ = batch if flags["normalize_current_episode"] else 1
    expected = np.zeros((batch, length))
    for l in range(length):  # noqa: E741
        end = l // steps * steps + steps
        for k in range(l, length):
            if k < end or not flags["average_future_episodes"]:
                expected[:, l] += decay ** (k - l) * (r[:, k] / norm_ + v[:, k])
            else:
                expected[:, l] += decay ** (k - l) * (r[:, k] + v[:, k]).mean()
    result = np.asarray(scan(rewards, next_values, discount=discount, lambda_=lambda_, **flags)).reshape(batch, -1)
    holds(DOUBLE_SUM, np.abs(result - expected).max(), _bound(rewards, next_values))


def _bound(rewards: Any, values: Any) -> float:
    """Rounding bound: two sums of at most B·M·T terms with some operations each; the condition is a sum of absolute
    values.
    """
    return (2 * rewards.size + 20) * EPS * 2 * (np.abs(rewards).sum() + np.abs(values).sum() + 1)


def check_offset(advantages: Any, rewards: Any, values: Any, **flags: bool) -> None:
    """Check the printed scan in plain loops, at λ = γ = 1. Started at 0 it is `advantages`; started at V̂(h_MT) it adds
    that.

    **Arguments:**

    - `advantages`: a function that is called as `batch_advantages`.
    """
    batch, episodes, steps = shape = rewards.shape
    errors = np.asarray(rewards + np.roll(values.reshape(batch, -1), -1, axis=1).reshape(shape) - values)
    errors[:, -1, -1] = rewards[:, -1, -1] - values[:, -1, -1]
    average = flags["average_future_episodes"]

    def printed(start: np.ndarray) -> np.ndarray:
        own, average_, out = start, start, np.zeros(shape)
        for m, t in reversed(list(np.ndindex(episodes, steps))):
            if average and t == steps - 1:
                own = average_
            own = errors[:, m, t] / (batch if flags["normalize_current_episode"] else 1) + own
            average_ = np.full(batch, (errors[:, m, t] + average_).mean())
            out[:, m, t] = own
        return out

    last = values[:, -1, -1]
    right = np.asarray(advantages(rewards, values, **flags))
    holds(DOUBLE_SUM, np.abs(printed(np.zeros(batch)) - right).max(), _bound(rewards, values))
    offset = np.broadcast_to(last[:, None, None], shape).copy()
    if average:
        offset[:, :-1] = last.mean()
    holds(OFFSET, np.abs(printed(last) - right - offset).max(), _bound(rewards, values))


def check_reading(estimator: AbstractScoreFunctionEstimator, case: Case) -> None:
    """Check that with v_t = V̂(h_t) the bias is Σ_b Σ_l ∂E[term added to A_l^b]/∂φ_{l,b}, computed without scores."""
    _, policy = case.build_with_exact_critic()

    def formula(truth: Any, influence: Influence, steps: Steps) -> Any:
        own, others = np.zeros(steps.distance.shape), np.zeros(steps.distance.shape)
        own[:, -1] = others[:, -1] = 1 / case.batch
        own[-case.steps :, -1], others[-case.steps :, -1] = 1, 0
        return add(truth, weigh(influence, case.batch, own, others))

    check_expectation(BIAS, estimator, case, formula, policy=policy, signal=_last_value)


def _last_value(rewards: Any, values: Any) -> Any:
    return jnp.zeros_like(values).at[:, -1, -1].set(values[:, -1, -1])


def check_targets(targets: Callable[[Any, Any], Any], case: Case) -> None:
    """Check that E[target − V(h); h] = 0 for every history h and the exact V. `targets` is a function (rewards, values)
    → targets.
    """
    problem, policy = case.build_with_exact_critic()
    # A target and its value are sums of at most M·T rewards below 2.
    bound = rounding(problem, case.count(), 4.0 * case.batch * case.episodes * case.steps)
    holds(TARGETS, _error_of_targets(targets, problem, policy), bound)


def _error_of_targets(targets: Callable[[Any, Any], Any], problem: ce.ShapingProblem, policy: FullHistory) -> float:
    """The largest |E[target − V(h); h]| over histories h."""

    def excess(rewards: Any, values: Any) -> Any:
        return targets(rewards, values) - values

    return float(jnp.abs(ce.exact.sums_by_history(problem, policy, excess)[0]).max())


class Targets(eqx.Module):
    """TD(λ) targets of the paper's critic, by Algorithm 1 in the right reading."""

    lambda_: float = 0.5

    def __call__(self, rewards: Any, values: Any) -> Any:
        flags = {"average_future_episodes": False, "normalize_current_episode": False}
        return batch_lambda_returns(rewards, next_values(values), lambda_=self.lambda_, **flags)


class PrintedTargets(eqx.Module):
    """TD(λ) targets with v_t = V̂(h_t) and accumulators that start at V̂(h_MT), which adds λ^(MT − l + 1) times that
    value.
    """

    lambda_: float = 0.5

    def __call__(self, rewards: Any, values: Any) -> Any:
        flags = {"average_future_episodes": False, "normalize_current_episode": False}
        distances = jnp.arange(rewards[0].size, 0, -1).reshape(rewards.shape[1:])
        start = self.lambda_**distances * values[:, -1:, -1:]
        return batch_lambda_returns(rewards, values, lambda_=self.lambda_, **flags) + start


class SameStep(AbstractScoreFunctionEstimator):
    """COALA-PG by Algorithm 1 with v_t = V̂(h_t), as printed, on the TD errors of App. A.3."""

    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards: Any, values: Any = None) -> Any:
        right = CoalaPG().coefficients(rewards, values)
        last = values[:, -1, -1]
        start = jnp.broadcast_to(last.mean(), (*right.shape[:2],)).at[:, -1].set(last)
        return right + start[..., None]


def _random(seed: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.uniform(-2, 2, shape).round(1), generator.uniform(-2, 2, shape).round(1)


@given(shape=SHAPES, seed=st.integers(0, 10_000), critic=st.booleans())
@examples(ci=30, deep=2000)
def test_the_coefficients_are_the_closed_forms(shape, seed, critic):
    rewards, values = _random(seed, shape)
    for estimator in (CoalaPG(), MFOS(), BatchUnaware(), Reinforce()):
        check_closed_form(type(estimator).__name__, estimator, rewards, critic * values)


@given(
    shape=SHAPES,
    seed=st.integers(0, 10_000),
    discount=UNIT,
    lambda_=UNIT,
    average=st.booleans(),
    normalize=st.booleans(),
)
@examples(ci=60, deep=5000)
def test_the_scan_is_the_double_sum(shape, seed, discount, lambda_, average, normalize):
    rewards, values = _random(seed, shape)
    flags = {"average_future_episodes": average, "normalize_current_episode": normalize}
    check_double_sum(batch_lambda_returns, rewards, values, discount, lambda_, **flags)


@given(shape=SHAPES, seed=st.integers(0, 10_000), average=st.booleans(), normalize=st.booleans())
@examples(ci=20, deep=500)
def test_the_other_reading_adds_the_last_value(shape, seed, average, normalize):
    flags = {"average_future_episodes": average, "normalize_current_episode": normalize}
    check_offset(batch_advantages, *_random(seed, shape), **flags)


@given(case=cases(cover=("steps",), limit=40_000, tabulated=True, learner=EXCHANGEABLE))
@examples(ci=4, deep=100)
def test_the_other_reading_is_biased(case):
    note(case.describe())
    check_reading(SameStep(), case)


def test_how_biased_it_is():
    """Measure the bias on the prisoner's dilemma: two trajectories of two episodes of two steps, against SGD."""
    problem, policy = dilemma()
    table = ce.exact.exact_critic(problem, policy, ce.exact.own_return)
    truth = ce.exact.gradient(problem, table)
    differs(EXAMPLE, distance(ce.exact.moments(SameStep(), problem, table).mean, truth) / norm(truth), 0.2)


@given(case=cases(cover=("steps",), limit=40_000, tabulated=True), lambda_=UNIT)
@examples(ci=4, deep=60)
def test_the_exact_critic_is_what_the_targets_expect(case, lambda_):
    note(case.describe())
    check_targets(Targets(lambda_), case)


@pytest.mark.parametrize("lambda_", PRINTED_TARGETS)
def test_not_if_they_are_one_step_off(lambda_):
    problem, policy = COVER["steps"].build_with_exact_critic()
    as_printed(IN_TABLE, [_error_of_targets(PrintedTargets(lambda_), problem, policy)], [PRINTED_TARGETS[lambda_]])
