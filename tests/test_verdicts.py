"""Verdicts that were fooled from outside, and others of their kinds; and the right ones that were refused."""

import decimal
import itertools
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx.estimators import MFOS, AbstractEstimator, CoalaPG, LolaCoala, LolaExact, Reinforce
from coala_eqx.exact.rounding import Sum, norm
from coala_eqx.games import TabularGame
from coala_eqx.learners import AbstractLearner, Experience
from coala_eqx.policies import MemoryOne, PolicyOutput
from coala_eqx.verification import certify, certify_all
from tests import makers


@pytest.fixture
def small(getkey):
    """A problem of 136 outcomes, and a policy."""
    problem = makers.make_problem(getkey(), steps=1)
    return problem, makers.make_policy("MemoryOne", problem, getkey())


class Loud(MFOS):
    unbiased_for: ClassVar[str | None] = "shaping_return"

    def coefficients(self, rewards, values=None):
        return super().coefficients(rewards, values) + 1e15


def test_an_estimator_cannot_hide_its_bias_in_its_own_noise(small):
    """Its coefficients are known to 0.1 only: nothing can be said by enumeration, and structure refutes it."""
    certificate = certify(Loud(), *small)
    assert certificate.verdict == "not resolved"
    assert certificate.error_bound > 1
    assert "Subtract a constant from the coefficients" in certificate.note
    assert ce.verification.certify_structure(Loud()).verdict == "biased"


SIGNS = np.array([1, 1, -1, 1, -1.0])


@pytest.mark.parametrize("scale", [10, 20, 50])
def test_nearly_deterministic_policies_are_judged_right(scale, getkey):
    problem = makers.make_problem(getkey())
    policy = MemoryOne(np.stack([SIGNS, -SIGNS], axis=1) * scale)
    estimators = (CoalaPG(), Reinforce(), LolaExact(), LolaCoala(), MFOS())
    made = [*certify_all(estimators, problem, policy)]
    assert [one.verdict for one in made] == ["holds"] * 4 + ["biased"]
    assert all(one.relative_bias < 1e-12 for one in made[:4])


def test_a_gradient_near_certainty_is_right_to_its_last_digits():
    """One step of the dilemma: ∂J/∂z of the likelier action is p·(1 − p)·(difference of payoffs), in 60 digits."""
    game = ce.games.iterated_prisoners_dilemma()
    other = MemoryOne(np.zeros((5, 2)))
    problem = ce.ShapingProblem(
        game=game, co_players=(other,), learner=ce.learners.Static(), batch=1, episodes=1, steps=1
    )
    gradient = ce.exact.gradient(problem, MemoryOne(np.stack([20 * SIGNS, -20 * SIGNS], axis=1))).logits
    with decimal.localcontext(prec=60):
        p = 1 / (1 + decimal.Decimal(-40).exp())
        # Cooperation earns (1 − 1)/2 on average, defection (2 + 0)/2.
        expected = float(p * (1 - p) * (0 - 1))
    np.testing.assert_allclose(gradient[0], [expected, -expected], rtol=1e-13)


@pytest.mark.parametrize("size", [1e-14, 1e-170, 1e160])
def test_the_scale_of_payoffs_changes_no_verdict(size, getkey):
    game = ce.games.iterated_prisoners_dilemma()
    scaled = ce.games.MatrixGame(size * np.asarray(game.payoffs))
    problem = makers.make_problem(getkey(), game=scaled, steps=1)
    policy = makers.make_policy("FullHistory", problem, getkey())
    held, biased = certify_all((CoalaPG(), MFOS()), problem, policy)
    assert (held.verdict, biased.verdict) == ("holds", "biased")
    assert 0.1 < biased.relative_bias < 10
    assert 0.01 < held.snr < 1


@pytest.mark.parametrize(("size", "words"), [(1e-300, "multiply the payoffs"), (0.0, "is 0 to rounding")])
def test_a_gradient_that_vanishes_is_not_resolved(size, words, getkey):
    problem = makers.make_problem(getkey(), game=ce.games.MatrixGame(size * np.ones((2, 2, 2))
                                  * [[[1, 2], [3, 5]], [[1, 2], [3, 5]]]), steps=1)  # fmt: skip
    certificate = certify(CoalaPG(), problem, makers.make_policy("MemoryOne", problem, getkey()))
    assert certificate.verdict == "not resolved"
    assert words in certificate.note


class Split(MemoryOne):
    """Plays otherwise than it is unrolled."""

    def __call__(self, memory, observation, previous_action):
        return memory, PolicyOutput(logits=-self.logits[observation], values=jnp.zeros(()))


class Valued(MemoryOne):
    """Says another value when it plays."""

    def __call__(self, memory, observation, previous_action):
        return memory, PolicyOutput(logits=self.logits[observation], values=jnp.ones(()))


@pytest.mark.parametrize(("kind", "what"), [(Split, "log-probabilities"), (Valued, "values")])
def test_a_policy_that_plays_otherwise_is_named(kind, what, small):
    problem, policy = small
    with pytest.raises(ValueError, match=f"{kind.__name__} contradicts itself: its {what}"):
        certify(CoalaPG(), problem, kind(policy.logits))


def test_a_co_player_that_plays_otherwise_is_found(small):
    problem, policy = small
    split = ce.ShapingProblem(
        game=problem.game, co_players=(Split(2 * problem.co_players[0].logits),), learner=makers.SGD,
        batch=2, episodes=2, steps=1,
    )  # fmt: skip
    with pytest.raises(ValueError, match="standard errors away from the enumerated ones"):
        certify(CoalaPG(), split, policy)


class Tampered(ce.games.AbstractEnumerableGame):
    """Steps by one table, and shows another."""

    played: TabularGame
    shown: TabularGame

    num_players = property(lambda self: self.played.num_players)
    num_actions = property(lambda self: self.played.num_actions)
    num_observations = property(lambda self: self.played.num_observations)

    def reset(self, key):
        return self.played.reset(key)

    def step(self, state, actions, key):
        return self.played.step(state, actions, key)

    def table(self):
        return self.shown


def test_a_game_that_plays_otherwise_is_found(small):
    problem, policy = small
    table = problem.game.table()
    other = eqx.tree_at(lambda one: one.paid, table, table.paid.at[0, ..., 0, 0].add(0.5))
    tampered = ce.ShapingProblem(
        game=Tampered(other, table), co_players=problem.co_players, learner=makers.SGD, batch=2, episodes=2, steps=1
    )
    with pytest.raises(ValueError, match=r"Tampered\.step and Tampered\.table\(\) differ"):
        certify(CoalaPG(), tampered, policy)


class Twins(AbstractEstimator):
    """Wrong only in batches in which a trajectory is there twice, in one order."""

    exchangeable: ClassVar[bool] = True
    unbiased_for: ClassVar[str | None] = "shaping_return"
    leaf: float = 3.0

    def from_episode(self, problem, policy, episode):
        gradient = CoalaPG().from_episode(problem, policy, episode)
        code = (2 * episode.actions[:, :, 0] + episode.co_players[0].actions[:, :, 0]) @ jnp.array([4, 1])
        wrong = (code[:-1] < code[1:]).any() & (jnp.sort(code)[1:] == jnp.sort(code)[:-1]).any()
        return jax.tree.map(lambda leaf: jnp.where(wrong, self.leaf * leaf, leaf), gradient)


class Hears(AbstractLearner):
    """Hears the first trajectory a little louder, and says that the order does not matter."""

    louder: float
    exchangeable: ClassVar[bool] = True

    def init(self, policy, key):
        return None

    def update(self, policy, state, experience, key):
        learner = makers.SGD
        scale = jnp.ones(len(experience.rewards)).at[0].add(self.louder)
        louder = Experience(experience.observations, experience.actions, experience.rewards * scale[:, None])
        return learner.update(policy, learner.init(policy), louder)[0], None


@pytest.mark.parametrize(("louder", "verdict"), [(0.0, "holds"), (1e-5, "not resolved"), (1e-7, "not resolved")])
def test_a_learner_that_hardly_heeds_the_order_leaves_it_open(louder, verdict):
    problem = makers.make_problem(jax.random.key(3), steps=1, learner=Hears(louder))
    policy = makers.make_policy("FullHistory", problem, jax.random.key(4))
    assert certify(CoalaPG(), problem, policy, plays=0).verdict == verdict


class NaNTwins(Twins):
    leaf: float = float("nan")


@pytest.mark.parametrize("kind", [Twins, NaNTwins])
def test_batches_with_equal_trajectories_are_tried(kind, getkey):
    problem = makers.make_problem(getkey(), batch=3, steps=1)
    with pytest.raises(ValueError, match=f"{kind.__name__} is declared exchangeable"):
        certify(kind(), problem, makers.make_policy("MemoryOne", problem, getkey()))


class OneMember(AbstractEstimator):
    """Heeds the order against one member of a population only, in a leaf that is tiny."""

    exchangeable: ClassVar[bool] = True
    unbiased_for: ClassVar[str | None] = "shaping_return"

    def from_episode(self, problem, policy, episode):
        gradient = CoalaPG().from_episode(problem, policy, episode)
        met = episode.co_player_policies[0].logits[0, 0] > 0
        first = episode.actions[0].sum() > episode.actions[1].sum()
        return jax.tree.map(lambda leaf: leaf * jnp.where(met & first, 1.1, 1.0), gradient)


def test_every_member_of_a_population_is_tried(getkey):
    game = ce.games.iterated_prisoners_dilemma()
    members = [MemoryOne(sign * jnp.ones((5, 2)).at[:, 1].set(0.3)) for sign in (-1, 1)]
    problem = ce.ShapingProblem(
        game=game, co_players=(ce.Population(members),), learner=makers.SGD, batch=2, episodes=2, steps=1
    )
    with pytest.raises(ValueError, match="OneMember is declared exchangeable"):
        certify(OneMember(), problem, makers.make_policy("MemoryOne", problem, getkey()))


class TwoFaced(CoalaPG):
    def from_episode(self, problem, policy, episode):
        return CoalaPG().from_episode(problem, policy, episode)

    def coefficients(self, rewards, values=None):
        return MFOS().coefficients(rewards, values)


class Caller(CoalaPG):
    def __call__(self, problem, policy, key):
        return CoalaPG()(problem, policy, key)


class Checker(CoalaPG):
    def checked_coefficients(self, rewards, values):
        return CoalaPG().coefficients(rewards, values)


@pytest.mark.parametrize("kind", [TwoFaced, Caller, Checker])
def test_what_is_certified_is_what_trains(kind, small):
    for certified in (lambda: certify(kind(), *small), lambda: ce.verification.certify_structure(kind())):
        with pytest.raises(
            ValueError, match=f"{kind.__name__} replaces `.*the certified estimator would not be the trained one"
        ):
            certified()
    with pytest.raises(ValueError, match=f"{kind.__name__} replaces"):
        ce.training.Agent(kind(), ce.training.A2C(makers.SGD.optimiser))


def test_masked_actions_are_certified(getkey):
    """As the same game without the action."""
    generator = np.random.default_rng(1)
    payoffs = generator.normal(size=(2, 3, 2))
    shapes = {"batch": 2, "episodes": 2, "steps": 1, "learner": makers.SGD}
    co_player = MemoryOne(generator.normal(size=(7, 2)))
    without = MemoryOne(co_player.logits[np.array([0, 1, 2, 4, 5])])
    table = generator.normal(size=(7, 3))
    masked = eqx.tree_at(lambda p: p.logits, MemoryOne(table), jnp.asarray(table).at[:, 2].set(-jnp.inf))
    free = MemoryOne(table[:5, :2])
    full = ce.ShapingProblem(game=ce.games.MatrixGame(payoffs), co_players=(co_player,), **shapes)
    cut = ce.ShapingProblem(game=ce.games.MatrixGame(payoffs[:, :2]), co_players=(without,), **shapes)
    one, other = (certify(CoalaPG(), *pair) for pair in ((full, masked), (cut, free)))
    assert one.verdict == other.verdict == "holds"
    np.testing.assert_allclose(one.variance, other.variance, rtol=1e-12)
    gradient, expected = (ce.exact.gradient(*pair).logits for pair in ((full, masked), (cut, free)))
    np.testing.assert_allclose(gradient[:5, :2], expected, atol=1e-15)
    assert (gradient[:, 2] == 0).all()


def test_moments_are_the_same_by_either_way(getkey):
    """Score functions by their coefficients, and the same as functions of a meta-episode."""

    class Plain(AbstractEstimator):
        exchangeable: ClassVar[bool] = True

        def from_episode(self, problem, policy, episode):
            return MFOS().from_episode(problem, policy, episode)

    problem = makers.make_problem(getkey(), batch=3, steps=1)
    policy = makers.make_policy("GRU", problem, getkey())
    one, other = (ce.exact.moments(estimator, problem, policy) for estimator in (MFOS(), Plain()))
    assert makers.distance(one.mean, other.mean) < 1e-13
    np.testing.assert_allclose(one.variance, other.variance, rtol=1e-12)


def test_error_bounds_bound_the_error(getkey):
    """What should be 0 is within the bound, and the bound is no larger than a verdict needs."""
    for batch, steps in itertools.product((1, 2), (1, 2)):
        problem = makers.make_problem(getkey(), batch=batch, steps=steps)
        policy = makers.make_policy("FullHistory", problem, getkey())
        certificate = certify(CoalaPG(), problem, policy)
        assert certificate.relative_bias <= certificate.error_bound < 1e-9


def test_a_running_sum_keeps_its_rounding_errors():
    total = Sum()
    for term in (1.0, 1e100, 1.0, -1e100):
        total.add({"x": np.array([term])})
    assert total.value["x"] == 2.0
    assert norm(np.array([3e200, 4e200])) == pytest.approx(5e200)
    assert norm(np.array([3e-200, 4e-200])) == pytest.approx(5e-200)


def test_astronomical_numbers_are_refused_at_once(getkey):
    problem = makers.make_problem(getkey(), batch=1_000_000, episodes=50, steps=1)
    with pytest.raises(ValueError, match=r"about 10\^24\d{6} .* With batch=\d+, episodes=\d+, steps=1 there"):
        certify(CoalaPG(), problem, makers.make_policy("MemoryOne", problem, getkey()))
