"""Exact values: against an independent enumerator, finite differences, sampling; counting, limits, guards."""

import subprocess
import sys
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.exact.batches import count_batches, enumerate_batches
from coala_eqx.exact.outcomes import count_inner_outcomes, list_inner_outcomes
from coala_eqx.learners import AbstractLearner, PolicyGradient
from coala_eqx.policies import GRU, FullHistory, MemoryOne
from coala_eqx.verification.loading import DEFAULT_ESTIMATORS
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


@pytest.mark.parametrize("cls", DEFAULT_ESTIMATORS, ids=lambda cls: cls.__name__)
def test_moments_are_what_sampling_tends_to(cls, getkey):
    """Mean and variance of 40,000 sampled gradients, on a stochastic game with a random start and a population."""
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
    "stochastic, two steps": lambda key: make_problem(key, game=random_game(8, states=2, actions=(2, 2)), batch=1),
    "three players": lambda key: make_problem(key, game=ce.games.public_goods(), steps=1),
    "unequal actions": lambda key: make_problem(
        key, game=ce.games.MatrixGame(jax.random.normal(key, (2, 2, 3))), steps=1, batch=3
    ),
    "one player": lambda key: make_problem(key, game=ce.games.MatrixGame([[1.0, -1.5, 0.5]]), steps=2),
    "momentum, M = 3": lambda key: make_problem(
        key, episodes=3, steps=1, learner=PolicyGradient(optax.sgd(1.0, momentum=0.9), discount=0.9)
    ),
    "normalised advantages": lambda key: make_problem(
        key, learner=PolicyGradient(optax.adam(0.5), normalise_advantages=True, baseline="batch_mean")
    ),
    "different learners": lambda key: make_problem(
        key, game=ce.games.public_goods(), steps=1, learner=(SGD, ce.learners.Static())
    ),
}


@pytest.mark.parametrize("kind", ["MemoryOne", "FullHistory", "GRU"])
@pytest.mark.parametrize("make", PROBLEMS.values(), ids=list(PROBLEMS))
def test_what_claims_to_be_unbiased_is(make, kind, getkey):
    """Theorem 3.1 and Eq. 24, on problems that `verify` does not use; the GRU has a critic, which must not matter."""
    problem = make(getkey())
    policy = make_policy(kind, problem, getkey())
    exact = {o: ce.exact.gradient(problem, policy, o) for o in ("shaping_return", "last_episode_return")}
    for cls in (ce.estimators.CoalaPG, ce.estimators.Reinforce, ce.estimators.LolaCoala):
        mean, _ = ce.exact.moments(cls(), problem, policy)
        # Rounding of sums of up to 1e5 terms, pairwise; the issue asks for 1e-9.
        assert distance(mean, exact[cls.unbiased_for]) < 1e-10, cls


@pytest.mark.parametrize("kind", ["MemoryOne", "FullHistory"])
@pytest.mark.parametrize(
    "name", ["stochastic, random start", "three players", "momentum, M = 3", "one player", "different learners"]
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


def test_variance_of_the_bandit_counterexample(getkey):
    """T = M = 1, B = 2, P = (.9, .1), r = (1, −1.5): 0.0703 for COALA-PG and 0.0619 for REINFORCE, per logit.

    Derivation for one logit, score s ∈ {.1, −.9}: COALA's ĝ is the mean of two independent s·r, so its variance is
    Var(s·r)/2 = (.9·.01 + .1·1.8225 − .225²)/2 = .0703125. Two logits of a softmax have twice that.
    """
    problem = make_problem(getkey(), game=ce.games.MatrixGame([[1.0, -1.5]]), episodes=1, steps=1)
    policy = MemoryOne(np.log([[0.9, 0.1]] * 3))
    _, coala = ce.exact.moments(ce.estimators.CoalaPG(), problem, policy)
    _, reinforce = ce.exact.moments(ce.estimators.Reinforce(), problem, policy)
    np.testing.assert_allclose([coala / 2, reinforce / 2], [0.0703125, 0.061875], rtol=1e-12)


class Ordered(AbstractLearner):
    """Learns from the first trajectory only; says truly that the order matters."""

    def init(self, policy):
        return None

    def update(self, policy, state, experience):
        first = jax.tree.map(lambda leaf: leaf[:1], experience)
        return SGD.update(policy, SGD.init(policy), first)[0], None


class Liar(Ordered):
    """The same; says that it does not."""

    exchangeable: ClassVar[bool] = True


def test_unordered_batches_give_what_all_ordered_ones_give(getkey):
    class AllOrders(ce.estimators.CoalaPG):
        exchangeable: ClassVar[bool] = False

    problem = make_problem(getkey(), batch=3, episodes=2, steps=1)
    policy = make_policy("FullHistory", problem, getkey())
    assert ce.exact.count_outcomes(problem, exchangeable=False) == 4**6
    assert ce.exact.count_outcomes(problem) == 816
    few, many = (ce.exact.moments(e, problem, policy) for e in (ce.estimators.CoalaPG(), AllOrders()))
    assert distance(few.mean, many.mean) < 1e-11
    np.testing.assert_allclose(few.variance, many.variance, rtol=1e-12)


def test_a_learner_that_heeds_the_order_is_enumerated_in_full(getkey):
    problem = make_problem(getkey(), steps=1, learner=Ordered())
    policy = make_policy("FullHistory", problem, getkey())
    assert ce.exact.count_outcomes(problem) == 16**2
    mean, _ = ce.exact.moments(ce.estimators.CoalaPG(), problem, policy)
    assert distance(mean, ce.exact.gradient(problem, policy)) < 1e-11


def test_a_learner_that_heeds_the_order_secretly_is_caught(getkey):
    problem = make_problem(getkey(), steps=1, learner=Liar())
    policy = make_policy("FullHistory", problem, getkey())
    with pytest.raises(ValueError, match="Liar is declared exchangeable, but the result changes"):
        ce.exact.gradient(problem, policy)


class SecretlyOrdered(ce.estimators.AbstractScoreFunctionEstimator):
    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards, values=None):
        return jnp.asarray(rewards).at[1:].set(0.0)


def test_an_estimator_that_heeds_the_order_secretly_is_caught(getkey):
    problem = make_problem(getkey(), steps=1)
    with pytest.raises(
        ValueError, match="SecretlyOrdered or PolicyGradient is declared exchangeable, but the result changes"
    ):
        ce.exact.moments(SecretlyOrdered(), problem, make_policy("MemoryOne", problem, getkey()))


@pytest.mark.parametrize("exchangeable", [True, False])
@pytest.mark.parametrize(("trajectories", "batch"), [(1, 3), (5, 1), (5, 2), (4, 3), (3, 4)])
def test_batches_are_enumerated_once_each(trajectories, batch, exchangeable):
    ordered = np.indices((trajectories,) * batch).reshape(batch, -1).T
    rows = np.sort(ordered, axis=1) if exchangeable else ordered
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    seen = {}
    for chunk in enumerate_batches(trajectories, batch, exchangeable=exchangeable, chunk=7):
        assert chunk.trajectories.shape == (7, batch)
        for row, multiplicity in zip(chunk.trajectories, chunk.multiplicities, strict=True):
            if multiplicity:
                key = tuple(np.sort(row).tolist() if exchangeable else row.tolist())
                assert key not in seen
                seen[key] = multiplicity
    assert seen == {tuple(row.tolist()): count for row, count in zip(distinct, counts, strict=True)}
    assert len(seen) == count_batches(trajectories, batch, exchangeable=exchangeable)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("game", [ce.games.chicken(), random_game(4, states=2), ce.games.public_goods()], ids=repr)
def test_inner_outcomes_are_listed_once_each(game, steps, getkey):
    table = game.table()
    outcomes = list_inner_outcomes(table, steps)
    assert len(outcomes.chance) == count_inner_outcomes(table, steps)
    # Under uniformly random play the probabilities add up to one.
    choices = np.prod(game.num_actions) ** steps
    np.testing.assert_allclose(outcomes.chance.sum() / choices, 1, rtol=1e-12)


def test_results_do_not_depend_on_the_chunk(getkey):
    problem = make_problem(getkey(), steps=1, batch=3)
    policy = make_policy("FullHistory", problem, getkey())
    reference = ce.exact.moments(ce.estimators.CoalaPG(), problem, policy)
    for chunk in (1, 100, 4096):
        mean, variance = ce.exact.moments(ce.estimators.CoalaPG(), problem, policy, chunk=chunk)
        assert distance(mean, reference.mean) < 1e-12
        np.testing.assert_allclose(variance, reference.variance, rtol=1e-12)


def test_outcomes_of_probability_zero_do_no_harm(getkey):
    """All but a few outcomes have a probability that underflows to 0, among them all of the first chunk."""
    problem = make_problem(getkey(), steps=1, batch=2)
    policy = MemoryOne(np.array([[-800.0, 800.0]] * 5))
    in_one, in_many = (ce.exact.moments(ce.estimators.CoalaPG(), problem, policy, chunk=c) for c in (None, 1))
    assert jnp.isfinite(in_many.variance)
    np.testing.assert_allclose(in_many.mean.logits, in_one.mean.logits, atol=1e-15)


def test_progress_is_reported_to_the_end(getkey):
    problem = make_problem(getkey(), steps=1, batch=3)
    policy = make_policy("MemoryOne", problem, getkey())
    reports = []
    ce.exact.moments(ce.estimators.CoalaPG(), problem, policy, chunk=100, progress=lambda *args: reports.append(args))
    assert reports[-1] == (816, 816)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


def test_expected_return_can_be_traced(getkey):
    """Its derivative under `jax.grad`, also with respect to the payoffs, and a `vmap` over policies."""
    problem = make_problem(getkey(), steps=1)
    policy = make_policy("MemoryOne", problem, getkey())
    gradient = ce.exact.gradient(problem, policy)
    by_jax = jax.grad(lambda logits: ce.exact.expected_return(problem, MemoryOne(logits)))(policy.logits)
    np.testing.assert_allclose(by_jax, gradient.logits, atol=1e-13)
    batch = jnp.stack([policy.logits, -policy.logits])
    values = jax.vmap(lambda logits: ce.exact.expected_return(problem, MemoryOne(logits)))(batch)
    np.testing.assert_allclose(values[0], ce.exact.expected_return(problem, policy), rtol=1e-12)

    def value(payoffs):
        game = ce.games.MatrixGame(payoffs)
        changed = ce.ShapingProblem(
            game=game, co_players=problem.co_players, learner=ce.learners.Static(), batch=1, episodes=1, steps=1
        )
        return ce.exact.expected_return(changed, policy)

    p, q = (jax.nn.softmax(x.logits[0]) for x in (policy, problem.co_players[0]))
    np.testing.assert_allclose(jax.grad(value)(problem.game.payoffs)[0], jnp.outer(p, q), rtol=1e-12)


def test_exact_means_float64_even_where_jax_is_set_to_float32():
    """In a process of its own, as the setting is global."""
    program = """
import jax, numpy as np, optax, coala_eqx as ce
game = ce.games.TabularGame([0.3, 0.7], np.full((2, 2, 2, 2), [0.1, 0.9]), np.arange(16.).reshape(2, 2, 2, 2),
                            [[0, 1], [0, 0]])
key = jax.random.key(0)
problem = ce.ShapingProblem(game=game, co_players=(ce.policies.MemoryOne.random(game, key, player=1),),
    learner=ce.learners.PolicyGradient(optimiser=optax.sgd(1.0)), batch=2, episodes=2, steps=2)
policy = ce.policies.MemoryOne.random(game, key)
assert policy.logits.dtype == "float32"
for estimator in (ce.estimators.CoalaPG(), ce.estimators.LolaExact(), ce.estimators.LolaDice()):
    sampled, _ = estimator(problem, policy, key)
    assert sampled.logits.dtype == "float32" and np.isfinite(sampled.logits).all()
gradient = ce.exact.gradient(problem, policy)
assert gradient.logits.dtype == "float64"
for estimator in (ce.estimators.CoalaPG(), ce.estimators.LolaExact()):
    certificate = ce.verification.certify(estimator, problem, policy)
    assert certificate.verdict == "holds" and certificate.relative_bias < 1e-12, certificate
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={"JAX_ENABLE_X64": "0"})


def test_too_many_outcomes_are_counted_and_a_remedy_is_named(getkey):
    problem = make_problem(getkey(), batch=3, episodes=3, steps=3)
    policy = make_policy("MemoryOne", problem, getkey())
    with pytest.raises(
        ValueError, match=r"has about 10\^15 outcomes.*limit of 20,000,000.*With batch=2 there are 34,"
    ) as info:
        ce.exact.gradient(problem, policy)
    assert "episodes=2" in str(info.value)
    with pytest.raises(ValueError, match="more than the limit of 10;"):
        ce.exact.moments(ce.estimators.CoalaPG(), make_problem(getkey(), steps=1), policy, limit=10)
    with pytest.raises(ValueError, match="One inner episode of 3 steps has 64 outcomes"):
        ce.exact.gradient(problem, policy, "lookahead_return", limit=10)


def test_what_cannot_be_enumerated_is_named(getkey):
    game = ce.games.chicken()
    maker = ce.ShapingProblem(
        game=game,
        co_players=(lambda key: MemoryOne.random(game, key, player=1),),
        learner=SGD,
        batch=1,
        episodes=1,
        steps=1,
    )
    policy = MemoryOne.random(game, getkey())
    for function in (ce.exact.gradient, ce.exact.expected_return):
        with pytest.raises(ValueError, match=r"co_players\[0\] is a function of a key.*Population"):
            function(maker, policy)

    class Endless(ce.games.AbstractGame):
        num_players: int = 1
        num_actions: tuple[int, ...] = (2,)
        num_observations: tuple[int, ...] = (1,)

        def reset(self, key):
            return None, jnp.zeros(1, dtype=int)

        def step(self, state, actions, key):
            return None, jnp.zeros(1, dtype=int), jnp.ones(1)

    endless = ce.ShapingProblem(game=Endless(), co_players=(), learner=SGD, batch=1, episodes=1, steps=1)
    with pytest.raises(ValueError, match="Endless cannot be enumerated.*TabularGame"):
        ce.exact.gradient(endless, MemoryOne(np.zeros((1, 2))))


def test_unknown_objectives_are_named(getkey):
    problem = make_problem(getkey())
    with pytest.raises(ValueError, match="Unknown objective 'regret'; known are 'shaping_return'"):
        ce.exact.gradient(problem, make_policy("MemoryOne", problem, getkey()), "regret")


class WrongTree(ce.estimators.AbstractEstimator):
    def from_episode(self, problem, policy, episode):
        return policy.logits


class WrongLeaf(ce.estimators.AbstractEstimator):
    def from_episode(self, problem, policy, episode):
        return MemoryOne(policy.logits[:2])


class NotANumber(ce.estimators.AbstractScoreFunctionEstimator):
    def coefficients(self, rewards, values=None):
        return jnp.log(-jnp.abs(jnp.asarray(rewards)) - 1)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (WrongTree(), "WrongTree.from_episode must return a pytree like the policy"),
        (WrongLeaf(), r"WrongLeaf.*\.logits should be \(5, 2\), but is \(2, 2\)"),
        (NotANumber(), "NotANumber.from_episode returned NaN or infinity"),
    ],
)
def test_estimators_that_break_their_contract_are_named(estimator, message, getkey):
    problem = make_problem(getkey(), steps=1)
    with pytest.raises(ValueError, match=message):
        ce.exact.moments(estimator, problem, make_policy("MemoryOne", problem, getkey()))


def test_a_policy_that_says_nan_is_named(getkey):
    problem = make_problem(getkey(), steps=1)
    policy = eqx.tree_at(lambda p: p.logits, make_policy("MemoryOne", problem, getkey()), jnp.full((5, 2), jnp.nan))
    with pytest.raises(ValueError, match="add up to nan instead of 1"):
        ce.exact.expected_return(problem, policy)


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


class Middle(ce.estimators.AbstractScoreFunctionEstimator):
    """Looks at the second of three trajectories only: the same forwards and backwards, but not exchangeable."""

    unbiased_for: ClassVar[str | None] = "shaping_return"
    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards, values=None):
        return jnp.asarray(rewards) * jnp.array([0.0, 1.0, 0.0])[:, None, None]


@pytest.mark.parametrize("chunk", [None, 1])
def test_no_order_escapes_the_check(chunk, getkey):
    problem = make_problem(getkey(), batch=3, episodes=1, steps=1)
    with pytest.raises(ValueError, match="Middle or PolicyGradient is declared exchangeable"):
        ce.exact.moments(Middle(), problem, make_policy("MemoryOne", problem, getkey()), chunk=chunk)


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


def test_tracing_without_64_bit_types_is_refused_with_the_remedy(getkey):
    problem = make_problem(getkey(), steps=1)
    policy = make_policy("MemoryOne", problem, getkey())
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        jax.grad(lambda logits: ce.exact.expected_return(problem, MemoryOne(logits)))(policy.logits)


def test_traced_transitions_do_not_make_silent_nans(getkey):
    """Where the transition is traced every move counts as possible; a table of histories must know them all."""
    game = ce.games.chicken().table()
    problem = make_problem(getkey(), game=game, batch=1, episodes=1)
    policy = FullHistory.random(game, 2, getkey())

    def value(transition):
        changed = ce.games.TabularGame(game.initial, transition, game.rewards, game.observations)
        traced = ce.ShapingProblem(
            game=changed, co_players=problem.co_players, learner=SGD, batch=1, episodes=1, steps=2
        )
        return ce.exact.expected_return(traced, policy)

    with pytest.raises(ValueError, match="histories occur that it has no row for.*traced"):
        jax.grad(value)(game.transition)
