"""How outcomes are enumerated: each once, in any order, in chunks, in float64."""

import subprocess
import sys
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx.exact.batches import count_batches, enumerate_batches
from coala_eqx.exact.outcomes import count_inner_outcomes, list_inner_outcomes
from coala_eqx.learners import AbstractLearner
from coala_eqx.policies import MemoryOne
from tests.makers import SGD, distance, make_policy, make_problem, random_game


class Ordered(AbstractLearner):
    """Learns from the first trajectory only; says truly that the order matters."""

    def init(self, policy, key):
        return None

    def update(self, policy, state, experience, key):
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
    with pytest.raises(ValueError, match="SecretlyOrdered is declared exchangeable, but the result changes"):
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
    learner=ce.learners.PolicyGradient(optimiser=optax.sgd(1.0)), batch=2, episodes=2, steps=1)
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


class Middle(ce.estimators.AbstractScoreFunctionEstimator):
    """Looks at the second of three trajectories only: the same forwards and backwards, but not exchangeable."""

    unbiased_for: ClassVar[str | None] = "shaping_return"
    exchangeable: ClassVar[bool] = True

    def coefficients(self, rewards, values=None):
        return jnp.asarray(rewards) * jnp.array([0.0, 1.0, 0.0])[:, None, None]


@pytest.mark.parametrize("chunk", [None, 1])
def test_no_order_escapes_the_check(chunk, getkey):
    problem = make_problem(getkey(), batch=3, episodes=1, steps=1)
    with pytest.raises(ValueError, match="Middle is declared exchangeable"):
        ce.exact.moments(Middle(), problem, make_policy("MemoryOne", problem, getkey()), chunk=chunk)
