"""Draws of learners: enumerated with their probabilities, or refused; and estimators that decline them."""

import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.estimators import CoalaPG, Inapplicable, LolaCoala, LolaDice, LolaExact
from coala_eqx.learners import PPO, AbstractGradientLearner, PolicyGradient
from tests import brute_force
from tests.makers import SGD, distance, make_policy, make_problem
from tests.random_learners import ONE, Coin, Noisy, moved


class RandomStart(Coin):
    def init(self, policy, key):
        return jax.random.normal(key)


class Loaded(Coin):
    chances: ClassVar = np.array([0.25, 0.5])


class Short(Coin):
    chances: ClassVar = np.array([1.0])


def make_updates(epochs):
    """All orders of single trajectories in every epoch, independently listed; no critic. What repeats is kept."""
    known = {}

    def updates(logits, batch_of_steps, rate):
        if (seen := (logits.tobytes(), repr(batch_of_steps))) not in known:
            orders = [*itertools.product(itertools.permutations(range(len(batch_of_steps))), repeat=epochs)]
            made = []
            for order in orders:
                rows = [[one] for epoch in order for one in epoch]
                made.append(brute_force.learn_by_ppo(logits, np.zeros(5), batch_of_steps, rows, rate=rate, clip=0.1)[0])
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
