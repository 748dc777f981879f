"""One battery for every estimator: what is true of all of them, whoever wrote them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.estimators import AbstractEstimator
from coala_eqx.learners import PolicyGradient
from coala_eqx.policies import MemoryOne
from coala_eqx.verification.loading import BUILT_IN, DEFAULT_ESTIMATORS
from examples.leave_one_out import LeaveOneOut
from tests.makers import ADAM, SGD, distance, estimate, make_policy, make_problem, norm, random_game, tabulate

REGISTRY = {cls.__name__: cls for cls in (*DEFAULT_ESTIMATORS, LeaveOneOut)}
every_estimator = pytest.mark.parametrize("estimator", [cls() for cls in REGISTRY.values()], ids=list(REGISTRY))


def _as(dtype, tree):
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, tree)


@pytest.fixture
def problem(getkey):
    """Three trajectories, partial observations, a stateful optimiser."""
    return make_problem(getkey(), game=random_game(0), batch=3, episodes=2, steps=2, learner=ADAM)


@every_estimator
@pytest.mark.parametrize("kind", ["MemoryOne", "FullHistory", "GRU"])
def test_a_gradient_is_like_the_policy(estimator, kind, problem, getkey):
    policy = make_policy(kind, problem, getkey())
    gradient = estimate(estimator, problem, policy, problem.play(policy, getkey()))
    assert jax.tree.structure(gradient) == jax.tree.structure(eqx.filter(policy, eqx.is_inexact_array))
    for leaf, parameter in zip(jax.tree.leaves(gradient), jax.tree.leaves(policy), strict=True):
        assert (leaf.shape, leaf.dtype) == (parameter.shape, parameter.dtype)
        assert jnp.isfinite(leaf).all()


@every_estimator
def test_calling_is_playing_and_looking_and_traced_once(estimator, problem, getkey):
    count = 0

    class Counting(type(estimator)):
        def from_episode(self, problem, policy, episode):
            nonlocal count
            count += 1
            return super().from_episode(problem, policy, episode)

    counting = Counting()
    for _ in range(3):
        policy, key = make_policy("MemoryOne", problem, getkey()), getkey()
        gradient, info = counting(problem, policy, key)
        episode = problem.play(policy, key)
        np.testing.assert_array_equal(info.episode.actions, episode.actions)
        np.testing.assert_allclose(info.shaping_return, episode.rewards.sum() / 3, rtol=1e-12)
        assert distance(estimate(estimator, problem, policy, episode), gradient) < 1e-12
    assert count == 1


@every_estimator
def test_compiled_and_not_compiled_agree(estimator, problem, getkey):
    policy = make_policy("MemoryOne", problem, getkey())
    episode = problem.play(policy, getkey())
    compiled = estimate(estimator, problem, policy, episode)
    with jax.disable_jit():
        plain = estimator.from_episode(problem, policy, episode)
    assert distance(compiled, plain) < 1e-12


@every_estimator
def test_vmap_is_a_loop(estimator, problem, getkey):
    policy, keys = make_policy("MemoryOne", problem, getkey()), jax.random.split(getkey(), 3)
    together, _ = jax.vmap(lambda key: estimator(problem, policy, key))(keys)
    for index in range(3):
        alone = estimate(estimator, problem, policy, problem.play(policy, keys[index]))
        assert distance(jax.tree.map(lambda leaf, i=index: leaf[i], together), alone) < 1e-12


@every_estimator
def test_declared_exchangeability_is_real(estimator, problem, getkey):
    assert estimator.exchangeable
    policy = make_policy("GRU", problem, getkey())
    episode = problem.play(policy, getkey())
    order = jnp.array([2, 0, 1])
    batched, rest = eqx.partition(episode, eqx.is_array)
    shuffled = eqx.combine(jax.tree.map(lambda leaf: leaf[order], batched), rest)
    # Only what has a batch axis is permuted, not the co-players' parameters.
    shuffled = eqx.tree_at(lambda e: e.co_player_policies, shuffled, episode.co_player_policies)
    assert not np.array_equal(shuffled.actions, episode.actions)
    one, other = (estimate(estimator, problem, policy, e) for e in (episode, shuffled))
    assert distance(one, other) < 1e-12


@every_estimator
def test_float32_is_float64_to_rounding(estimator, problem, getkey):
    policy = make_policy("GRU", problem, getkey())
    episode = problem.play(policy, getkey())
    double = estimate(estimator, problem, policy, episode)
    single = estimate(estimator, *(_as(jnp.float32, x) for x in (problem, policy, episode)))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(single))
    # Some hundred operations at 6e-8 each, on numbers of comparable size; Adam divides by a square root.
    assert distance(_as(jnp.float64, single), double) < 1e-3


@every_estimator
def test_a_table_of_a_networks_logits_has_the_networks_gradient_by_the_chain_rule(estimator, problem, getkey):
    """E over the same episode: ∂/∂φ of the network = (∂ table / ∂φ)ᵀ · ∂/∂ table."""
    network = make_policy("GRU", problem, getkey())
    network = eqx.tree_at(
        lambda n: (n.read_out.value.weight, n.read_out.value.bias), network, replace_fn=jnp.zeros_like
    )  # a table has no critic
    table = tabulate(network, problem.game, 4)
    key = getkey()
    episode, same = problem.play(network, key), problem.play(table, key)
    np.testing.assert_array_equal(episode.actions, same.actions)
    np.testing.assert_allclose(episode.log_probs, same.log_probs, rtol=1e-9)
    by_table = estimate(estimator, problem, table, same)
    _, pull_back = eqx.filter_vjp(lambda n: tabulate(n, problem.game, 4).logits, network)
    (by_chain_rule,) = pull_back(by_table.logits)
    direct = estimate(estimator, problem, network, episode)
    assert distance(by_chain_rule, direct) < 1e-9


@every_estimator
def test_metadata_is_complete(estimator):
    assert estimator.unbiased_for in (None, *ce.exact.OBJECTIVES)
    assert estimator.measured_against in ce.exact.OBJECTIVES
    assert type(estimator).__doc__
    assert isinstance(estimator, AbstractEstimator)


def test_all_estimators_of_the_package_are_in_the_registry():
    public = {name for name, value in vars(ce.estimators).items() if isinstance(value, type)}
    public = {name for name in public if issubclass(getattr(ce.estimators, name), AbstractEstimator)}
    public -= {"AbstractEstimator", "AbstractScoreFunctionEstimator"}
    assert public == {cls.__name__ for cls in BUILT_IN}
    assert set(BUILT_IN) - set(DEFAULT_ESTIMATORS) == {ce.estimators.CoalaHybrid}


def test_score_functions_weigh_the_score(getkey):
    """Σ ∇ log π · C in loops, for a memory-one policy, with ∇ log softmax = one-hot − probabilities."""
    problem = make_problem(getkey(), batch=3, episodes=2, steps=2)
    policy = make_policy("MemoryOne", problem, getkey())
    episode = problem.play(policy, getkey())
    estimator = ce.estimators.CoalaPG()
    coefficients = np.asarray(estimator.coefficients(episode.rewards))
    probabilities = np.asarray(jax.nn.softmax(policy.logits))
    expected = np.zeros((5, 2))
    for index in np.ndindex(3, 2, 2):
        o, a = int(episode.observations[index]), int(episode.actions[index])
        expected[o] += (np.eye(2)[a] - probabilities[o]) * coefficients[index]
    np.testing.assert_allclose(estimator.from_episode(problem, policy, episode).logits, expected, atol=1e-12)


def test_lola_exact_is_the_slope_of_the_look_ahead(getkey):
    """Against central differences of a look-ahead written out for T = 1: expected payoffs and softmax gradients."""
    problem = make_problem(getkey(), batch=2, episodes=3, steps=1, learner=PolicyGradient(optax.sgd(0.8)))
    policy = make_policy("MemoryOne", problem, getkey())
    payoffs, (co_player,) = np.asarray(problem.game.payoffs), problem.co_players

    def softmax(x):
        return np.exp(x) / np.exp(x).sum()

    def look_ahead(row):
        ego, other = softmax(row), np.asarray(co_player.logits[0]).copy()
        for _ in range(2):
            p = softmax(other)
            value = ego @ payoffs[1]
            other = other + 0.8 * p * (value - p @ value)
        return ego @ payoffs[0] @ softmax(other)

    gradient, _ = ce.estimators.LolaExact()(problem, policy, getkey())
    row, step = np.asarray(policy.logits[0]), 1e-5
    slopes = [(look_ahead(row + step * e) - look_ahead(row - step * e)) / (2 * step) for e in np.eye(2)]
    # Central differences: h²/6 · third derivative + eps/h, both about 1e-11.
    np.testing.assert_allclose(gradient.logits[0], slopes, atol=1e-9)
    np.testing.assert_array_equal(gradient.logits[1:], 0)


def test_lola_dice_follows_its_definition_by_hand(getkey):
    """T = 1, one look-ahead, SGD: the DiCE gradient written out with scores and the softmax Hessian.

    Δψ = (α/B) Σ_b s_b r'_b with s_b = onehot − p(ψ). With magic boxes, dΔψ/dφ = (α/B) Σ_b s_b r'_b · score_φ^b, and the
    outer (1/B) Σ_b ◻ r_b gives (1/B) Σ_b r_b · (score_φ^b + (dΔψ/dφ)ᵀ score_ψ'^b), scores at the updated ψ'.
    """
    alpha, batch = 0.9, 3
    problem = make_problem(getkey(), batch=batch, episodes=2, steps=1, learner=PolicyGradient(optax.sgd(alpha)))
    policy = make_policy("MemoryOne", problem, getkey())
    episode = problem.play(policy, getkey())
    (co_player,), (seen,) = episode.co_player_policies, episode.co_players
    ego, other = np.asarray(policy.logits[0]), np.asarray(co_player.logits[0])

    def softmax(x):
        return np.exp(x) / np.exp(x).sum()

    def score(logits, action):
        return np.eye(2)[int(action)] - softmax(logits)

    first = [(score(ego, episode.actions[b, 0, 0]), score(other, seen.actions[b, 0, 0])) for b in range(batch)]
    updated = other + alpha / batch * sum(s * float(seen.rewards[b, 0, 0]) for b, (_, s) in enumerate(first))
    slope = alpha / batch * sum(np.outer(s, e) * float(seen.rewards[b, 0, 0]) for b, (e, s) in enumerate(first))
    expected = np.zeros(2)
    for b in range(batch):
        total = score(ego, episode.actions[b, 1, 0]) + slope.T @ score(updated, seen.actions[b, 1, 0])
        expected += float(episode.rewards[b, 1, 0]) * total / batch
    gradient = ce.estimators.LolaDice().from_episode(problem, policy, episode)
    np.testing.assert_allclose(gradient.logits[0], expected, atol=1e-12)


def test_lola_exact_refuses_learners_that_follow_no_gradient(getkey):
    from examples.win_stay import WinStay

    problem = make_problem(getkey(), learner=WinStay())
    policy = make_policy("MemoryOne", problem, getkey())
    with pytest.raises(ce.estimators.Inapplicable, match="LolaExact cannot be applied.*has a WinStay"):
        ce.estimators.LolaExact()(problem, policy, getkey())


class WrongShape(ce.estimators.AbstractScoreFunctionEstimator):
    def coefficients(self, rewards, values=None):
        return jnp.asarray(rewards).sum(axis=2)


def test_coefficients_of_another_shape_are_named(getkey):
    problem = make_problem(getkey())
    with pytest.raises(ValueError, match=r"WrongShape.coefficients.*\(2, 2, 2\), but returned shape \(2, 2\)"):
        WrongShape()(problem, make_policy("MemoryOne", problem, getkey()), getkey())


def test_without_learning_only_the_own_trajectory_counts(getkey):
    """Against `Static` with B = 1 the four score-function estimators are one."""
    problem = make_problem(getkey(), batch=1, episodes=3, learner=ce.learners.Static())
    policy, key = make_policy("GRU", problem, getkey()), getkey()
    reference, _ = ce.estimators.CoalaPG()(problem, policy, key)
    for cls in (ce.estimators.MFOS, ce.estimators.BatchUnaware, ce.estimators.Reinforce):
        assert distance(cls()(problem, policy, key)[0], reference) < 1e-12


def test_a_policy_without_influence_has_no_gradient(getkey):
    """Payoffs that do not depend on the ego agent: ∇J = 0, and E of every unbiased estimate is 0, too."""
    game = ce.games.MatrixGame(np.array([[[1.0, -1.0], [1.0, -1.0]], [[0.5, 0.0], [0.5, 0.0]]]))
    problem = make_problem(getkey(), game=game, steps=1, learner=SGD)
    mean, _ = ce.exact.moments(ce.estimators.CoalaPG(), problem, MemoryOne.random(game, getkey()))
    assert norm(mean) < 1e-14
