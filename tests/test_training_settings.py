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
from coala_eqx.estimators import AbstractEstimator, CoalaPG, LolaCoala, LolaDice, LolaExact, Reinforce
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator, weigh_scores
from coala_eqx.learners import PolicyGradient, Static
from coala_eqx.policies import GRU, MLP
from coala_eqx.training import A2C, PPO, Batch, Pool, gradient_noise, make_batch, members
from tests.test_training import WithCritic

DILEMMA = ce.games.iterated_prisoners_dilemma()
ASCENT = optax.sgd(1.0)
SETTINGS = {
    "game": DILEMMA, "learner": PolicyGradient(optimiser=ASCENT), "update": A2C(ASCENT), "estimators": (CoalaPG(),),
    "batch": 2, "episodes": 3, "steps": 2, "meta_batch": 2,
}  # fmt: skip


def make_pool(**changes):
    return Pool(**(SETTINGS | changes))


def make_agent(key):
    return GRU(5, 2, width=3, head_scale=2.0, key=key)


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
@pytest.mark.parametrize(("changes", "named"), [
    ({"leave_one_out": True}, "`leave_one_out` is of advantages"),
    ({"centre": True}, "`centre` is of advantages"),
    ({"discount": 0.9}, "`discount` is of advantages"),
    ({"td_lambda": 0.9}, "`td_lambda` is of advantages"),
    ({"gae_lambda": 0.9}, "`gae_lambda` is of advantages"),
    ({"reward_scale": 0.1}, "`reward_scale` is of advantages"),
    ({"naive_weight": 2.0}, "`naive_weight` is of advantages"),
    ({"naive_weight": (2.0,)}, "`naive_weight` is of advantages"),
    ({"entropy_until": 4}, "`entropy_until` is of advantages"),
    ({"update": A2C(ASCENT, value_coefficient=1.0)}, r"`A2C\(value_coefficient=1.0\)` is of a loss"),
    ({"update": A2C(ASCENT, entropy_coefficient=0.1)}, r"`A2C\(entropy_coefficient=0.1\)` is of a loss"),
    ({"update": PPO(ASCENT, epochs=8)}, r"`PPO\(epochs=8\)` is of a loss"),
    ({"update": PPO(ASCENT, minibatches=4)}, r"`PPO\(minibatches=4\)` is of a loss"),
    ({"update": PPO(ASCENT, clip=0.1)}, r"`PPO\(clip=0.1\)` is of a loss"),
    ({"update": PPO(ASCENT, value_clip=0.1)}, r"`PPO\(value_clip=0.1\)` is of a loss"),
    ({"update": PPO(ASCENT, chunk=2)}, r"`PPO\(chunk=2\)` is of a loss"),
])  # fmt: skip
def test_settings_that_an_estimator_without_advantages_ignores_are_refused(estimator, changes, named):
    with pytest.raises(ValueError, match=f"{named}.*{type(estimator).__name__}"):
        make_pool(estimators=(estimator,), **changes)


def test_settings_that_say_what_is_done_are_taken():
    """The defaults of A2C and PPO, and one epoch of everything without a critic."""
    for update in (A2C(ASCENT, 0.0), PPO(ASCENT), PPO(ASCENT, epochs=1, minibatches=1, value_clip=None)):
        assert make_pool(estimators=(LolaDice(),), update=update, naive_weight=(1.0,)).length == 2


def test_no_claim_is_cut_off():
    assert make_pool(estimators=(LolaDice(),)).length == make_pool(estimators=(LolaExact(),)).length == 2
    assert make_pool(estimators=(LolaDice(),), horizon=3).length == 3
    assert make_pool(estimators=(Whole(),)).length == make_pool(estimators=(Whole(),), horizon=3).length == 3
    assert make_pool(estimators=(Whole(),), episodes=1).length == 1
    with pytest.raises(ValueError, match=r"Whole is of all of a meta-episode.*first 2 of 3 inner episodes only"):
        make_pool(estimators=(Whole(),), horizon=2)
    with pytest.raises(ValueError, match="`horizon` must lie between 2 and episodes = 1, but is 2"):
        make_pool(estimators=(LolaDice(),), episodes=1)


def test_an_estimator_of_the_whole_return_is_followed_through_all_inner_episodes(getkey):
    """One step of rate 1 is the mean estimate from whole meta-episodes."""
    pool = make_pool(estimators=(Whole(),))
    state = pool.init(make_agent, make_agent, 2, getkey())
    moved, _ = eqx.filter_jit(pool.iterate)(state)
    agent, after = (members(one.agents, 0) for one in (state, moved))
    key = jax.random.split(jax.random.split(jax.random.fold_in(state.key, 0), 1)[0])[0]
    naive, _ = pool.meet(state, agent, jnp.array(0), key)
    problem = ce.ShapingProblem(game=DILEMMA, co_players=(agent,), learner=pool.learner, batch=2, episodes=3, steps=2)
    estimates = [CoalaPG().from_episode(problem, agent, dataclasses.replace(members(naive, k),
                                        values=jnp.zeros_like(naive.values[k]))) for k in range(2)]  # fmt: skip
    for old, new, *both in zip(*(jax.tree.leaves(eqx.filter(one, eqx.is_array)) for one in (agent, after, *estimates)),
                               strict=True):  # fmt: skip
        np.testing.assert_allclose(new - old, sum(both) / 2, rtol=1e-9, atol=1e-13)


def test_a_discount_that_an_estimator_lacks_is_refused():
    for estimator in (LolaCoala(), Discounting()):
        with pytest.raises(ValueError, match=r"does not discount, as it has no `discount`.*but it is 0.9"):
            make_pool(discount=0.9, estimators=(estimator,))
    with pytest.raises(ValueError, match="LolaCoala does not discount"):
        make_pool(discount=0.9, estimators=(CoalaPG(discount=0.9), LolaCoala()), p_naive=0.5)
    assert make_pool(discount=0.9, estimators=(CoalaPG(discount=0.9),)).discount == 0.9


def test_critics_learn_what_their_estimator_takes_them_for(getkey):
    """The return that is left of the last inner episode for `LolaCoala`, of everything for the others; by hand."""
    pool = make_pool(meta_batch=4)
    state = pool.init(make_agent, make_agent, 2, getkey())
    naive, _ = pool.meet(state, members(state.agents, 0), jnp.array(0), getkey())
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
        state = pool.init(make_agent, make_agent, 2, key)
        agent = members(state.agents, 0)
        naive, _ = eqx.filter_jit(pool.meet)(state, agent, jnp.array(0), key)
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


@pytest.mark.parametrize("double", [True, False])
def test_training_runs_with_strict_promotion(double):
    """Mixed pools with a falling entropy bonus, groups and chunks; LOLA; and how noisy they are."""
    with jax.numpy_dtype_promotion("strict"), jax.enable_x64(double):
        game = ce.games.iterated_prisoners_dilemma()
        learner = PolicyGradient(optimiser=optax.adam(0.1, eps_root=1e-8), baseline="critic", normalise_advantages=True)
        update = PPO(optax.adam(0.1), entropy_coefficient=0.1, chunk=1)
        mixed = make_pool(game=game, learner=learner, update=update, estimators=(CoalaPG(), LolaCoala()), p_naive=0.5,
                          group=1, entropy_until=3, centre=True)  # fmt: skip
        alone = make_pool(game=game, learner=learner, update=A2C(optax.adamw(0.1)), estimators=(LolaDice(),))
        for pool in (mixed, alone):
            state = pool.init(make_network, make_network, 2, jax.random.key(0))
            after, info = eqx.filter_jit(pool.iterate)(state)
            assert info.finite.all()
            old, new = (jax.tree.leaves(eqx.filter(one.agents, eqx.is_array)) for one in (state, after))
            assert {leaf.dtype for leaf in new} == {jnp.dtype(jnp.float64 if double else jnp.float32)}
            assert not np.array_equal(new[0], old[0])
            keys = np.stack([jax.random.key_data(after.spare_key(number)) for number in (1, 2, 3)])
            assert len(np.unique(keys, axis=0)) == 3
        still = dataclasses.replace(mixed, learner=Static(), p_naive=1.0)
        assert np.isfinite(gradient_noise(still, state, (Reinforce(),), 2).inner).all()
