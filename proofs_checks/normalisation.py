"""Centring and normalising advantages: which axes keep COALA-PG unbiased, and which do not.

**Claims**, for the advantages of one meta-episode (B trajectories that share a co-player) of L = M·T steps, without a
critic:

1. Centring over the batch, C_l^b − mean_{b'} C_l^{b'}, removes the whole signal through the co-player's learning:
   E[ĝ] = (1 − 1/B) · current, the current-episode part of ∇J̄. The future term of C is the same for all trajectories
   and cancels.
2. Centring over batch and steps, C_l^b − c̄ with c̄ = mean_{b,k} C_k^b, has the bias −Σ_b Σ_l ∂E[c̄]/∂φ_{l,b} =
   −∇E[c̄]. For a minibatch of N whole trajectories of the meta-episode, with c̄ the mean over them, and the sum scaled
   by B/N, it is −(B/N)·Σ_{b in it} Σ_l ∂E[c̄]/∂φ_{l,b}. (The coefficients themselves are those of the whole
   meta-episode, because a minibatch alone does not know the future of the others.)
3. Dividing also by the standard deviation over batch and steps is biased, too. The bias has no closed form; it is
   measured.
4. Centring the CURRENT part over the other trajectories (leave-one-out), (own_l^b − mean_{b'≠b} own_l^{b'})/B + fut,
   is unbiased.
5. Centring at each (b, l) over other, independent meta-episodes is unbiased. If the average over B̄ meta-episodes
   includes the own one, E[ĝ] = (1 − 1/B̄)·∇J̄: shorter, in the same direction. One mean over meta-batch, batch and
   steps leaves 1/B̄ of the bias of claim 2.

**Why.** A baseline of C_l^b may be anything that does not depend on a_l^b, given the past. The current rewards of other
trajectories, and other meta-episodes, do not. C_l^b itself does, and so does everything later in the same
meta-episode, through the co-player's update. E[score · x] = ∂E[x]/∂φ gives the size of the bias.

**Drawn at random.** As for Theorem 3.1, with learners that do not depend on the order of the trajectories.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, note
from jaxtyping import Array

import coala_eqx as ce
from coala_eqx.estimators import AbstractEstimator, CoalaPG
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator, weigh_scores
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode
from proofs_checks.common.cases import EXCHANGEABLE, Case, cases, dilemma, examples
from proofs_checks.common.expected import check_expectation, check_mean
from proofs_checks.common.influence import Influence, Steps, weigh
from proofs_checks.common.ledger import as_printed, differs
from proofs_checks.common.trees import add, cosine, distance, norm, scale, subtract
from proofs_checks.common.unbiased import check_unbiased

BATCH = "Normalisation: centred over the batch, E[ĝ] = (1 − 1/B) · current part (relative)"
MINIBATCH = "Normalisation: centred over N of B trajectories and steps, bias = −(B/N)·Σ ∂E[mean]/∂φ_{l,b} (relative)"
LEAVE_ONE_OUT = "Normalisation: current part centred over the other trajectories is unbiased (relative)"
META_BATCH = "Normalisation: centred at each step over B̄ meta-episodes, E[ĝ] = (1 − 1/B̄)·∇J̄ (relative)"
ONE_MEAN = "Normalisation: centred by one mean over B̄ meta-episodes, 1/B̄ of the bias of one (relative)"
OTHERS = "Normalisation: centred over other meta-episodes is unbiased (relative)"
BIASED = "Normalisation: what no learning rate can mend, √(1 − cosine²), prisoner's dilemma, B = 2"
IN_TABLE = "Normalisation: relative biases and cosines of the table (last digit)"


class Centred(AbstractScoreFunctionEstimator):
    """COALA-PG's coefficients minus a baseline that is computed from them."""

    baseline: Callable[[Array], Array]

    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards: Any, values: Any = None) -> Array:
        own = CoalaPG().coefficients(rewards)
        return own - self.baseline(own)


def over_batch(coefficients: Array) -> Array:
    """The mean over trajectories at each step."""
    return coefficients.mean(axis=0, keepdims=True)


def over_batch_and_steps(coefficients: Array) -> Array:
    """One mean over batch and steps."""
    return coefficients.mean()


class Minibatch(AbstractScoreFunctionEstimator):
    """COALA-PG on the first trajectories of the meta-episode only, centred over them and all steps."""

    size: int

    exchangeable: ClassVar[bool] = False

    def coefficients(self, rewards: Any, values: Any = None) -> Array:
        own = CoalaPG().coefficients(rewards)
        kept = own[: self.size]
        return jnp.zeros_like(own).at[: self.size].set((kept - kept.mean()) * len(own) / self.size)


class Normalised(AbstractScoreFunctionEstimator):
    """COALA-PG's coefficients, shifted and scaled to mean 0 and standard deviation 1 over batch and steps."""

    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards: Any, values: Any = None) -> Array:
        centred = (own := CoalaPG().coefficients(rewards)) - own.mean()
        return centred / jnp.sqrt((centred**2).mean() + 1e-6)


class LeaveOneOut(AbstractScoreFunctionEstimator):
    """The current part centred over the other trajectories of the batch."""

    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards: Any, values: Any = None) -> Array:
        current = jnp.cumsum(rewards[..., ::-1], axis=2)[..., ::-1]
        others = (current.sum(axis=0) - current) / max(1, len(rewards) - 1)
        return CoalaPG().coefficients(rewards, values) - others / len(rewards)


class InMetaBatch(AbstractEstimator):
    """COALA-PG, centred together with a second meta-episode. The expectation over the second is enumerated."""

    baseline: Callable[[Array], Array]
    """A function of the coefficients of both meta-episodes, `[2, batch, episodes, steps]`, those of the first one
    first.
    """

    def from_episode(self, problem: ce.ShapingProblem, policy: AbstractPolicy, episode: MetaEpisode) -> Any:
        own = CoalaPG().coefficients(episode.rewards)

        def centred(problem: ce.ShapingProblem, policy: AbstractPolicy, other: MetaEpisode) -> Array:
            return own - self.baseline(jnp.stack([own, CoalaPG().coefficients(other.rewards)]))

        return weigh_scores(policy, episode, ce.exact.expectation(centred, problem, policy))


def of_the_other(both: Array) -> Array:
    """The other meta-episode's coefficients, for each step and trajectory."""
    return both[1]


def of_both(both: Array) -> Array:
    """The mean over the meta-batch, for each step and trajectory."""
    return both.mean(axis=0)


def of_everything(both: Array) -> Array:
    """One mean over meta-batch, batch and steps."""
    return both.mean()


def check_over_batch(estimator: AbstractScoreFunctionEstimator, case: Case) -> None:
    """Check that E[ĝ] = (1 − 1/B) · current."""

    def formula(truth: Any, influence: Influence, steps: Steps) -> Any:
        current = weigh(influence, case.batch, steps.current / case.batch, 0 * steps.current)
        return scale(1 - 1 / case.batch, current)

    check_expectation(BATCH, estimator, case, formula)


def check_over_minibatch(estimator: AbstractEstimator, case: Case, size: int) -> None:
    """Check that the bias is −(B/N)·Σ_{b in it} Σ_l ∂E[c̄]/∂φ_{l,b}, N = `size`.

    In c̄ a reward counts once for every coefficient that contains it, divided by B·N·L: as a current reward only if its
    trajectory is in the minibatch, as a future reward in every trajectory of the minibatch.
    """

    def formula(truth: Any, influence: Influence, steps: Steps) -> Any:
        as_current, as_future = steps.current.sum(axis=0), size * steps.future.sum(axis=0)
        in_it = (size - 1) / max(1, case.batch - 1)
        every = np.ones_like(steps.distance) / (case.batch * size * steps.distance.shape[0])
        own, other = every * (as_current + as_future), every * (in_it * as_current + as_future)
        return subtract(truth, weigh(influence, case.batch, own, other))

    check_expectation(MINIBATCH, estimator, case, formula)


def check_leave_one_out(estimator: AbstractEstimator, case: Case) -> None:
    """Check that E[ĝ] = ∇J̄."""
    problem, policy = case.build()
    check_unbiased(LEAVE_ONE_OUT, estimator, problem, policy, objective="shaping_return")


def check_meta_batch(make: Callable[[Callable[[Array], Array]], AbstractEstimator], case: Case) -> None:
    """Check centring over two meta-episodes. `make` makes the estimator from a baseline, as `InMetaBatch` does."""
    problem, policy = case.build()
    truth = ce.exact.gradient(problem, policy)
    alone = ce.exact.moments(Centred(over_batch_and_steps), problem, policy).mean
    expected = {
        (OTHERS, of_the_other): truth,
        (META_BATCH, of_both): scale(1 / 2, truth),
        (ONE_MEAN, of_everything): add(truth, scale(1 / 2, subtract(alone, truth))),
    }
    for (claim, baseline), predicted in expected.items():
        check_mean(claim, make(baseline), problem, policy, predicted, 2 * case.count())


@given(case=cases(cover=("normalised", "three players", "remembering networks"), limit=100_000, learner=EXCHANGEABLE))
@examples(ci=4, deep=100)
def test_centring_over_the_batch_removes_the_signal(case):
    note(case.describe())
    check_over_batch(Centred(over_batch), case)


@given(case=cases(cover=("normalised", "three players", "remembering networks"), limit=100_000, learner=EXCHANGEABLE))
@examples(ci=4, deep=100)
def test_centring_over_batch_and_steps(case):
    note(case.describe())
    check_over_minibatch(Centred(over_batch_and_steps), case, case.batch)


@given(case=cases(cover=("normalised", "three players"), limit=30_000, batch=(2, 3), learner=EXCHANGEABLE))
@examples(ci=4, deep=100)
def test_centring_over_half_of_the_trajectories(case):
    note(case.describe())
    check_over_minibatch(Minibatch(case.batch - 1), case, case.batch - 1)


@given(case=cases(cover=("normalised", "three players"), limit=300_000, learner=EXCHANGEABLE))
@examples(ci=4, deep=100)
def test_what_is_unbiased(case):
    note(case.describe())
    check_leave_one_out(LeaveOneOut(), case)


@given(seed=st.integers(0, 10_000))
@examples(ci=3, deep=50)
def test_centring_over_meta_episodes(seed):
    """Two meta-episodes, each with two trajectories of two one-step episodes: 256 · 256 outcomes."""
    case = Case(seed=seed)
    note(case.describe())
    check_meta_batch(InMetaBatch, case)


KINDS = {
    "over the batch": Centred(over_batch),
    "over batch and steps": Centred(over_batch_and_steps),
    "normalised over batch and steps": Normalised(),
}
TABLE = {
    "dilemma": "0.458 0.972 0.347 0.941 0.325 0.962",
    Case(ego="FullHistory", seed=4, batch=2): "0.730 0.685 0.920 0.425 1.157 0.334",
    Case(ego="FullHistory", seed=4, batch=4): "0.945 0.603 0.868 0.512 1.136 0.777",
    Case(ego="FullHistory", seed=4, batch=6): "1.056 0.572 0.851 0.537 1.629 0.784",
}
"""Relative bias and cosine with ∇J̄ of the three kinds: on the prisoner's dilemma (two trajectories of two episodes of
two steps), and in a random game with a remembering ego agent (two episodes of one step) for growing B.
"""


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(getattr(row, "batch", row)))
def test_how_biased_they_are(row):
    problem, policy = dilemma() if row == "dilemma" else row.build()
    truth = ce.exact.gradient(problem, policy)
    found = []
    for name, estimator in KINDS.items():
        mean = ce.exact.moments(estimator, problem, policy).mean
        found += [distance(mean, truth) / norm(truth), cosine(mean, truth)]
        if row == "dilemma":
            differs(f"{BIASED}, {name}", (1 - found[-1] ** 2) ** 0.5, 0.02)
    as_printed(IN_TABLE, found, TABLE[row].split())
