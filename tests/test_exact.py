"""Ground truth: against an enumerator of its own, against sampling, and against each other."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.estimators import CoalaPG, LolaCoala, LolaDice
from coala_eqx.estimators.advantages import next_values
from coala_eqx.learners import PolicyGradient
from coala_eqx.policies import GRU, FullHistory, MemoryOne
from tests import brute_force
from tests.makers import SGD, distance, make_policy, make_problem, norm, random_game, tabulate

RATE = 0.7
SMALL_SGD = PolicyGradient(optimiser=optax.sgd(RATE))
SIZES = [(2, 2, 1), (1, 2, 2), (3, 1, 1)]


@pytest.fixture(params=SIZES, ids=lambda s: "B{}M{}T{}".format(*s))
def case(request, getkey):
    """A problem with payoffs R+P ≠ T+S, and the same as plain arrays."""
    batch, episodes, steps = request.param
    payoffs = np.array([[[1.0, -0.5], [2.5, 0.25]], [[1.0, 2.0], [-1.0, 0.5]]])
    problem = make_problem(
        getkey(),
        game=ce.games.MatrixGame(payoffs),
        batch=batch,
        episodes=episodes,
        steps=steps,
        learner=SMALL_SGD,
    )
    policy = make_policy("MemoryOne", problem, getkey())
    plain = {
        "payoffs": payoffs,
        "co_player": np.asarray(problem.co_players[0].logits),
        "batch": batch,
        "episodes": episodes,
        "steps": steps,
        "rate": RATE,
    }
    return problem, policy, plain


def test_expected_return_is_that_of_the_independent_enumerator(case):
    problem, policy, plain = case
    ego = np.asarray(policy.logits)
    expected = brute_force.expected_return(ego=ego, **plain)
    np.testing.assert_allclose(ce.exact.expected_return(problem, policy), expected, rtol=1e-12)
    expected = brute_force.expected_return(ego=ego, last_only=True, **plain)
    actual = ce.exact.expected_return(problem, policy, "last_episode_return")
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_gradient_is_the_slope_of_the_independent_enumerator(case):
    problem, policy, plain = case
    ego, step = np.asarray(policy.logits), 1e-5
    gradient = np.asarray(ce.exact.gradient(problem, policy).logits)
    for index in [(0, 0), (0, 1), (4, 0)]:
        shift = np.zeros_like(ego)
        shift[index] = step
        slope = brute_force.expected_return(ego=ego + shift, **plain)
        slope -= brute_force.expected_return(ego=ego - shift, **plain)
        # Central differences: third derivative · h²/6 and eps/h are both about 1e-10.
        assert abs(slope / (2 * step) - gradient[index]) < 1e-8


@pytest.mark.parametrize("name", ["CoalaPG", "MFOS", "BatchUnaware", "Reinforce"])
def test_moments_are_those_of_the_independent_enumerator(name, case):
    problem, policy, plain = case
    batch, episodes = problem.batch, problem.episodes

    def coefficient(rewards):
        own = rewards[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
        totals = rewards.sum(axis=2)
        future = np.array([[totals[b, m + 1 :].sum() for m in range(episodes)] for b in range(batch)])[:, :, None]
        return {
            "CoalaPG": own / batch + future.mean(axis=0),
            "MFOS": own + future.mean(axis=0),
            "BatchUnaware": (own + future) / batch,
            "Reinforce": np.broadcast_to((own + future).mean(axis=0), own.shape),
        }[name]

    mean, variance = brute_force.moments(coefficient, ego=np.asarray(policy.logits), **plain)
    moments = ce.exact.moments(getattr(ce.estimators, name)(), problem, policy)
    np.testing.assert_allclose(moments.mean.logits, mean, atol=1e-12)
    np.testing.assert_allclose(moments.variance, variance, rtol=1e-10)


@pytest.mark.parametrize("cls", [CoalaPG, LolaDice, LolaCoala])
def test_moments_are_what_sampling_tends_to(cls, getkey):
    """Mean and variance of 40,000 sampled gradients, on a stochastic game with a random start and a population.

    Those of the other score-function estimators are held against brute force above, and LOLA exact does not vary.
    """
    game, draws = random_game(0), 40_000
    members = [MemoryOne.random(game, getkey(), player=1) for _ in range(2)]
    problem = ce.ShapingProblem(
        game=game, co_players=(ce.Population(members, [0.25, 0.75]),), learner=SGD, batch=2, episodes=2, steps=1
    )
    policy = make_policy("FullHistory", problem, getkey())
    estimator = cls()
    mean, variance = ce.exact.moments(estimator, problem, policy)
    sampled, _ = jax.lax.map(
        lambda key: estimator(problem, policy, key), jax.random.split(getkey(), draws), batch_size=4000
    )
    # The error of the sampled mean has expected square variance/draws; it exceeds 25 times that with
    # probability below 1/25 by Markov, and far below for a sum over many directions. The key is fixed.
    error = jnp.sum((sampled.logits.mean(axis=0) - mean.logits) ** 2)
    assert error < 25 * variance / draws + 1e-20
    measured = jnp.sum(sampled.logits.var(axis=0))
    np.testing.assert_allclose(measured, variance, rtol=0.1, atol=1e-20)


PROBLEMS = {
    "stochastic, random start": lambda key: make_problem(key, game=random_game(7), batch=2, episodes=2, steps=1),
    "three players": lambda key: make_problem(key, game=ce.games.public_goods(), steps=1),
    "one player": lambda key: make_problem(key, game=ce.games.MatrixGame([[1.0, -1.5, 0.5]]), steps=2),
    "momentum, M = 3": lambda key: make_problem(
        key, episodes=3, steps=1, learner=PolicyGradient(optax.sgd(1.0, momentum=0.9), discount=0.9)
    ),
    "different learners": lambda key: make_problem(
        key, game=ce.games.public_goods(), steps=1, learner=(SGD, ce.learners.Static())
    ),
}


@pytest.mark.parametrize(
    ("name", "kind"), [("three players", "FullHistory"), *((name, "MemoryOne") for name in PROBLEMS)]
)
def test_lola_exact_is_the_gradient_of_the_look_ahead(name, kind, getkey):
    problem = PROBLEMS[name](getkey())
    policy = make_policy(kind, problem, getkey())
    mean, variance = ce.exact.moments(ce.estimators.LolaExact(), problem, policy)
    assert distance(mean, ce.exact.gradient(problem, policy, "lookahead_return")) < 1e-11
    assert variance < 1e-25


def test_lola_dice_tends_to_the_look_ahead_as_one_over_the_batch(getkey):
    """The sampled update is a mean over the batch: for small steps E[LolaDice] is off by its variance, O(1/B)."""
    key, policy = getkey(), MemoryOne.random(ce.games.iterated_prisoners_dilemma(), getkey())
    scaled = []
    for batch in (2, 4, 6):
        problem = make_problem(key, batch=batch, steps=1, learner=PolicyGradient(optax.sgd(0.1)))
        mean, _ = ce.exact.moments(ce.estimators.LolaDice(), problem, policy)
        scaled.append(batch * distance(mean, ce.exact.gradient(problem, policy, "lookahead_return")))
    # The next order is O(1/B²): the products with B differ by less than that from their limit.
    assert 1e-5 < scaled[2] < 0.1
    np.testing.assert_allclose(scaled, scaled[2], rtol=0.25)


def test_a_history_table_of_a_network_has_its_return_and_gradient(getkey):
    problem = make_problem(getkey(), episodes=2, steps=2, batch=2)
    network = make_policy("GRU", problem, getkey())
    table = tabulate(network, problem.game, 4)
    np.testing.assert_allclose(
        ce.exact.expected_return(problem, table), ce.exact.expected_return(problem, network), rtol=1e-12
    )
    _, pull_back = eqx.filter_vjp(lambda n: tabulate(n, problem.game, 4).logits, network)
    (by_chain_rule,) = pull_back(ce.exact.gradient(problem, table).logits)
    assert distance(by_chain_rule, ce.exact.gradient(problem, network)) < 1e-10


def test_biased_estimators_are_biased_where_they_should_be_and_only_there(getkey):
    learning, static = (make_problem(getkey(), learner=one) for one in (SGD, ce.learners.Static()))
    alone = make_problem(getkey(), batch=1)
    policy = make_policy("FullHistory", learning, getkey())

    def bias(cls, problem):
        return distance(ce.exact.moments(cls(), problem, policy)[0], ce.exact.gradient(problem, policy))

    m_fos, unaware = ce.estimators.MFOS, ce.estimators.BatchUnaware
    assert bias(m_fos, learning) > 0.1
    assert bias(unaware, learning) > 0.01
    assert bias(m_fos, static) > 0.1
    assert bias(unaware, static) < 1e-11
    assert bias(m_fos, alone) < 1e-11
    assert bias(unaware, alone) < 1e-11


def test_episode_returns_are_those_of_one_inner_episode(getkey):
    """The tree of histories against the enumeration of outcomes, for policies with memory."""
    game = random_game(9)
    policies = (GRU(2, 2, width=3, head_scale=2.0, key=getkey()), GRU(2, 3, width=3, head_scale=2.0, key=getkey()))
    problem = ce.ShapingProblem(
        game=game, co_players=policies[1:], learner=ce.learners.Static(), batch=1, episodes=1, steps=2
    )
    by_tree = ce.exact.episode_returns(game, policies, 2)
    np.testing.assert_allclose(by_tree[0], ce.exact.expected_return(problem, policies[0]), rtol=1e-12)
    by_outcomes = ce.exact.expectation(lambda p, q, e: e.co_players[0].rewards.sum(), problem, policies[0])
    np.testing.assert_allclose(by_tree[1], by_outcomes, rtol=1e-12)
    discounted = ce.exact.expectation(lambda p, q, e: (e.rewards * 0.5 ** jnp.arange(2)).sum(), problem, policies[0])
    np.testing.assert_allclose(ce.exact.episode_returns(game, policies, 2, 0.5)[0], discounted, rtol=1e-12)
    assert norm(by_tree) > 0


def test_the_look_ahead_heeds_the_scale_and_the_discount_of_the_rewards(getkey):
    """A learner that scales its rewards by 0.05 is one with a step size of 0.05."""
    scaled = make_problem(getkey(), learner=PolicyGradient(optax.sgd(2.0), reward_scale=0.05, discount=0.9))
    slow = eqx.tree_at(lambda p: p.learner, scaled, PolicyGradient(optax.sgd(0.1), discount=0.9))
    undiscounted = eqx.tree_at(lambda p: p.learner, scaled, PolicyGradient(optax.sgd(0.1)))
    policy = make_policy("MemoryOne", scaled, getkey())
    one, two, three = (ce.exact.gradient(p, policy, "lookahead_return") for p in (scaled, slow, undiscounted))
    assert distance(one, two) < 1e-12
    assert distance(one, three) > 1e-6
    for problem, exact in ((scaled, one), (slow, two)):
        mean, _ = ce.exact.moments(ce.estimators.LolaExact(), problem, policy)
        assert distance(mean, exact) < 1e-12


def test_the_exact_critic_expects_what_is_to_come(getkey):
    """At the root that is J̄; and one step of looking ahead from there gives the same."""
    problem = make_problem(getkey(), steps=1)
    policy = FullHistory.random(problem.game, 2, getkey())
    with_critic = ce.exact.exact_critic(problem, policy, ce.exact.own_return)
    np.testing.assert_allclose(with_critic.critic[0], ce.exact.expected_return(problem, policy), rtol=1e-13)
    ahead = ce.exact.exact_critic(problem, with_critic, lambda rewards, values: rewards + next_values(values))
    np.testing.assert_allclose(ahead.critic, with_critic.critic, atol=1e-14)
    np.testing.assert_array_equal(with_critic.logits, policy.logits)
