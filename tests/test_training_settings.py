"""Settings of training: none is ignored, no claim is cut off, critics learn what they are taken for, clips clip."""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.estimators import AbstractEstimator, BatchUnaware, CoalaPG, LolaCoala, LolaDice, LolaExact, Reinforce
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator, weigh_scores
from coala_eqx.learners import PolicyGradient, Static
from coala_eqx.policies import GRU, MLP
from coala_eqx.training import A2C, PPO, Agent, Batch, Follow, Layout, gradient_noise, make_batch, members
from tests import makers
from tests.makers import met
from tests.test_training import WithCritic

DILEMMA = ce.games.iterated_prisoners_dilemma()
ASCENT = optax.sgd(1.0)
SETTINGS = {
    "game": DILEMMA, "learner": PolicyGradient(optimiser=ASCENT), "update": A2C(ASCENT), "estimators": (CoalaPG(),),
    "batch": 2, "episodes": 3, "steps": 2, "meta_batch": 2,
}  # fmt: skip


def make_agent(key):
    return GRU(5, 2, width=3, head_scale=2.0, key=key)


def make_pool(**changes):
    return makers.make_pool(**(SETTINGS | {"make_agent": make_agent, "population": 2} | changes))


def length(pool):
    """How many inner episodes the first agent's estimator sees."""
    (agent,) = pool.agents
    return agent.algorithm.length(agent.estimator, pool.episodes)


def test_sizes_become_integers():
    pool = make_pool(batch=np.int64(2), episodes=3.0, meta_batch=jnp.array(4))
    assert (pool.batch, pool.episodes, pool.meta_batch) == (2, 3, 4)
    assert {type(size) for size in (pool.batch, pool.episodes, pool.meta_batch)} == {int}
    assert hash(make_pool(p_naive=jnp.array(1.0)).p_naive) == hash(1.0)


def make_network(key):
    return MLP(5, 2, width=3, key=key)


class Whole(AbstractEstimator):
    """COALA-PG, but as an estimator without advantages."""

    unbiased_for: ClassVar[str | None] = "shaping_return"

    def from_episode(self, problem, policy, episode):
        return weigh_scores(policy, episode, CoalaPG().coefficients(episode.rewards))


class Discounting(AbstractScoreFunctionEstimator):
    """Does, but has no setting that says so; `critic_of` is unknown."""

    critic_of: ClassVar[str] = "first_episode_return"

    def coefficients(self, rewards, values=None):
        return rewards


@pytest.mark.parametrize("estimator", [LolaDice(), LolaExact(), Whole()], ids=lambda one: type(one).__name__)
def test_algorithms_and_estimators_must_fit_each_other(estimator):
    name = type(estimator).__name__
    for algorithm in (A2C(ASCENT), PPO(ASCENT)):
        with pytest.raises(ValueError, match=rf"an estimator that returns advantages.*has {name}\(\): train it by Fol"):
            Agent(estimator, algorithm)
    with pytest.raises(ValueError, match=rf"`naive_weight` balances.*{name} is trained against naive learners"):
        Agent(estimator, Follow(ASCENT), naive_weight=2.0)
    with pytest.raises(ValueError, match=r"without advantages, such as LolaDice\(\), but the agent has CoalaPG\(\)"):
        Agent(CoalaPG(), Follow(ASCENT))


def test_no_claim_is_cut_off():
    assert length(make_pool(estimators=(LolaDice(),))) == length(make_pool(estimators=(LolaExact(),))) == 2
    assert length(make_pool(estimators=(LolaDice(),), horizon=3)) == 3
    assert length(make_pool(estimators=(Whole(),))) == 3
    assert length(make_pool(estimators=(Whole(),), episodes=1)) == 1
    with pytest.raises(
        ValueError, match=r"Whole estimates the gradient of a whole meta-episode.*only its first 2 inner episodes"
    ):
        make_pool(estimators=(Whole(),), horizon=2)
    with pytest.raises(ValueError, match="`horizon` must lie between 2 and episodes = 1, but is 2"):
        make_pool(estimators=(LolaDice(),), episodes=1)
    with pytest.raises(ValueError, match="`horizon` must be at least 2, as a look-ahead ends.*but is 1"):
        Follow(ASCENT, horizon=1)


def test_an_estimator_of_the_whole_return_is_followed_through_all_inner_episodes(getkey):
    """One step of rate 1 is the mean estimate from whole meta-episodes."""
    pool = make_pool(estimators=(Whole(),))
    state = pool.init(getkey())
    moved, _ = eqx.filter_jit(pool.iterate)(state)
    agent, after = (members(one.agents, 0) for one in (state, moved))
    key = jax.random.split(jax.random.split(jax.random.fold_in(state.key, 0), 1)[0])[0]
    naive, _ = met(pool, state, agent, jnp.array(0), key)
    sizes = {"batch": 2, "episodes": 3, "steps": 2}
    problem = ce.ShapingProblem(game=DILEMMA, co_players=(agent,), learner=pool.naive.learner, **sizes)
    estimates = [CoalaPG().from_episode(problem, agent, dataclasses.replace(members(naive, k),
                                        values=jnp.zeros_like(naive.values[k]))) for k in range(2)]  # fmt: skip
    for old, new, *both in zip(*(jax.tree.leaves(eqx.filter(one, eqx.is_array)) for one in (agent, after, *estimates)),
                               strict=True):  # fmt: skip
        np.testing.assert_allclose(new - old, sum(both) / 2, rtol=1e-9, atol=1e-13)


def test_one_critic_serves_both_kinds_of_meetings():
    """The discount is the estimator's; against meta agents the plain gradient discounts alike, with the same λ."""
    assert Agent(CoalaPG(discount=0.9, gae_lambda=0.8), A2C(ASCENT)).against_meta == BatchUnaware(0.9, 0.8)
    assert Agent(LolaCoala(), A2C(ASCENT)).against_meta == BatchUnaware()
    with pytest.raises(ValueError, match="must discount alike.*but `discount` is 0.9 and 1.0"):
        Agent(CoalaPG(discount=0.9), A2C(ASCENT), meta_estimator=BatchUnaware())
    with pytest.raises(ValueError, match="must discount alike.*but `discount` is 1.0 and 0.9"):
        Agent(LolaCoala(), A2C(ASCENT), meta_estimator=BatchUnaware(discount=0.9))


def test_critics_learn_what_their_estimator_takes_them_for(getkey):
    """The return that is left of the last inner episode for `LolaCoala`, of everything for the others; by hand."""
    pool = make_pool(meta_batch=4)
    state = pool.init(getkey())
    naive, _ = met(pool, state, members(state.agents, 0), jnp.array(0), getkey())
    rewards = np.asarray(naive.rewards).reshape(8, 6)
    last = rewards * (np.arange(6) >= 4)
    for estimator, counted in ((LolaCoala(), last), (CoalaPG(), rewards), (Reinforce(), rewards)):
        targets = make_batch(estimator, naive, reward_scale=0.5).targets.reshape(8, 6)
        by_hand = [[0.5 * row[step:].sum() for step in range(6)] for row in counted]
        np.testing.assert_allclose(targets, by_hand, rtol=1e-12, atol=1e-14)
    assert np.abs(last[:, 4:]).sum() > 0
    with pytest.raises(ValueError, match="Discounting.critic_of must be 'shaping_return' or 'last_episode_return'"):
        make_batch(Discounting(), naive)


@pytest.mark.parametrize("double", [True, False])
def test_the_smallest_clip_clips_no_first_step(double):
    """PPO's first gradient is A2C's, as ratios are 1 to rounding; a clip of 0 would take a part of it at random."""
    with jax.enable_x64(double):
        key, least = jax.random.key(1), float(jnp.finfo(jnp.result_type(float)).eps) ** 0.5
        pool = make_pool(game=ce.games.iterated_prisoners_dilemma(), batch=16, episodes=4, steps=4)
        state = pool.init(key)
        agent = members(state.agents, 0)
        naive, _ = met(pool, state, agent, jnp.array(0), key)
        batch = make_batch(CoalaPG(), naive)
        updates = PPO(ASCENT, clip=1.01 * least, value_coefficient=0.0), A2C(ASCENT, 0.0)
        one, other = (
            eqx.filter_grad(lambda agent, update=update: update.loss(agent, batch)[0])(agent) for update in updates
        )
    difference = jax.tree.map(jnp.subtract, one, other)
    assert optax.tree.norm(difference) < 1e3 * least**2 * optax.tree.norm(other)


@pytest.mark.parametrize(
    ("value_clip", "loss", "slope"),
    [
        (None, 0.25, -1.0),  # (0.5 − 1)², wherever the value was
        ("clip", 0.81, 0.0),  # moved by 0.6 at most from −0.5: (0.1 − 1)²
        (0.8, 0.49, 0.0),  # (0.3 − 1)²
        (2.0, 0.25, -1.0),
    ],
)
def test_values_are_clipped_as_is_said(value_clip, loss, slope):
    """The critic says 0.5, said −0.5, and should say 1; by hand."""
    steps = jnp.zeros((1, 1, 1), int)
    batch = Batch(steps, steps, *(jnp.full((1, 1, 1), number) for number in (np.log(0.5), -0.5, 0.0, 1.0)))
    update = PPO(ASCENT, clip=0.6, value_clip=value_clip, value_coefficient=1.0)
    total, gradient = jax.value_and_grad(lambda value: update.loss(WithCritic(value), batch)[0])(jnp.array(0.5))
    np.testing.assert_allclose([total, gradient], [loss, slope])
    if value_clip == "clip":
        assert update == PPO(ASCENT, clip=0.6, value_coefficient=1.0)


@pytest.mark.parametrize("double", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_training_runs_with_strict_promotion(double):
    """Mixed pools with a falling entropy bonus, groups and chunks; LOLA; and how noisy they are."""
    with jax.numpy_dtype_promotion("strict"), jax.enable_x64(double):
        game = ce.games.iterated_prisoners_dilemma()
        learner = PolicyGradient(optimiser=optax.adam(0.1, eps_root=1e-8), baseline="critic", normalise_advantages=True)
        falling = optax.linear_schedule(0.1, 0.0, 3)
        update = PPO(optax.adam(0.1), entropy_coefficient=falling, centre=True)
        shared = {"game": game, "learner": learner, "make_agent": make_network}
        mixed = make_pool(update=update, estimators=(CoalaPG(), LolaCoala()), p_naive=0.5, **shared)
        alone = make_pool(update=A2C(optax.adamw(0.1)), estimators=(LolaDice(),), **shared)
        for pool in (mixed, alone):
            state = pool.init(jax.random.key(0))
            after, info = eqx.filter_jit(pool.iterate)(state, Layout(group=1, chunk=1))
            assert info.finite.all()
            old, new = (jax.tree.leaves(eqx.filter(one.agents, eqx.is_array)) for one in (state, after))
            assert {leaf.dtype for leaf in new} == {jnp.dtype(jnp.float64 if double else jnp.float32)}
            assert not np.array_equal(new[0], old[0])
            keys = np.stack([jax.random.key_data(after.spare_key(number)) for number in (1, 2, 3)])
            assert len(np.unique(keys, axis=0)) == 3
        still = make_pool(update=update, estimators=(CoalaPG(), LolaCoala()), **shared | {"learner": Static()})
        assert np.isfinite(gradient_noise(still, still.init(jax.random.key(0)), (Reinforce(),), 2).inner).all()
