"""Centring and normalising advantages: over what it keeps COALA-PG unbiased, and over what it does not.

**Claims**, for the advantages of one meta-episode (B trajectories that share a co-player), L = M·T steps, without a
critic:

1. Centring over the batch, C_l^b − mean_{b'} C_l^{b'}, removes the signal through the co-player's learning
   altogether: E[ĝ] = (1 − 1/B) · current, the current-episode part of ∇J̄. The future term of C is the same for all
   trajectories and cancels.
2. Centring over batch and steps, C_l^b − c̄ with c̄ = mean_{b,k} C_k^b, has the bias −Σ_b Σ_l ∂E[c̄]/∂φ_{l,b} =
   −∇E[c̄].
3. Dividing by the standard deviation over batch and steps as well is biased, too; it has no closed form, but a
   measured size.
4. Centring the CURRENT part over the other trajectories (leave-one-out), (own_l^b − mean_{b'≠b} own_l^{b'})/B + fut,
   is unbiased.
5. Centring at each (b, l) over other, independent meta-episodes is unbiased. If the average over B̄ meta-episodes
   includes the own one, E[ĝ] = (1 − 1/B̄)·∇J̄: shorter, in the same direction. One mean over meta-batch, batch and
   steps leaves 1/B̄ of the bias under 2.

**Why.** What is subtracted from C_l^b may be anything that does not depend on a_l^b, given the past. The current
rewards of other trajectories, and other meta-episodes, do not. C_l^b itself does, and so does everything later in the
same meta-episode, through the co-player's update. E[score · x] = ∂E[x]/∂φ says by how much.

**Drawn at random.** As for Theorem 3.1, with learners that do not care for the order of the trajectories.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, note
from jaxtyping import Array

import coala_eqx as ce
from coala_eqx.estimators import AbstractEstimator, CoalaPG
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, replay_ego
from proofs_checks.common.cases import EXCHANGEABLE, Case, cases, examples
from proofs_checks.common.expected import check_expectation
from proofs_checks.common.influence import Influence, Steps, weigh
from proofs_checks.common.ledger import differs
from proofs_checks.common.trees import add, cosine, scale, subtract
from proofs_checks.common.unbiased import check_unbiased
from proofs_checks.discounting import dilemma

BATCH = "Normalisation: centred over the batch, E[ĝ] = (1 − 1/B) · current part (relative)"
MINIBATCH = "Normalisation: centred over batch and steps, bias = −∇E[mean] (relative)"
LEAVE_ONE_OUT = "Normalisation: current part centred over the other trajectories is unbiased (relative)"
META_BATCH = "Normalisation: centred at each step over B̄ meta-episodes, E[ĝ] = (1 − 1/B̄)·∇J̄ (relative)"
ONE_MEAN = "Normalisation: centred by one mean over B̄ meta-episodes, 1/B̄ of the bias of one (relative)"
OTHERS = "Normalisation: centred over other meta-episodes is unbiased (relative)"
BIASED = "Normalisation: relative bias, prisoner's dilemma, B = 2"


class Centred(AbstractScoreFunctionEstimator):
    """COALA-PG's coefficients minus a baseline that is made of them."""

    baseline: Callable[[Array], Array]

    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards: Any, values: Any = None) -> Array:
        own = CoalaPG().coefficients(rewards, values)
        return own - self.baseline(own)


def over_batch(coefficients: Array) -> Array:
    """The mean over trajectories, step by step."""
    return coefficients.mean(axis=0, keepdims=True)


def over_batch_and_steps(coefficients: Array) -> Array:
    """One mean."""
    return coefficients.mean()


class Normalised(AbstractScoreFunctionEstimator):
    """COALA-PG's coefficients, shifted and scaled to mean 0 and standard deviation 1 over batch and steps."""

    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards: Any, values: Any = None) -> Array:
        centred = (own := CoalaPG().coefficients(rewards, values)) - own.mean()
        return centred / jnp.sqrt((centred**2).mean() + 1e-6)


class LeaveOneOut(AbstractScoreFunctionEstimator):
    """The current part centred over the other trajectories of the batch."""

    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards: Any, values: Any = None) -> Array:
        current = jnp.cumsum(rewards[..., ::-1], axis=2)[..., ::-1]
        others = (current.sum(axis=0) - current) / max(1, len(rewards) - 1)
        return CoalaPG().coefficients(rewards, values) - others / len(rewards)


class InMetaBatch(AbstractEstimator):
    """COALA-PG, centred together with a second meta-episode, over which the expectation is taken by enumeration."""

    baseline: Callable[[Array], Array]
    """Of the coefficients of both, `[2, batch, episodes, steps]`, those of the first meta-episode first."""

    def from_episode(self, problem: ce.ShapingProblem, policy: AbstractPolicy, episode: MetaEpisode) -> Any:
        own = CoalaPG().coefficients(episode.rewards)

        def centred(problem: ce.ShapingProblem, policy: AbstractPolicy, other: MetaEpisode) -> Array:
            return own - self.baseline(jnp.stack([own, CoalaPG().coefficients(other.rewards)]))

        coefficients = ce.exact.expectation(centred, problem, policy)

        def surrogate(policy: AbstractPolicy) -> Array:
            return jnp.sum(replay_ego(policy, episode.observations, episode.actions)[0] * coefficients)

        return eqx.filter_grad(surrogate)(policy)


def of_the_other(both: Array) -> Array:
    """Step by step and trajectory by trajectory: the other meta-episode's."""
    return both[1]


def of_both(both: Array) -> Array:
    """The same, averaged over the meta-batch."""
    return both.mean(axis=0)


def of_everything(both: Array) -> Array:
    """One mean over meta-batch, batch and steps."""
    return both.mean()


def check_over_batch(estimator: AbstractScoreFunctionEstimator, case: Case) -> None:
    """E[ĝ] = (1 − 1/B) · current."""

    def formula(truth: Any, influence: Influence, steps: Steps) -> Any:
        current = weigh(influence, case.batch, steps.current / case.batch, 0 * steps.current)
        return scale(1 - 1 / case.batch, current)

    check_expectation(BATCH, estimator, case, formula)


def check_over_batch_and_steps(estimator: AbstractScoreFunctionEstimator, case: Case) -> None:
    """The bias is −∇E[c̄]; in c̄ each reward counts once for every coefficient that it is part of, over B²·L."""

    def formula(truth: Any, influence: Influence, steps: Steps) -> Any:
        times = steps.current.sum(axis=0) + case.batch * steps.future.sum(axis=0)
        every = np.ones_like(steps.distance) * times / (case.batch**2 * len(times))
        return subtract(truth, weigh(influence, case.batch, every, every))

    check_expectation(MINIBATCH, estimator, case, formula)


def check_meta_batch(estimator: AbstractEstimator, claim: str, share: float, of_mean: float, case: Case) -> None:
    """E[ĝ] = share · ∇J̄ + of_mean · (what centring over batch and steps of one meta-episode would add)."""
    problem, policy = case.build()
    alone = ce.exact.moments(Centred(over_batch_and_steps), problem, policy).mean

    def formula(truth: Any, influence: Influence, steps: Steps) -> Any:
        return add(scale(share, truth), scale(of_mean, subtract(alone, truth)))

    check_expectation(claim, estimator, case, formula)


@given(case=cases(cover=("normalised", "three players"), limit=100_000, learner=EXCHANGEABLE))
@examples(ci=4, deep=100)
def test_centring_over_the_batch_removes_the_signal(case):
    note(case.describe())
    check_over_batch(Centred(over_batch), case)


@given(case=cases(cover=("normalised", "three players"), limit=100_000, learner=EXCHANGEABLE))
@examples(ci=4, deep=100)
def test_centring_over_batch_and_steps(case):
    note(case.describe())
    check_over_batch_and_steps(Centred(over_batch_and_steps), case)


@given(case=cases(cover=("normalised", "three players"), limit=300_000, learner=EXCHANGEABLE))
@examples(ci=4, deep=100)
def test_what_is_unbiased(case):
    note(case.describe())
    problem, policy = case.build()
    check_unbiased(LEAVE_ONE_OUT, LeaveOneOut(), problem, policy, objective="shaping_return")


@given(seed=st.integers(0, 10_000))
@examples(ci=3, deep=50)
def test_centring_over_meta_episodes(seed):
    """Two of them, each with two trajectories of two one-step episodes: 256 · 256 outcomes."""
    case = Case(seed=seed)
    note(case.describe())
    check_meta_batch(InMetaBatch(of_the_other), OTHERS, 1, 0, case)
    check_meta_batch(InMetaBatch(of_both), META_BATCH, 1 / 2, 0, case)
    check_meta_batch(InMetaBatch(of_everything), ONE_MEAN, 1, 1 / 2, case)


@pytest.mark.parametrize("kind", ["batch", "batch and steps", "normalised"])
def test_how_biased_they_are(kind):
    """On the prisoner's dilemma, two trajectories of two episodes of two steps: relative bias, and cosine with ∇J̄.

    | over the batch | over batch and steps | normalised over batch and steps |
    | --- | --- | --- |
    | 0.458, 0.972 | 0.347, 0.941 | 0.325, 0.962 |

    On a random game (seed 4 of the first case, with a remembering ego; M = 2, T = 1), for growing B:

    | B | over the batch | over batch and steps | normalised |
    | --- | --- | --- | --- |
    | 2 | 0.730, 0.685 | 0.920, 0.425 | 1.157, 0.334 |
    | 4 | 0.945, 0.604 | 0.868, 0.513 | 1.136, 0.777 |
    | 6 | 1.056, 0.572 | 0.851, 0.537 | 1.629, 0.784 |
    """
    problem, policy = dilemma()
    truth = ce.exact.gradient(problem, policy)
    estimator = {
        "batch": Centred(over_batch),
        "batch and steps": Centred(over_batch_and_steps),
        "normalised": Normalised(),
    }[kind]
    mean = ce.exact.moments(estimator, problem, policy).mean
    differs(f"{BIASED}, {kind}", _least_bias(mean, truth), 0.02)


def _least_bias(mean: Any, truth: Any) -> float:
    """The relative bias after the best rescaling, √(1 − cos²): what no learning rate can mend."""
    return float(np.sqrt(1 - cosine(mean, truth) ** 2))
