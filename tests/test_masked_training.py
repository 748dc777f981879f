"""Policies that mask an action with a logit of −∞ learn as if there were no such action."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.estimators import CoalaPG, LolaDice
from coala_eqx.learners import Experience, PolicyGradient
from coala_eqx.policies import AbstractPolicy, MemoryOne, PolicyOutput
from coala_eqx.policies.base import entropy_of
from coala_eqx.policies.probabilities import log_probabilities
from coala_eqx.training import A2C, PPO, Batch
from tests.makers import make_pool

ADAM, STEP = optax.adam(0.1), optax.sgd(0.1)


class TwoActions(AbstractPolicy):
    """Two actions with a critic; or a third one besides, whose logit is `mask`."""

    table: jax.Array
    critic: jax.Array
    mask: float | None = eqx.field(static=True, default=None)
    num_observations: int = 5
    num_actions: int = 3

    def initial_memory(self):
        return None

    def __call__(self, memory, observation, previous_action):
        return self.unroll(memory, observation, previous_action)

    def unroll(self, memory, observations, previous_actions):
        logits = self.table[observations]
        if self.mask is not None:
            third = jnp.full_like(logits[..., :1], self.mask) + 0 * logits[..., :1]  # in the graph of derivatives
            logits = jnp.concatenate([logits, third], axis=-1)
        return memory, PolicyOutput(logits, self.critic[observations])


@pytest.fixture
def draw(getkey):
    def normal(*shape):
        return jax.random.normal(getkey(), shape)

    return normal


def both(draw, mask):
    """The same policy without the masked action, and with it."""
    free = TwoActions(2 * draw(5, 2), draw(5), num_actions=2)
    return free, dataclasses.replace(free, mask=mask, num_actions=3)


def same(one, other):
    for a, b in zip(jax.tree.leaves(eqx.filter(one, eqx.is_array)), jax.tree.leaves(eqx.filter(other, eqx.is_array)),
                    strict=True):  # fmt: skip
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mask", [-jnp.inf, -1e9])
@pytest.mark.parametrize("update", [
    A2C(ADAM), A2C(STEP, entropy_coefficient=0.3), PPO(ADAM, epochs=2), PPO(STEP, clip=0.05, entropy_coefficient=0.3),
], ids=lambda update: f"{type(update).__name__} {update.entropy_coefficient}")  # fmt: skip
def test_updates_are_those_without_the_masked_action(update, mask, draw, getkey):
    free, masked = both(draw, float(mask))
    actions = jax.random.randint(getkey(), (4, 2, 3), 0, 2)
    observations = jax.random.randint(getkey(), (4, 2, 3), 0, 5)
    batch = Batch(observations, actions, draw(4, 2, 3) / 9 - 0.7, *(draw(4, 2, 3) for _ in range(3)))
    losses = [eqx.filter_value_and_grad(update.loss, has_aux=True)(policy, batch) for policy in (masked, free)]
    same(*losses)
    key = getkey()
    moved = [eqx.filter_jit(update.update)(policy, update.init(policy), batch, key) for policy in (masked, free)]
    same(*moved)
    assert float(jnp.abs(moved[0][0].table - free.table).max()) > 1e-3
    assert float(moved[0][2].entropy) > 0.1


@pytest.mark.parametrize("baseline", [None, "batch_mean", "critic"])
def test_learners_are_those_without_the_masked_action(baseline, draw, getkey):
    free, masked = both(draw, -np.inf)
    learner = PolicyGradient(optimiser=ADAM, baseline=baseline, normalise_advantages=True)
    seen, did = (jax.random.randint(getkey(), (4, 3), 0, most) for most in (5, 2))
    experience = Experience(seen, did, draw(4, 3))
    moved = [learner.update(policy, learner.init(policy), experience) for policy in (masked, free)]
    same(*moved)


def test_an_action_of_no_probability_adds_nothing_and_what_is_no_number_stays_so():
    """Entropy of p = 1/4, 3/4 by hand; a certain action has 0. NaN is not taken for a mask."""
    logits = jnp.array([[0.0, jnp.log(3.0), -jnp.inf], [-jnp.inf, 2.0, -jnp.inf]])
    expected = [-np.log(1 / 4) / 4 - 3 * np.log(3 / 4) / 4, 0.0]
    np.testing.assert_allclose(entropy_of(PolicyOutput(logits, jnp.zeros(2))), expected, rtol=1e-14)
    slope = jax.jacobian(lambda row: entropy_of(PolicyOutput(row, jnp.zeros(()))))(logits[0])
    p = np.array([1 / 4, 3 / 4])  # −p (ln p + H) for each logit
    np.testing.assert_allclose(slope, [*(-p * (np.log(p) + expected[0])), 0.0], rtol=1e-12)
    assert np.isnan(entropy_of(PolicyOutput(logits[:1].at[0, 0].set(jnp.nan), jnp.zeros(1)))).all()


def test_masks_that_are_parameters_stay_and_are_not_taken_for_divergence(getkey):
    """A pool whose agent has −∞ among its parameters: it plays as without that action, and the mask has no gradient."""
    payoffs = np.random.default_rng(1).normal(size=(3, 3))

    def make(key):
        table = jax.random.normal(key, (10, 3)).at[:, 2].set(-jnp.inf)
        return TwoActions(table, jnp.zeros(10), num_observations=10)

    pool = make_pool(game=ce.games.MatrixGame(np.stack([payoffs, payoffs.T])), learner=PolicyGradient(optimiser=STEP),
                     update=PPO(ADAM, entropy_coefficient=0.1), estimators=(CoalaPG(),), batch=2, episodes=2, steps=2,
                     meta_batch=2, make_agent=make)  # fmt: skip
    state = pool.init(getkey())
    after, info = eqx.filter_jit(pool.iterate)(state)
    assert info.finite.all()
    assert float(info.ego_actions[..., 2].max()) == 0
    np.testing.assert_array_equal(after.agents.table[..., 2], -np.inf)
    assert np.isfinite(after.agents.table[..., :2]).all()
    assert not np.array_equal(after.agents.table[..., :2], state.agents.table[..., :2])
    lost = eqx.tree_at(lambda state: state.agents.table, state, state.agents.table.at[0, 0, 0].set(jnp.nan))
    assert not eqx.filter_jit(pool.iterate)(lost)[1].finite.any()


def test_lola_dice_is_finite_where_something_impossible_is_replayed(draw, getkey):
    """As enumeration does, which then multiplies by a probability of 0."""
    _, masked = both(draw, -np.inf)
    game = ce.games.MatrixGame(np.random.default_rng(0).normal(size=(2, 3, 3)))
    ego, other = (dataclasses.replace(masked, table=draw(10, 2), critic=draw(10)) for _ in range(2))
    ego, other = (dataclasses.replace(one, num_observations=10) for one in (ego, other))
    problem = ce.ShapingProblem(game=game, co_players=(other,), learner=PolicyGradient(optimiser=STEP),
                                batch=2, episodes=2, steps=1)  # fmt: skip
    episode = problem.play(ego, getkey())
    impossible = eqx.tree_at(lambda e: e.co_players[0].actions, episode, episode.co_players[0].actions.at[0].set(2))
    for one in (episode, impossible):
        gradient = LolaDice().from_episode(problem, ego, one)
        assert np.isfinite(gradient.table).all()
    assert (episode.co_players[0].actions < 2).all()


def test_a_memory_one_policy_may_mask_actions():
    policy = MemoryOne([[0.0, 1.0, -np.inf], [-np.inf, 2.0, -np.inf]])
    _, output = policy.unroll(None, jnp.array([0, 1]), jnp.array([-1, 0]))
    np.testing.assert_array_equal(log_probabilities(output.logits)[:, 2], -np.inf)
    assert log_probabilities(output.logits)[1, 1] == 0
    masked = ([[0.0, np.inf]], "inf"), ([[np.nan, -np.inf]], "nan"), ([[0.0, 1.0], [-np.inf, -np.inf]], "row 1")
    for wrong, words in masked:
        with pytest.raises(ValueError, match=words):
            MemoryOne(wrong)


def test_a_masked_memory_one_policy_is_certified():
    game = ce.games.MatrixGame(np.random.default_rng(0).normal(size=(2, 3, 2)).round(1))
    rows = np.random.default_rng(1).normal(size=(7, 3))
    rows[:, 1] = -np.inf
    problem = ce.shaping.ShapingProblem(
        game=game,
        co_players=MemoryOne(np.random.default_rng(2).normal(size=(7, 2))),
        learner=PolicyGradient(optimiser=STEP),
        batch=2,
        episodes=2,
        steps=1,
    )
    assert ce.verification.certify(CoalaPG(), problem, MemoryOne(rows)).verdict == "holds"
