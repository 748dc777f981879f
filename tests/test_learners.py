"""Learners: what they ascend, what they carry along, and bad input."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from coala_eqx.learners import AbstractLearner, Experience, PolicyGradient, Static, clip_by_global_norm
from coala_eqx.policies import GRU, MemoryOne
from tests.makers import make_policy, make_problem

BATCH, STEPS = 3, 4


def _experience(key):
    keys = jax.random.split(key, 3)
    shape = (BATCH, STEPS)
    return Experience(
        observations=jax.random.randint(keys[0], shape, 0, 5),
        actions=jax.random.randint(keys[1], shape, 0, 2),
        rewards=jax.random.normal(keys[2], shape),
    )


def _by_hand(logits, experience, weigh):
    """(1/B) Σ_b Σ_t ∇ log π(a|o) · A in loops; ∇ log softmax = one-hot − probabilities."""
    gradient = np.zeros_like(logits)
    advantages = weigh(np.asarray(experience.rewards))
    for b in range(BATCH):
        for t in range(STEPS):
            o, a = int(experience.observations[b, t]), int(experience.actions[b, t])
            probabilities = np.exp(logits[o]) / np.exp(logits[o]).sum()
            gradient[o] += (np.eye(2)[a] - probabilities) * advantages[b, t] / BATCH
    return gradient


def _reward_to_go(rewards, discount=1.0):
    return np.array(
        [[sum(discount ** (k - t) * row[k] for k in range(t, STEPS)) for t in range(STEPS)] for row in rewards]
    )


def _normalised(advantages):
    return (advantages - advantages.mean()) / advantages.std()


@pytest.mark.parametrize(
    ("settings", "weigh"),
    [
        ({}, _reward_to_go),
        ({"discount": 0.8}, lambda r: _reward_to_go(r, 0.8)),
        ({"reward_scale": 0.05}, lambda r: 0.05 * _reward_to_go(r)),
        ({"baseline": "batch_mean"}, lambda r: _reward_to_go(r) - _reward_to_go(r).mean(axis=0)),
        ({"normalise_advantages": True}, lambda r: _normalised(_reward_to_go(r))),
        ({"normalise_advantages": True, "discount": 0.5}, lambda r: _normalised(_reward_to_go(r, 0.5))),
    ],
    ids=["plain", "discount", "reward_scale", "batch_mean", "normalised", "normalised and discounted"],
)
def test_one_step_of_sgd_is_the_gradient_by_hand(settings, weigh, getkey):
    learner = PolicyGradient(optimiser=optax.sgd(0.7), **settings)
    policy, experience = MemoryOne(jax.random.normal(getkey(), (5, 2))), _experience(getkey())
    updated, _ = learner.update(policy, learner.init(policy), experience)
    expected = policy.logits + 0.7 * _by_hand(np.asarray(policy.logits), experience, weigh)
    np.testing.assert_allclose(updated.logits, expected, atol=1e-12)


def test_the_critic_is_the_baseline_and_learns_the_returns(getkey):
    """With a frozen actor part the critic's loss falls; the actor's gradient uses returns minus values."""
    policy, experience = GRU(5, 2, width=4, key=getkey()), _experience(getkey())
    learner = PolicyGradient(optimiser=optax.sgd(0.05), baseline="critic")
    returns = _reward_to_go(np.asarray(experience.rewards))

    def values_and_log_probs(policy):
        _, output = jax.vmap(lambda o: policy.unroll(policy.initial_memory(), o, jnp.zeros_like(o)))(
            experience.observations
        )
        log_probs = jax.nn.log_softmax(output.logits)
        return output.values, jnp.take_along_axis(log_probs, experience.actions[..., None], axis=2)[..., 0]

    values, _ = values_and_log_probs(policy)

    def objective(policy):
        new_values, log_probs = values_and_log_probs(policy)
        actor = (log_probs * (returns - values)).sum() / BATCH
        return actor - 0.5 * ((new_values - returns) ** 2).sum() / BATCH

    expected = eqx.apply_updates(policy, jax.tree.map(lambda g: 0.05 * g, eqx.filter_grad(objective)(policy)))
    updated, _ = learner.update(policy, learner.init(policy), experience)
    for one, other in zip(jax.tree.leaves(updated), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_the_optimiser_state_lasts(getkey):
    """Two steps of momentum 0.9 from the same gradient are 1 + 1.9 steps."""
    learner = PolicyGradient(optimiser=optax.sgd(1.0, momentum=0.9))
    policy = MemoryOne(np.zeros((1, 2)))
    # One action only, ever: the same probabilities give the same gradient if the logits do not move.
    gradient = MemoryOne(np.array([[0.25, -0.25]]))
    once, state = learner.ascend(policy, learner.init(policy), gradient)
    twice, _ = learner.ascend(once, state, gradient)
    np.testing.assert_allclose(twice.logits, 2.9 * gradient.logits, rtol=1e-12)


def test_a_gradient_can_be_taken_through_an_update_even_where_advantages_vanish(getkey):
    learner = PolicyGradient(optimiser=optax.adam(0.1, eps_root=1e-8), normalise_advantages=True)
    policy, experience = MemoryOne(np.zeros((5, 2))), _experience(getkey())

    def after(rewards):
        experienced = Experience(experience.observations, experience.actions, rewards)
        return learner.update(policy, learner.init(policy), experienced)[0].logits.sum(axis=0)[0]

    assert jnp.isfinite(jax.grad(after)(jnp.zeros((BATCH, STEPS)))).all()


def test_static_stays(getkey):
    policy = MemoryOne(np.zeros((5, 2)))
    assert Static().update(policy, None, _experience(getkey())) == (policy, None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"discount": 1.5}, "`discount` must lie between 0 and 1, but is 1.5"),
        ({"baseline": "mean"}, "`baseline` must be None.*but is 'mean'"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        PolicyGradient(optimiser=optax.sgd(1.0), **settings)


class _Reshaping(AbstractLearner):
    def init(self, policy, key):
        return jnp.zeros(())

    def update(self, policy, state, experience, key):
        return MemoryOne(policy.logits[:1]), state


class _Forgetful(AbstractLearner):
    def init(self, policy, key):
        return jnp.zeros(())

    def update(self, policy, state, experience, key):
        return policy


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        (_Reshaping(), r"_Reshaping.update must return a policy with.*float64\[5, 2\].*float64\[1, 2\]"),
        (_Forgetful(), r"_Forgetful.update must return \(policy, state\)"),
    ],
)
def test_a_learner_that_breaks_its_contract_is_named(learner, message, getkey):
    problem = make_problem(getkey(), learner=learner)
    with pytest.raises(ValueError, match=message):
        problem.play(make_policy("MemoryOne", problem, getkey()), getkey())


def test_equal_advantages_stay_near_zero_in_float32(getkey):
    """Rounding of equal returns must not be blown up to advantages of size one."""
    learner = PolicyGradient(optimiser=optax.sgd(1.0), normalise_advantages=True)
    for batch in (3, 7, 11, 100):
        policy = MemoryOne(np.zeros((5, 2)))
        policy = eqx.tree_at(lambda p: p.logits, policy, policy.logits.astype(jnp.float32))
        zeros = jnp.zeros((batch, 1), dtype=int)
        experience = Experience(zeros, zeros, jnp.full((batch, 1), 0.1, dtype=jnp.float32))
        updated, _ = learner.update(policy, learner.init(policy), experience)
        # A rounding error of 6e-8 over the floor of the deviation, sqrt(1.2e-7) = 3.5e-4, each relative to 0.1.
        assert jnp.abs(updated.logits).max() < 1e-3


class _Counting(AbstractLearner):
    """Its state is a plain number, the count of updates; it acts only after the second."""

    def init(self, policy, key):
        return 0

    def update(self, policy, state, experience, key):
        logits = jnp.where(state >= 1, policy.logits + 5.0 * jnp.array([1.0, 0.0]), policy.logits)
        return MemoryOne(logits), state + 1


def test_a_plain_number_as_state_is_carried_along(getkey):
    problem = make_problem(getkey(), episodes=3, steps=1, learner=_Counting(), batch=1)
    policy = make_policy("MemoryOne", problem, getkey())

    def cooperation(problem, policy, episode):
        return 1.0 - episode.co_players[0].actions[0, :, 0]

    import coala_eqx as ce

    first, second, third = ce.exact.expectation(cooperation, problem, policy)
    np.testing.assert_allclose(first, second, rtol=1e-12)
    odds = third / (1 - third) / (first / (1 - first))
    np.testing.assert_allclose(odds, np.exp(5.0), rtol=1e-9)


def test_clipping_is_as_optaxs_and_has_a_derivative_at_zero():
    ours, theirs = clip_by_global_norm(0.5), optax.clip_by_global_norm(0.5)

    def clipped(by, scale):
        gradient = {"a": scale * jnp.array([3.0, -4.0]), "b": scale * jnp.array(12.0)}
        return by.update(gradient, by.init(gradient))[0]

    for scale in (1.0, 0.04, 0.01):  # long, just longer than 0.5, short
        jax.tree.map(np.testing.assert_allclose, clipped(ours, scale), clipped(theirs, scale))
        found, expected = (jax.jacobian(lambda x, by=by: clipped(by, x))(scale) for by in (ours, theirs))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-12), found, expected)
    assert not np.isfinite(jax.jacobian(lambda x: clipped(theirs, x))(0.0)["a"]).all()
    np.testing.assert_array_equal(jax.jacobian(lambda x: clipped(ours, x))(0.0)["a"], [3, -4])
    with pytest.raises(ValueError, match="`norm` must be a positive number, but is 0"):
        clip_by_global_norm(0.0)
