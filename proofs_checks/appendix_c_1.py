"""Appendix C.1: neither unconditional defection nor tit-for-tat is a Nash equilibrium of the mixed pool.

**Setting.** The infinitely iterated prisoner's dilemma with payoffs CC (1, 1), CD (−1, 2), DC (2, −1), DD (0, 0), γ =
0.95, normalised returns, and memory-one policies given by five probabilities of cooperation φ: at the start and after
CC, CD, DC, DD, own action first. A naive learner climbs its own return in five logits, ψ_{m+1} = ψ_m + η·∂J^{-i}(φ,
ψ_m)/∂ψ, from ψ_0 ~ N(0, 1), with η = 5 for M = 20 steps. The shaping objective is Eq. 17, with both ends as printed:
Σ_{m=0..M} J^i(φ, ψ_m), differentiated through the learner's trajectory. The gradient of the mixed pool is p_naive
times its mean, plus 1 − p_naive times the partial gradient ∂J^i/∂φ^i against an equal policy. In a corner of the cube
an entry counts only if it points into the cube. At a Nash equilibrium no entry would be left.

**Claim.** At unconditional defection, φ = 0, only the entry DC of the gradient is left, and it is positive for every
p_naive in (0, 1]: cooperating after having exploited pays.

**Why.** An ego agent that never cooperates never sees CC or CD. J^i and J^{-i} are then constant in these two entries,
for every ψ, and so are all ψ_m. Both entries are exactly 0, for every learner. Cooperating at the start or after DD
costs 1 at once, and teaches the learner that defection is answered by cooperation. Both entries are negative, but only
in the mean. Cooperating after DC costs as much, but teaches the learner that cooperation is answered by cooperation.
Against defection the partial gradient is (−(1 − γ), 0, 0, 0, −γ): only the start and DD are seen, with weights 1 − γ
and γ, and the opponent does not respond. So nothing opposes the entry DC.

**Conditions.** The entry DC sums immediate costs and later gains, which decide its sign. The table has its mean and
standard error over 65536 learners. On the unnormalised return, η acts like η/(1 − γ) = 20η there: rates 4, 20 and 100
correspond to its η = 0.2, 1 and 5. (C.1 prints γ = 0.999, and the rest of the appendix 0.95. The signs are the same
for both. With γ = 0.999, η = 5 and M = 20 the entry is +5.31 ± 0.03.)

    rate    M = 1            2                3                5                20
    0.2     −1.114 ± 0.003   −1.617 ± 0.005   −2.086 ± 0.006   −2.918 ± 0.009   −5.087 ± 0.027
    1       −0.973 ± 0.003   −1.204 ± 0.004   −1.281 ± 0.005   −1.042 ± 0.008   +7.337 ± 0.021
    4       −0.505 ± 0.003   −0.060 ± 0.004   +0.543 ± 0.004   +1.815 ± 0.006   +6.227 ± 0.015
    5       −0.381 ± 0.003   +0.165 ± 0.003   +0.806 ± 0.004   +2.003 ± 0.005   +5.360 ± 0.014
    20      +0.032 ± 0.002   +0.447 ± 0.002   +0.688 ± 0.003   +0.943 ± 0.003   +1.576 ± 0.004
    100     −0.415 ± 0.002   −0.368 ± 0.002   −0.340 ± 0.002   −0.308 ± 0.002   −0.234 ± 0.002

The entry is negative if the learner is too slow for its few steps (at rate 0.2 it turns positive after more: +5.43 ±
0.06 after 50), or so fast that its first step saturates its policy. The entry of the start changes its sign, too. For
rate 5 it is −0.042 ± 0.002 after 20 steps and +0.038 ± 0.004 after 50. The terms m = 11..20 alone are positive.
(Without the term m = 0, it is +0.008 ± 0.002 already after 20.)

**Claim.** At tit-for-tat, φ = (1, 1, 0, 1, 0), the entry DC is negative, so it points into the cube, for every
p_naive in (0, 1].

**Why.** Two tit-for-tat players cooperate for ever, so the partial gradient is non-zero only at the start and after
CC. A single defection makes them alternate and turns 1/(1 − γ) into (2 − γ)/(1 − γ²), a loss of (2γ − 1)/(1 − γ²). It
weighs 1 − γ at the start and γ after CC. For γ > 1/2 both entries are positive and point out of the cube. The shaping
gradient of DC is measured: −4.31 ± 0.01. Its entries CD (−4.63 ± 0.01) and DD (−2.96 ± 0.01) point out of the cube.
Start (−0.75) and CC (−2.56 ± 0.02) point into it, and the partial gradient, 0.46 and 8.77, outweighs them for p_naive
up to 0.38 and 0.77.

**Drawn at random.** The learners, always the same ones.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import coala_eqx as ce
from coala_eqx.learners import ExactAscent, LearningPath
from coala_eqx.policies import BinaryMemoryOne
from coala_eqx.returns import memory_one_returns
from proofs_checks.common.cases import examples, is_deep
from proofs_checks.common.iterated import Returns, rounding
from proofs_checks.common.ledger import differs, holds

UNSEEN = "App. C.1: all-D, entries CC and CD of the shaping gradient, largest of any learner"
BLOCKED = "App. C.1: all-D, entries start and DD negative (standard errors)"
IN_THE_MEAN_ONLY = "App. C.1: all-D, entries start and DD positive for some learners (least share of learners)"
PUSHED = "App. C.1: all-D, entry DC positive (standard errors)"
DEFECTION = "App. C.1: all-D, projected gradient of the mixed pool but for DC, any p_naive"
SIGNS = "App. C.1: all-D, sign of DC for rates 0.2 to 100 and 1 to 20 naive steps (standard errors)"
LATER = "App. C.1: all-D, entry start of the terms m = 11..20 alone positive (standard errors)"
PARTIAL = "App. C.1: partial gradients of all-D and tit-for-tat as derived (times 1 − γ)"
PARTIAL_UNSEEN = "App. C.1: entry DC of the partial gradients of all-D and tit-for-tat"
TIT_FOR_TAT = "App. C.1: tit-for-tat, entry DC of the shaping gradient negative (standard errors)"
OTHERS = "App. C.1: tit-for-tat, entries start, CC, CD and DD negative (standard errors)"
LEFT = "App. C.1: tit-for-tat, projected gradient of the mixed pool but for DC, p_naive ≤ 0.35"

DISCOUNT, RATE, STEPS = 0.95, 5.0, 20
PAYOFFS = np.asarray(ce.games.iterated_prisoners_dilemma().payoffs)
ALL_D, TFT = np.zeros(5), np.array([1.0, 1.0, 0.0, 1.0, 0.0])
START, CC, CD, DC, DD = range(5)

SIGN_OF_DC = {
    0.2: (-1, -1, -1, -1, -1),
    1.0: (-1, -1, -1, -1, 1),
    4.0: (-1, -1, 1, 1, 1),
    5.0: (-1, 1, 1, 1, 1),
    20.0: (1, 1, 1, 1, 1),
    100.0: (-1, -1, -1, -1, -1),
}
"""Sign of the entry DC after 1, 2, 3, 5 and 20 naive steps, keyed by rate."""

Learning = Callable[..., Any]
"""A function (φ, ψ_0, rate, discount, steps) → J^i(φ, ψ_m) for m = 0, …, steps, such as `naive_rewards`."""


def table(cooperate: Any) -> Any:
    """Probabilities of both actions."""
    return jnp.stack([cooperate, 1 - cooperate], axis=-1)


class Both(eqx.Module):
    """A function (learner, ego agent's probabilities) → (the return that the learner climbs, J^i)."""

    discount: Any
    climbed: int = 1
    """The player whose return the learner climbs; 1 for J^{-i}."""

    def __call__(self, learner: BinaryMemoryOne, ego: Any) -> tuple[Any, Any]:
        returns = memory_one_returns(table(ego), jax.nn.softmax(learner.action_logits), PAYOFFS, self.discount)
        return returns[self.climbed], returns[0]


def naive_path(ego: Any, logits: Any, rate: Any, discount: Any, steps: int, climbed: int = 1) -> LearningPath:
    """The path of `ExactAscent` along the gradient of J^{-i}, or of the return of player `climbed`."""
    return ExactAscent(rate, steps).learn(Both(discount, climbed), BinaryMemoryOne(logits), ego)


def naive_rewards(*arguments: Any) -> Any:
    """J^i along the path."""
    return naive_path(*arguments).other


@functools.partial(jax.jit, static_argnums=(0, 5))
def _gradients(learning: Learning, ego: Any, learners: Any, rate: Any, discount: Any, steps: int) -> Any:
    """∂J^i(φ, ψ_m)/∂φ `[learners, 1 + steps, 5]`, in forward mode because φ is small. `discount` may be traced."""

    def along(ego, logits):
        return learning(ego, logits, rate, discount, steps)

    return jax.lax.map(lambda logits: jax.jacfwd(along)(ego, logits), learners, batch_size=2048)


def shaping_gradients(
    learning: Learning, ego: np.ndarray, rate: float = RATE, discount: float = DISCOUNT
) -> np.ndarray:
    """The gradient of the shaping objective for every learner and M = 0, …, STEPS: `[learners, 1 + STEPS, 5]`."""
    learners = np.random.default_rng(0).normal(size=(65536 if is_deep() else 8192, 5))
    return np.asarray(_gradients(learning, ego, learners, rate, discount, STEPS)).cumsum(axis=1)


def partial_gradient(returns: Returns, policy: np.ndarray, discount: float = DISCOUNT) -> np.ndarray:
    """∂J^i/∂φ^i against the same policy."""
    return np.asarray(jax.grad(lambda own: returns(table(own), table(policy), PAYOFFS, discount)[0])(policy))


def in_standard_errors(samples: np.ndarray) -> np.ndarray:
    """The mean over the first axis, in units of its standard error; 0 where all samples are 0."""
    error = samples.std(axis=0) / len(samples) ** 0.5
    return samples.mean(axis=0) / np.where(error > 0, error, 1.0)


def project(corner: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """The entries of a gradient that point into the cube from one of its corners; 0 elsewhere."""
    return np.where(corner == 0, np.maximum(gradient, 0), np.minimum(gradient, 0))


def check_defection(learning: Learning) -> None:
    """Check that in all-D the projected gradient of the mixed pool is positive in DC and zero elsewhere."""
    by_steps = shaping_gradients(learning, ALL_D)
    gradients = by_steps[:, -1]
    sure = in_standard_errors(gradients)
    holds(UNSEEN, np.abs(gradients[:, [CC, CD]]).max(), 0.0)
    differs(PUSHED, sure[DC], 10.0)
    differs(BLOCKED, -sure[[START, DD]].max(), 5.0)
    differs(IN_THE_MEAN_ONLY, (gradients[:, [START, DD]] > 0).mean(axis=0).min(), 1e-3)
    differs(LATER, in_standard_errors(gradients - by_steps[:, 10])[START], 5.0)
    partial = partial_gradient(memory_one_returns, ALL_D)
    for p_naive in (0.01, 0.25, 1.0):
        left = project(ALL_D, p_naive * gradients.mean(axis=0) + (1 - p_naive) * partial)
        holds(DEFECTION, np.abs(np.delete(left, DC)).max(), 0.0)


def check_tit_for_tat(learning: Learning) -> None:
    """Check that in tit-for-tat the projected gradient of the mixed pool is negative in DC and, for small p_naive, zero
    elsewhere.
    """
    gradients = shaping_gradients(learning, TFT)[:, -1]
    sure = in_standard_errors(gradients)
    differs(TIT_FOR_TAT, -sure[DC], 10.0)
    differs(OTHERS, -sure.max(), 10.0)
    partial = partial_gradient(memory_one_returns, TFT)
    for p_naive in (0.01, 0.25, 0.35):
        left = project(TFT, p_naive * gradients.mean(axis=0) + (1 - p_naive) * partial)
        holds(LEFT, np.abs(np.delete(left, DC)).max(), 0.0)


def check_partial(returns: Returns, discount: float) -> None:
    """Check that ∂J^i/∂φ^i is as derived, and exactly 0 in DC, which is never seen.

    A derivative sums the effect of a deviation over all later steps, so the error has another factor 1/(1 − γ).
    """
    loss = (2 * discount - 1) / (1 - discount**2)
    of_all_d = [-(1 - discount), 0, 0, 0, -discount]
    of_tit_for_tat = [(1 - discount) * loss, discount * loss, 0, 0, 0]
    for policy, expected in ((ALL_D, of_all_d), (TFT, of_tit_for_tat)):
        gradient = partial_gradient(returns, policy, discount)
        holds(PARTIAL, (1 - discount) * np.abs(gradient - np.array(expected)).max(), 2 * rounding(4, discount))
        holds(PARTIAL_UNSEEN, abs(gradient[DC]), 0.0)


def test_defection_is_left_by_cooperating_after_exploitation():
    check_defection(naive_rewards)


@pytest.mark.parametrize(("rate", "discount"), [*((rate, DISCOUNT) for rate in SIGN_OF_DC), (RATE, 0.999)])
def test_the_sign_of_dc_depends_on_rate_and_steps(rate, discount):
    gradients = shaping_gradients(naive_rewards, ALL_D, rate, discount)[:, [1, 2, 3, 5, 20]]
    differs(SIGNS, (in_standard_errors(gradients)[:, DC] * SIGN_OF_DC[rate]).min(), 5.0)


def test_tit_for_tat_is_left():
    check_tit_for_tat(naive_rewards)


@given(discount=st.floats(0, 0.99))
@examples(ci=20, deep=200)
def test_partial_gradients(discount):
    check_partial(memory_one_returns, discount)
