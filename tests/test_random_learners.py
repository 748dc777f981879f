"""The protocol of learners and algorithms: keys, the former signature, and training against learners that use keys."""

import re
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.estimators import CoalaPG, Inapplicable, LolaDice
from coala_eqx.learners import PPO, AbstractLearner
from coala_eqx.learners.protocol import NoKey, init_rule
from coala_eqx.policies import MemoryOne
from coala_eqx.training import AbstractAlgorithm, Agent, Follow, NaiveLearners, Pool
from coala_eqx.training.algorithms.base import AlgorithmState
from examples import random_learner
from tests.makers import SGD, make_policy, make_problem
from tests.random_learners import ONE, Noisy, moved, same


class SecretlyNoisy(AbstractLearner):
    """The same without a state; does not say so."""

    exchangeable: ClassVar[bool] = True

    def init(self, policy, key):
        return None

    def update(self, policy, state, experience, key):
        return moved(policy, jax.random.normal(key, policy.logits.shape)), state


class PassesItsKeyOn(AbstractLearner):
    """Compiled on its own, and with a key in hand that it does not use."""

    uses_key: ClassVar[bool] = False

    @eqx.filter_jit
    def init(self, policy, key):
        return None

    @eqx.filter_jit
    def update(self, policy, state, experience, key):
        return SGD.update(policy, SGD.init(policy, key), experience, key)[0], state


class Deaf(AbstractLearner):
    """Is given a key, and learns without it."""

    uses_key: ClassVar[bool] = True

    def init(self, policy, key):
        return SGD.init(policy)

    def update(self, policy, state, experience, key):
        return SGD.update(policy, state, experience)


class Former(AbstractLearner):
    """Written for the version before."""

    def init(self, policy):
        return SGD.init(policy)

    def update(self, policy, state, experience, rate=1.0):
        return SGD.update(policy, state, experience)


class TakesNothing(AbstractLearner):
    def init(self, policy, key):
        return None

    def update(self, policy):
        return policy


def test_a_key_changes_no_other_random_number(getkey):
    """Play without keys, and play with keys that are not used, are the same bit for bit."""
    key, play = getkey(), getkey()
    episodes = []
    for learner in (SGD, Deaf(), PassesItsKeyOn()):
        problem = make_problem(key, learner=learner, episodes=3)
        episodes.append(problem.play(make_policy("MemoryOne", problem, key), play))
    same(*episodes[:2])
    np.testing.assert_array_equal(episodes[2].actions, episodes[0].actions)


class Recorder(AbstractLearner):
    """Its state is the list of keys that it is given; acts by the last, so that play shows them."""

    uses_key: ClassVar[bool] = True

    def init(self, policy, key):
        return jax.random.key_data(key)

    def update(self, policy, state, experience, key):
        jax.debug.callback(lambda *given: SEEN.append(given), state, jax.random.key_data(key))
        return policy, jax.random.key_data(key)


SEEN = []


def test_each_update_of_each_co_player_has_a_key_of_its_own(getkey):
    SEEN.clear()
    key, game = getkey(), ce.games.public_goods()
    problem = make_problem(key, game=game, learner=Recorder(), episodes=3, steps=1)
    problem.play(make_policy("MemoryOne", problem, key), getkey())
    jax.effects_barrier()
    assert len(SEEN) == 4  # two co-players, two updates
    assert len({tuple(map(int, given)) for both in SEEN for given in both}) == 2 * 3


def test_keys_decide_what_a_noisy_learner_becomes(getkey):
    key = getkey()
    problem = make_problem(key, learner=Noisy(), batch=8, episodes=3)
    policy, plays = make_policy("MemoryOne", problem, key), [getkey(), getkey()]
    first, again, other = (problem.play(policy, one) for one in (plays[0], plays[0], plays[1]))
    same(first, again)
    assert (first.co_players[0].actions != other.co_players[0].actions).any()
    quiet = make_problem(key, learner=SGD, batch=8, episodes=3).play(policy, plays[0])
    np.testing.assert_array_equal(first.actions[:, 0], quiet.actions[:, 0])  # before anybody has learned


def test_a_learner_that_uses_its_key_secretly_is_caught(getkey):
    problem = make_problem(getkey(), learner=SecretlyNoisy(), steps=1)
    policy = make_policy("MemoryOne", problem, getkey())
    message = "SecretlyNoisy uses its key, but declares that it does not: set `uses_key"
    with pytest.raises(ValueError, match=message):
        problem.play(policy, getkey())
    with pytest.raises(ValueError, match=message):
        ce.exact.gradient(problem, policy)
    with pytest.raises(ValueError, match=message):
        ce.verification.certify(CoalaPG(), problem, policy)


@pytest.mark.parametrize(
    "use",
    [
        jax.random.split, jax.random.normal, lambda key: jax.random.fold_in(key, 1), jax.random.key_data, jnp.asarray,
        np.asarray, list, lambda key: key.shape, lambda key: jax.random.permutation(key, 3), lambda key: key[0],
    ],
)  # fmt: skip
def test_no_use_of_a_key_that_is_none_goes_unseen(use):
    with pytest.raises(ValueError, match="Mine uses its key"):
        use(NoKey("Mine"))


def test_a_learner_that_needs_a_key_and_gets_none_says_so(getkey):
    policy = MemoryOne(np.zeros((5, 2)))
    with pytest.raises(ValueError, match="Noisy draws random numbers and needs a key, but is given none"):
        init_rule(Noisy(), policy)


def test_learners_of_the_version_before_work_and_warn_once(getkey, recwarn):
    key, play = getkey(), getkey()
    game, co_player = ce.games.chicken(), MemoryOne(np.zeros((5, 2)))
    sizes = {"batch": 1, "episodes": 1, "steps": 1}
    with pytest.warns(DeprecationWarning, match=r"Former takes no key.*write init\(policy, key\) and update") as seen:
        ce.ShapingProblem(game=game, co_players=co_player, learner=Former(), **sizes)
    assert [warning.filename for warning in seen] == [__file__]  # so that it is shown
    problem = make_problem(key, learner=Former())
    make_problem(key, learner=Former())  # an error if it warned again
    policy = make_policy("MemoryOne", problem, key)
    same(problem.play(policy, play), make_problem(key).play(policy, play))


def test_a_learner_with_other_arguments_is_named(getkey):
    with pytest.raises(
        ValueError, match=r"TakesNothing.update must take \(self, policy, state, data, key\), but takes"
    ):
        make_problem(getkey(), learner=TakesNothing())


def make_network(key):
    return ce.policies.MLP(5, 2, width=3, key=key)


def make_pool(learner, *agents, **naive):
    agents = agents or (Agent(CoalaPG(), ce.training.PPO(optax.adam(0.05), epochs=1), make_network),)
    sizes = {"batch": 4, "episodes": 2, "steps": 2, "meta_batch": 4}
    return Pool(ce.games.chicken(), agents, NaiveLearners(learner, make_network, **naive), **sizes)


@eqx.filter_jit
def iterate(pool, state):
    return pool.iterate(state)


def test_agents_train_against_naive_ppo(getkey):
    """The first inner episode is as against learners without keys; the second depends on the minibatches."""
    key, infos = getkey(), []
    for learner in (PPO(ONE, epochs=2, minibatches=2), SGD):
        pool = make_pool(learner)
        start = pool.init(key)
        (state, info), (again, _) = iterate(pool, start), iterate(pool, start)
        assert info.finite.all()
        infos.append(info)
        same(state.groups, again.groups)
    first, second = np.stack([info.co_player[0] for info in infos]).T
    np.testing.assert_array_equal(first, first[0])
    assert len(set(second)) > 1


def test_a_population_can_learn_by_ppo_before_training(getkey):
    pool = make_pool(PPO(ONE, epochs=1, minibatches=4), pretraining=2, pretraining_batch=8, population=4)
    plain = make_pool(PPO(ONE, epochs=1, minibatches=4), population=4)
    state, again, other = pool.init(key := getkey()), pool.init(key), pool.init(getkey())
    same(state.naive, again.naive)
    learned, elsewhere, start = (jax.tree.leaves(one.naive)[0] for one in (state, other, plain.init(key)))
    assert (learned != elsewhere).all()
    assert (learned != start).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(eqx.filter(state.naive, eqx.is_inexact_array)))


def test_lola_dice_in_a_pool_declines_minibatches(getkey):
    agent = Agent(LolaDice(), Follow(optax.sgd(0.1)), make_network)
    pool = make_pool(PPO(ONE, minibatches=2), agent)
    with pytest.raises(Inapplicable, match="LolaDice cannot be applied.*what PPO drew"):
        pool.iterate(pool.init(getkey()))


class Shuffled(AbstractAlgorithm):
    """An algorithm that is random from its first state on."""

    optimiser: optax.GradientTransformation = eqx.field(static=True, default=ONE)

    def check_estimator(self, estimator):
        pass

    def init(self, policy, key):
        return AlgorithmState(jax.random.normal(key), jnp.zeros((), jnp.int32))

    def update(self, policy, state, data, key):
        return policy, self.init(policy, key), None


def test_algorithms_and_learners_have_one_protocol(getkey):
    policy = MemoryOne(np.zeros((5, 2)))
    for rule in (Shuffled(), ce.training.PPO(ONE), ce.training.A2C(ONE), Follow(ONE), PPO(ONE), SGD, Noisy()):
        assert isinstance(rule, ce.learners.AbstractUpdateRule)
        init_rule(rule, policy, getkey())
    with pytest.raises(ValueError, match="Shuffled draws random numbers and needs a key"):
        init_rule(Shuffled(), policy)
    agents = tuple(Agent(LolaDice(), Shuffled(), make_network) for _ in range(2))
    states = make_pool(SGD, *agents).init(getkey()).algorithms
    drawn = np.concatenate([np.ravel(state.optimiser) for state in states])
    assert len(set(drawn)) == 2


def test_the_example_certifies_and_trains(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(random_learner, "NETWORK", make_network)  # which is compiled in less time
    random_learner.certify()
    words = r"(\w+): relative bias (\S+), (\d+) outcomes\n"
    verdict, bias, outcomes = re.fullmatch(words, capsys.readouterr().out).groups()
    assert (verdict, outcomes) == ("holds", str(4**4 * 4))
    assert float(bias) < 1e-12
    random_learner.train(iterations=2, meta_batch=2)
    plt.close("all")
    assert plt.imread("random_learner.png").ndim == 3
