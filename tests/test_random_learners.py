"""Learners with randomness: the protocol of keys, draws that are enumerated, and what is refused."""

import itertools
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
from coala_eqx.estimators import CoalaPG, Inapplicable, LolaCoala, LolaDice, LolaExact
from coala_eqx.learners import PPO, AbstractDrawingLearner, AbstractGradientLearner, AbstractLearner, PolicyGradient
from coala_eqx.learners.protocol import NoKey, init_rule
from coala_eqx.policies import MemoryOne
from coala_eqx.training import AbstractAlgorithm, Agent, Follow, NaiveLearners, Pool
from coala_eqx.training.algorithms.base import AlgorithmState
from examples import random_learner
from tests import brute_force
from tests.makers import SGD, distance, make_policy, make_problem

ONE = optax.sgd(1.0)


def moved(policy, by):
    return eqx.tree_at(lambda one: one.logits, policy, policy.logits + by)


class Noisy(AbstractLearner):
    """Adds normal noise to its logits, in the first state and in each update; says so."""

    uses_key: ClassVar[bool] = True

    def init(self, policy, key):
        return jax.random.normal(key, policy.logits.shape)

    def update(self, policy, state, experience, key):
        return moved(policy, state + jax.random.normal(key, policy.logits.shape)), state


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


class Coin(AbstractDrawingLearner):
    """Learns with one rate or another, as a loaded coin says."""

    rates: ClassVar = np.array([0.5, 3.0])
    chances: ClassVar = np.array([0.25, 0.75])

    def init(self, policy, key):
        return None

    def draw(self, batch, key):
        return jnp.asarray(self.rates)[jax.random.categorical(key, jnp.log(self.chances))]

    def num_draws(self, batch):
        return 2

    def draws(self, batch):
        return jnp.asarray(self.rates), jnp.asarray(self.chances)

    def learn(self, policy, state, experience, draw):
        step = SGD.update(policy, SGD.init(policy), experience)[0]
        return moved(policy, draw * (step.logits - policy.logits)), state


class RandomStart(Coin):
    def init(self, policy, key):
        return jax.random.normal(key)


class Loaded(Coin):
    chances: ClassVar = np.array([0.25, 0.5])


class Short(Coin):
    chances: ClassVar = np.array([1.0])


def same(one, other):
    for a, b in zip(*(jax.tree.leaves(eqx.filter(tree, eqx.is_array)) for tree in (one, other)), strict=True):
        np.testing.assert_array_equal(a, b)


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
    with pytest.warns(DeprecationWarning, match=r"Former is of a former version: write init\(policy, key\) and update"):
        problem = make_problem(key, learner=Former())
    make_problem(key, learner=Former())  # an error if it warned again
    policy = make_policy("MemoryOne", problem, key)
    same(problem.play(policy, play), make_problem(key).play(policy, play))


def test_a_learner_with_other_arguments_is_named(getkey):
    with pytest.raises(
        ValueError, match=r"TakesNothing.update must take \(self, policy, state, data, key\), but takes"
    ):
        make_problem(getkey(), learner=TakesNothing())


# PPO


class Table(ce.policies.AbstractPolicy):
    """Logits and a critic's values of each observation."""

    logits: jax.Array
    critic: jax.Array
    num_observations: int = 5
    num_actions: int = 2

    def initial_memory(self):
        return None

    def __call__(self, memory, observation, previous_action):
        return memory, ce.policies.PolicyOutput(self.logits[observation], self.critic[observation])

    def unroll(self, memory, observations, previous_actions):
        return memory, ce.policies.PolicyOutput(self.logits[observations], self.critic[observations])


def _softmax(logits):
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def ppo_by_hand(
    logits, critic, steps, rows, *, rate, clip, value_clip=None, coefficient=0.5, discount=1.0, lam=1.0, scale=1.0,
    normalise=False,
):  # fmt: skip
    """Loops over `steps[b][t]` = (observation, action, reward), and gradient steps over `rows` of trajectories."""
    old, old_values, batch, times = _softmax(logits), critic.copy(), len(steps), len(steps[0])
    advantages = np.zeros((batch, times))
    for b, trajectory in enumerate(steps):
        values = [old_values[o] for o, _, _ in trajectory] + [0.0]
        for t in range(times):
            for k in range(t, times):
                error = scale * trajectory[k][2] + discount * values[k + 1] - values[k]
                advantages[b, t] += (discount * lam) ** (k - t) * error
    targets = advantages + np.array([[old_values[o] for o, _, _ in trajectory] for trajectory in steps])
    if normalise:
        advantages = (advantages - advantages.mean()) / advantages.std()
    clipped = 0
    for row in rows:
        slope, value_slope, now = np.zeros_like(logits), np.zeros_like(critic), _softmax(logits)
        for b in row:
            for t, (o, a, _) in enumerate(steps[b]):
                ratio, advantage = now[o, a] / old[o, a], advantages[b, t]
                if ratio * advantage <= np.clip(ratio, 1 - clip, 1 + clip) * advantage:
                    slope[o] += advantage * ratio * (np.eye(2)[a] - now[o])
                else:
                    clipped += 1
                error, near = critic[o] - targets[b, t], critic[o]
                if value_clip is not None:
                    near = old_values[o] + np.clip(critic[o] - old_values[o], -value_clip, value_clip)
                if value_clip is None or error**2 >= (near - targets[b, t]) ** 2:
                    value_slope[o] -= coefficient * 2 * error
                elif near == critic[o]:  # pragma: no cover (equal errors are the branch above)
                    raise AssertionError
        logits, critic = logits + rate * slope / len(row), critic + rate * value_slope / len(row)
    return logits, critic, clipped


def experience_of(steps):
    observations, actions, rewards = np.moveaxis(np.array(steps), 2, 0)
    return ce.learners.Experience(
        jnp.asarray(observations.astype(int)), jnp.asarray(actions.astype(int)), jnp.asarray(rewards)
    )


def random_steps(batch, times, seed=5):
    generator = np.random.default_rng(seed)
    return [
        [(generator.integers(5), generator.integers(2), generator.normal()) for _ in range(times)] for _ in range(batch)
    ]


@pytest.mark.parametrize(
    ("settings", "by_hand"),
    [
        ({"clip": 0.05}, {"clip": 0.05, "value_clip": 0.05}),
        ({"value_clip": 0.02, "value_coefficient": 2.0}, {"clip": 0.2, "value_clip": 0.02, "coefficient": 2.0}),
        ({"value_clip": None, "discount": 0.9, "gae_lambda": 0.7}, {"clip": 0.2, "discount": 0.9, "lam": 0.7}),
        ({"clip": None, "reward_scale": 0.3}, {"clip": np.inf, "scale": 0.3}),
        ({"clip": 0.1, "value_clip": None, "normalise_advantages": True}, {"clip": 0.1, "normalise": True}),
    ],
)  # fmt: skip
def test_ppo_steps_as_loops_by_hand_do(settings, by_hand):
    generator, steps = np.random.default_rng(3), random_steps(4, 3)
    logits, critic = generator.normal(size=(5, 2)), generator.normal(size=5)
    rows = np.array([[0, 2], [3, 1], [1, 0], [2, 3], [0, 1], [2, 3]])
    learner = PPO(optax.sgd(0.4), epochs=3, minibatches=2, **settings)
    policy = Table(jnp.asarray(logits), jnp.asarray(critic))
    state = learner.init(policy)
    learned, _ = eqx.filter_jit(learner.learn)(policy, state, experience_of(steps), jnp.asarray(rows))
    expected, values, clipped = ppo_by_hand(logits, critic, steps, rows, rate=0.4, **by_hand)
    assert clipped > 0 or by_hand["clip"] == np.inf  # so that clipping is tried
    np.testing.assert_allclose(learned.logits, expected, atol=1e-12)
    np.testing.assert_allclose(learned.critic, values, atol=1e-12)


@pytest.mark.parametrize("normalise", [False, True])
def test_one_epoch_without_clipping_is_the_policy_gradient_with_its_critic(normalise):
    generator, experience = np.random.default_rng(4), experience_of(random_steps(3, 4))
    policy = Table(jnp.asarray(generator.normal(size=(5, 2))), jnp.asarray(generator.normal(size=5)))
    shared = {"discount": 0.8, "reward_scale": 0.7, "value_coefficient": 0.3, "normalise_advantages": normalise}
    adam = optax.adam(0.1)
    plain = PolicyGradient(optimiser=adam, baseline="critic", **shared)
    ppo = PPO(adam, epochs=1, minibatches=1, clip=None, **shared)
    assert not ppo.uses_key
    assert ppo.exchangeable
    expected, expected_state = plain.update(policy, plain.init(policy), experience)
    learned, state = ppo.update(policy, ppo.init(policy), experience)
    assert distance(learned, expected) < 1e-12
    assert distance(state[0].mu, expected_state[0].mu) < 1e-12


@pytest.mark.parametrize(("batch", "epochs", "minibatches"), [(2, 2, 2), (3, 1, 3), (4, 1, 2), (3, 2, 1)])
def test_listed_minibatches_are_those_of_all_permutations(batch, epochs, minibatches):
    """Each epoch's permutations are cut into pieces; the order within a piece does not matter."""
    learner, size = PPO(ONE, epochs=epochs, minibatches=minibatches), batch // minibatches
    found = {}
    permutations = [*itertools.permutations(range(batch))] if minibatches > 1 else [tuple(range(batch))]
    for each in itertools.product(permutations, repeat=epochs):
        cut = tuple(tuple(sorted(one[at : at + size])) for one in each for at in range(0, batch, size))
        found[cut] = found.get(cut, 0) + len(permutations) ** -epochs
    ways, probabilities = learner.draws(batch)
    assert learner.num_draws(batch) == len(found) == len(ways)
    listed = {tuple(map(tuple, way)): p for way, p in zip(np.asarray(ways).tolist(), probabilities, strict=True)}
    assert listed.keys() == found.keys()
    for cut, probability in found.items():
        np.testing.assert_allclose(float(listed[cut]), probability, rtol=1e-12)


def test_minibatches_are_drawn_with_the_probabilities_that_are_listed(getkey):
    """By Pearson's χ² of 3000 draws among six ways: below 24.3 in all but 1 of 5000 cases."""
    learner = PPO(ONE, epochs=1, minibatches=2)
    drawn = np.asarray(jax.vmap(lambda key: learner.draw(4, key))(jax.random.split(getkey(), 3000)))
    assert drawn.shape == (3000, 2, 2)
    np.testing.assert_array_equal(np.sort(drawn.reshape(3000, 4), axis=1), np.tile(np.arange(4), (3000, 1)))
    _, counts = np.unique(np.sort(drawn, axis=2).reshape(3000, 4), axis=0, return_counts=True)
    assert len(counts) == 6
    assert ((counts - 500) ** 2 / 500).sum() < 24.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1, but is 0"),
        ({"minibatches": 0}, "`minibatches` must be at least 1, but is 0"),
        ({"clip": 0.0}, "`clip` must be positive, and above the rounding of probability ratios"),
        ({"value_clip": "off"}, "`value_clip` must be 'clip' or None, but is 'off'"),
        ({"clip": None, "value_clip": -1.0}, "`value_clip` must be positive, but is -1.0"),
        ({"gae_lambda": 2.0}, "`gae_lambda` must lie between 0 and 1, but is 2.0"),
        ({"discount": -1.0}, "`discount` must lie between 0 and 1, but is -1.0"),
        ({"reward_scale": np.inf}, "`reward_scale` must be a finite number, but is inf"),
        ({"value_coefficient": -0.5}, "`value_coefficient` must not be negative, but is -0.5"),
    ],
)
def test_bad_settings_of_ppo_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        PPO(ONE, **settings)


def test_minibatches_must_divide_the_batch(getkey):
    problem = make_problem(getkey(), learner=PPO(ONE, minibatches=2), batch=3)
    with pytest.raises(ValueError, match="`minibatches` must divide the number of trajectories, batch = 3, but is 2"):
        problem.play(make_policy("MemoryOne", problem, getkey()), getkey())


# Exact functions


def make_updates(epochs):
    """All orders of single trajectories in every epoch, independently listed; no critic. What repeats is kept."""
    known = {}

    def updates(logits, batch_of_steps, rate):
        if (seen := (logits.tobytes(), repr(batch_of_steps))) not in known:
            orders = [*itertools.product(itertools.permutations(range(len(batch_of_steps))), repeat=epochs)]
            made = []
            for order in orders:
                rows = [[one] for epoch in order for one in epoch]
                made.append(ppo_by_hand(logits, np.zeros(5), batch_of_steps, rows, rate=rate, clip=0.1)[0])
            known[seen] = [(1 / len(made), one) for one in made]
        return known[seen]

    return updates


def coin_updates(logits, batch_of_steps, rate):
    return [
        (chance, brute_force.learn(logits, batch_of_steps, rate))
        for chance, rate in zip(Coin.chances, Coin.rates, strict=True)
    ]


@pytest.mark.parametrize(
    ("learner", "batch", "episodes", "updates", "ways"),
    [
        (PPO(optax.sgd(1.5), epochs=2, minibatches=2, clip=0.1), 2, 2, make_updates(epochs=2), 4),
        (Coin(), 1, 3, coin_updates, 2),
    ],
    ids=["PPO", "Coin"],
)
def test_the_enumeration_of_draws_agrees_with_plain_python(learner, batch, episodes, updates, ways, getkey):
    key, sizes = getkey(), {"batch": batch, "episodes": episodes, "steps": 1}
    problem = make_problem(key, learner=learner, **sizes)
    policy = make_policy("MemoryOne", problem, getkey())
    assert ce.exact.count_outcomes(problem) == 4 ** (batch * episodes) * ways ** (episodes - 1)
    payoffs, mine, theirs = map(np.asarray, (problem.game.payoffs, policy.logits, problem.co_players[0].logits))
    by_hand = {**sizes, "rate": 1.5, "updates": updates, "ways": ways}
    expected = brute_force.expected_return(payoffs, mine, theirs, **by_hand)
    np.testing.assert_allclose(ce.exact.expected_return(problem, policy), expected, rtol=1e-12)
    mean, variance = brute_force.moments(lambda r: CoalaPG().coefficients(r), payoffs, mine, theirs, **by_hand)
    found = ce.exact.moments(CoalaPG(), problem, policy)
    np.testing.assert_allclose(found.mean.logits, mean, atol=1e-12)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-10)
    np.testing.assert_allclose(ce.exact.gradient(problem, policy).logits, mean, atol=1e-12)  # Theorem 3.1
    plain = make_problem(key, learner=SGD, **sizes)
    assert abs(ce.exact.expected_return(plain, policy) - expected) > 1e-3  # the learner matters


def test_a_loaded_coin_is_a_mixture_of_two_learners(getkey):
    """One update: the objective is linear in the probabilities of its draws."""
    key = getkey()
    problem = make_problem(key, learner=Coin(), steps=1)
    policy = make_policy("FullHistory", problem, getkey())
    each = []
    for rate in Coin.rates:
        fixed = make_problem(key, learner=PolicyGradient(optimiser=optax.sgd(rate)), steps=1)
        each.append((ce.exact.expected_return(fixed, policy), ce.exact.gradient(fixed, policy).logits))
    value, gradient = (Coin.chances @ np.stack(one).reshape(2, -1) for one in zip(*each, strict=True))
    np.testing.assert_allclose(ce.exact.expected_return(problem, policy), value[0], rtol=1e-12)
    np.testing.assert_allclose(ce.exact.gradient(problem, policy).logits.ravel(), gradient, atol=1e-12)


def test_all_co_players_draw_on_their_own(getkey):
    """Two learners with a coin each, against the four pairs of learners without one."""
    key, game = getkey(), ce.games.public_goods()
    problem = make_problem(key, game=game, learner=Coin(), steps=1, batch=1)
    policy = make_policy("MemoryOne", problem, getkey())
    assert ce.exact.count_outcomes(problem) == 8**2 * 4
    value = 0.0
    for one, other in itertools.product(range(2), repeat=2):
        learners = tuple(PolicyGradient(optimiser=optax.sgd(Coin.rates[number])) for number in (one, other))
        pair = make_problem(key, game=game, learner=learners, steps=1, batch=1)
        value += Coin.chances[one] * Coin.chances[other] * ce.exact.expected_return(pair, policy)
    np.testing.assert_allclose(ce.exact.expected_return(problem, policy), value, rtol=1e-12)
    one_coin = make_problem(key, game=game, learner=(SGD, Coin()), steps=1, batch=1)
    assert ce.exact.count_outcomes(one_coin) == 8**2 * 2
    assert ce.verification.certify(CoalaPG(), one_coin, policy).verdict == "holds"


@pytest.mark.parametrize("learner", [Coin(), PPO(optax.adam(0.5), epochs=2, minibatches=2, clip=0.1)])
def test_coala_is_unbiased_against_learners_that_draw(learner, getkey):
    """Enumerated, and held against meta-episodes that are played: `certify` does both."""
    problem = make_problem(getkey(), learner=learner, steps=1)
    policy = make_policy("FullHistory", problem, getkey())
    certificate = ce.verification.certify(CoalaPG(), problem, policy)
    assert (certificate.verdict, certificate.outcomes) == ("holds", ce.exact.count_outcomes(problem))
    assert certificate.relative_bias < 1e-12
    assert ce.verification.certify(LolaCoala(), problem, policy).verdict == "holds"
    assert ce.verification.certify(ce.estimators.MFOS(), problem, policy).verdict == "biased"


class DrawsOtherwise(Coin):
    """Plays with a fair coin, and lists a loaded one."""

    def draw(self, batch, key):
        return jnp.asarray(self.rates)[jax.random.bernoulli(key).astype(int)]


def test_a_learner_that_draws_otherwise_than_it_lists_is_caught(getkey):
    problem = make_problem(getkey(), learner=DrawsOtherwise(), steps=1)
    policy = make_policy("FullHistory", problem, getkey())
    with pytest.raises(ValueError, match="standard errors away"):
        ce.verification.certify(CoalaPG(), problem, policy, plays=1 << 15)


def test_a_learner_that_draws_is_not_enumerated_up_to_order(getkey):
    class Says(Coin):
        exchangeable: ClassVar[bool] = True

    assert ce.exact.count_outcomes(make_problem(getkey(), learner=Says(), steps=1)) == 16**2 * 2


def test_learners_without_a_finite_draw_are_sampled_only(getkey):
    problem = make_problem(getkey(), learner=Noisy(), steps=1)
    policy = make_policy("MemoryOne", problem, getkey())
    message = "Noisy uses its key and declares no finite set of draws.*AbstractDrawingLearner.*certify_structure"
    for refused in (
        lambda: ce.exact.expected_return(problem, policy),
        lambda: ce.exact.gradient(problem, policy),
        lambda: ce.exact.moments(CoalaPG(), problem, policy),
        lambda: ce.verification.certify(CoalaPG(), problem, policy),
        lambda: ce.exact.count_outcomes(problem),
    ):
        with pytest.raises(ValueError, match=message):
            refused()
    _, info = CoalaPG()(problem, policy, getkey())  # sampled
    assert np.isfinite(info.shaping_return)


def test_too_many_draws_are_counted_and_refused(getkey):
    """Three epochs of four trajectories one by one: 24³ ways; with batches of one size less there are fewer."""
    problem = make_problem(getkey(), learner=PPO(ONE, epochs=3, minibatches=4), steps=1, batch=4)
    policy = make_policy("MemoryOne", problem, getkey())
    message = (
        r"has 905,969,664 outcomes.*PPO has 13,824 draws in each of 1 updates, which multiply them.*"
        r"With episodes=1 there are 256\."
    )
    with pytest.raises(ValueError, match=message):
        ce.exact.gradient(problem, policy)
    large = make_problem(getkey(), learner=PPO(ONE, epochs=4, minibatches=2), steps=10, batch=64, episodes=20)
    with pytest.raises(ValueError, match=r"has about 10\^\d+ outcomes"):
        ce.exact.gradient(large, policy)


def test_what_a_drawing_learner_lists_is_checked(getkey):
    policy = None
    for learner, message in (
        (Loaded(), r"The probabilities of Loaded.draws must be ≥ 0 and sum to one, but are \[0.25 0.5 \]"),
        (Short(), r"Short.draws must list arrays of num_draws = 2 draws, and as many probabilities, but lists 2, 1"),
        (RandomStart(), "RandomStart uses its key, but declares that it does not"),
    ):
        problem = make_problem(getkey(), learner=learner, steps=1)
        policy = policy or make_policy("MemoryOne", problem, getkey())
        with pytest.raises(ValueError, match=message):
            ce.exact.gradient(problem, policy)


class NoisyAscent(AbstractGradientLearner):
    discount: float = 1.0
    reward_scale: float = 1.0
    uses_key: ClassVar[bool] = True

    def init(self, policy, key):
        return None

    def update(self, policy, state, experience, key):
        return moved(policy, jax.random.normal(key, policy.logits.shape)), state

    def ascend(self, policy, state, gradient):
        return moved(policy, gradient.logits), state


@pytest.mark.parametrize(
    ("estimator", "learner", "message"),
    [
        (LolaDice(), PPO(ONE), "LolaDice cannot be applied: it repeats the co-players' updates.*what PPO drew"),
        (LolaExact(), PPO(ONE), "LolaExact cannot be applied: it repeats the co-players' updates.*what PPO drew"),
        (LolaExact(), NoisyAscent(), "LolaExact cannot be applied"),
        (LolaExact(), PPO(ONE, minibatches=1), "LolaExact cannot be applied: Learners that ascend a gradient"),
    ],
)
def test_lola_declines_learners_that_draw(estimator, learner, message, getkey):
    problem = make_problem(getkey(), learner=learner, steps=1)
    policy = make_policy("MemoryOne", problem, getkey())
    with pytest.raises(Inapplicable, match=message):
        estimator(problem, policy, getkey())


def test_there_is_no_look_ahead_along_random_updates(getkey):
    problem = make_problem(getkey(), learner=NoisyAscent(), steps=1)
    policy = make_policy("MemoryOne", problem, getkey())
    with pytest.raises(ValueError, match="Learners without randomness are needed.*NoisyAscent uses its key"):
        ce.exact.gradient(problem, policy, "lookahead_return")


def test_lola_dice_differentiates_through_epochs_without_minibatches(getkey):
    """Against a finite difference of the replayed return is what `proofs_checks/lola_dice.py` does; here it is that
    one epoch is the policy gradient, so that both estimates are the same.
    """
    key, play, lola = getkey(), getkey(), LolaDice()
    estimates = []
    for learner in (SGD, PPO(ONE, epochs=1, minibatches=1, clip=None)):
        problem = make_problem(key, learner=learner)
        policy = make_policy("MemoryOne", problem, key)
        estimates.append(lola(problem, policy, play)[0])
    assert distance(*estimates) < 1e-10


# Training


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
