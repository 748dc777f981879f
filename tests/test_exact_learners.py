"""Learners that climb their exact return, in steps and in continuous time, and the closed-form shaping problem."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx.benchmarks.shaping import shaping_gradients, straightforward_gradients
from coala_eqx.learners import ExactAscent, GradientFlow
from coala_eqx.policies import BinaryMemoryOne, MemoryOne

DILEMMA = ce.games.iterated_prisoners_dilemma().payoffs
ADJOINTS = (diffrax.RecursiveCheckpointAdjoint(), diffrax.DirectAdjoint(), diffrax.BacksolveAdjoint())


def _policy(seed):
    return BinaryMemoryOne(jax.random.normal(jax.random.key(seed), (5,)))


class Pulled(eqx.Module):
    """−strength·(ψ − target)²/2 is climbed: ψ(t) = target + (ψ(0) − target)·exp(−strength·t). Collected is ψ."""

    strength: jax.Array

    def __call__(self, policy, target):
        gap = policy.logits - target
        return -self.strength * jnp.sum(gap**2) / 2, jnp.sum(policy.logits)


@pytest.mark.parametrize("adjoint", ADJOINTS, ids=lambda adjoint: type(adjoint).__name__)
def test_a_flow_and_its_derivatives_are_those_of_the_solution(adjoint):
    """∫ψ dt = target·T + (ψ(0) − target)·(1 − e^{−sT})/s, and its derivatives in ψ(0), the target and s."""
    duration, tolerance = 2.0, 1e-10
    learner = GradientFlow(duration=duration, tolerance=tolerance, adjoint=adjoint, points=5)

    def solved(start, target, strength):
        return learner.learn(Pulled(strength), BinaryMemoryOne(start[None]), target)

    def expected(start, target, strength):
        return target * duration + (start - target) * (1 - jnp.exp(-strength * duration)) / strength

    at = (jnp.asarray(1.3), jnp.asarray(-0.4), jnp.asarray(0.7))
    path = solved(*at)
    exact = at[1] + (at[0] - at[1]) * np.exp(-0.7 * np.linspace(0, duration, 5))
    # A hundred times the tolerance of one step: some dozen steps, and an interpolation of fourth order between them.
    np.testing.assert_allclose(path.policies.logits[:, 0], exact, atol=100 * tolerance)
    np.testing.assert_allclose(path.collected, expected(*at), atol=100 * tolerance)
    gradients = jax.grad(lambda *at: solved(*at).collected, argnums=(0, 1, 2))(*at)
    np.testing.assert_allclose(gradients, jax.grad(expected, argnums=(0, 1, 2))(*at), atol=100 * tolerance)
    assert path.finite
    np.testing.assert_allclose(path.own[0], -0.7 * 1.7**2 / 2, rtol=1e-12)


@pytest.mark.parametrize("adjoint", ADJOINTS, ids=lambda adjoint: type(adjoint).__name__)
def test_the_shaping_gradient_of_a_flow_agrees_with_finite_differences(adjoint):
    """Central differences with h = 1e-4: an error of h² times a third derivative, and 1e-11/h from the tolerance."""
    problem = ce.IteratedShapingProblem(
        DILEMMA, learner=GradientFlow(duration=20.0, tolerance=1e-11, adjoint=adjoint, points=2)
    )
    policy, naive = _policy(0), _policy(1)
    value = eqx.filter_jit(lambda policy: problem.shaping_return(policy, naive))
    gradient = eqx.filter_grad(value)(policy).logits
    step, differences = 1e-4, []
    for direction in np.eye(5):
        ahead, behind = (eqx.tree_at(lambda p: p.logits, policy, policy.logits + s * step * direction) for s in (1, -1))
        differences.append((value(ahead) - value(behind)) / (2 * step))
    np.testing.assert_allclose(gradient, differences, atol=2e-6)


def test_exact_ascent_climbs_its_own_return():
    """Step by step, with the gradient of the closed form taken here."""
    problem = ce.IteratedShapingProblem(DILEMMA, learner=ExactAscent(rate=3.0, steps=4))
    policy, naive = _policy(2), _policy(3)
    path = problem.learn(policy, naive)
    np.testing.assert_array_equal(path.policies.logits[0], naive.logits)
    for step in range(4):
        before, after = (eqx.tree_at(lambda p: p.logits, naive, path.policies.logits[i]) for i in (step, step + 1))
        own = jax.grad(lambda logits: ce.exact.discounted_returns(policy, BinaryMemoryOne(logits), DILEMMA, 0.95)[1])
        np.testing.assert_allclose(after.logits, before.logits + 3.0 * own(before.logits), rtol=1e-12)
        np.testing.assert_allclose(problem.returns(policy, before), [path.other[step], path.own[step]], rtol=1e-12)
    np.testing.assert_allclose(path.collected, path.other.sum(), rtol=1e-12)
    np.testing.assert_allclose(problem.lookahead_return(policy, naive), path.other[-1], rtol=1e-12)
    np.testing.assert_array_equal(path.times, [0, 3, 6, 9, 12])


def test_no_step_is_no_learning():
    problem = ce.IteratedShapingProblem(DILEMMA, learner=ExactAscent(steps=0))
    policy, naive = _policy(4), _policy(5)
    np.testing.assert_allclose(problem.shaping_return(policy, naive), problem.returns(policy, naive)[0], rtol=1e-12)


def test_the_mirrored_game_exchanges_the_players():
    payoffs = np.random.default_rng(0).normal(size=(2, 2, 2))
    problem = ce.IteratedShapingProblem(payoffs, 0.8)
    first, second = _policy(6), _policy(7)
    np.testing.assert_allclose(
        problem.returns(first, second), problem.mirrored().returns(second, first)[::-1], rtol=1e-12
    )


def test_a_single_logit_is_the_difference_of_two():
    logits = np.linspace(-2, 2, 5)
    two = MemoryOne(np.stack([logits, 0 * logits], axis=1))
    one = BinaryMemoryOne(logits)
    ours, theirs = (ce.exact.discounted_returns(policy, _policy(8), DILEMMA, 0.9) for policy in (one, two))
    np.testing.assert_array_equal(ours, theirs)
    assert (one.num_observations, one.num_actions) == (5, 2)
    observations = jnp.arange(5)
    np.testing.assert_array_equal(*(p.unroll(None, observations, observations)[1].logits for p in (one, two)))


def test_the_benchmark_compares_two_ways_to_the_same_gradient():
    problem = ce.IteratedShapingProblem(DILEMMA, 0.9, learner=ExactAscent(rate=2.0, steps=3))
    policy, naive = jax.random.normal(jax.random.key(0), (5,)), jax.random.normal(jax.random.key(1), (1, 5))
    ours, theirs = (way(problem, policy, naive) for way in (shaping_gradients, straightforward_gradients))
    # Some thousand operations on numbers below 10, in systems of a condition below 2/(1 − discount) = 20.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2**-52 * 10 * 20 * 1000)


@pytest.mark.parametrize("learner", [ExactAscent(rate=1.0, steps=3), GradientFlow(duration=3.0, points=4)])
def test_a_learner_that_diverges_is_flagged_and_its_neighbours_are_kept(learner):
    problem = ce.IteratedShapingProblem(DILEMMA, learner=learner)
    starts = eqx.tree_at(lambda p: p.logits, _policy(9), jnp.stack([jnp.full(5, jnp.nan), jnp.zeros(5)]))
    path = jax.vmap(lambda start: problem.learn(_policy(10), start))(starts)
    np.testing.assert_array_equal(path.finite, [False, True])
    assert np.isfinite(path.other[1]).all()


def test_a_flow_that_needs_too_many_steps_is_flagged():
    problem = ce.IteratedShapingProblem(DILEMMA, learner=GradientFlow(tolerance=1e-12, max_steps=3))
    assert not problem.learn(_policy(11), _policy(12)).finite


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExactAscent(steps=-1), "`steps` must be at least 0, but is -1"),
        (lambda: ExactAscent(rate=-0.5), "`rate` must not be negative, but is -0.5"),
        (lambda: GradientFlow(duration=-1.0), "`duration` must not be negative, but is -1.0"),
        (lambda: GradientFlow(points=1), "`points` must be at least 2"),
        (lambda: GradientFlow(tolerance=0.0), "`tolerance` must be positive, but is 0.0"),
        (lambda: ce.IteratedShapingProblem(DILEMMA, 1.0), r"`discount` must lie in \[0, 1\), but is 1.0"),
        (lambda: ce.IteratedShapingProblem(DILEMMA[0]), r"`payoffs` must have shape \[2, A_1, A_2\]"),
        (lambda: BinaryMemoryOne(np.zeros((5, 2))), r"`logits` must have shape \[observations\]"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
