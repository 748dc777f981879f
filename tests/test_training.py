"""Training: its gradient is the estimator's, who meets whom, and bad settings."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import coala_eqx as ce
from coala_eqx.estimators import MFOS, BatchUnaware, CoalaPG, LolaDice, LolaExact, Reinforce
from coala_eqx.learners import PolicyGradient, Static
from coala_eqx.policies import GRU, Hawk, MemoryOne
from coala_eqx.policies.base import AbstractPolicy, PolicyOutput, unroll_by_steps
from coala_eqx.training import A2C, PPO, GradientNoise, Layout, gradient_noise, make_batch, members
from coala_eqx.training.deprecated import check_estimators
from coala_eqx.training.meetings import NAIVE, draw
from examples.win_stay import WinStay
from tests import makers
from tests.makers import batch_of, estimate, with_algorithms
from tests.makers import met as meet

DILEMMA = ce.games.iterated_prisoners_dilemma()
ASCENT = optax.sgd(1.0)
LEARNER = PolicyGradient(optimiser=optax.adam(0.1), baseline="critic", normalise_advantages=True)
SETTINGS = {
    "game": DILEMMA, "learner": LEARNER, "update": A2C(ASCENT, value_coefficient=0.0), "estimators": (CoalaPG(),),
    "batch": 3, "episodes": 2, "steps": 2, "meta_batch": 4,
}  # fmt: skip


def make_agent(key):
    return GRU(5, 2, width=3, head_scale=2.0, key=key)


@eqx.filter_jit
def iterate(pool, state, layout=Layout()):
    return pool.iterate(state, layout)


class WithCritic(AbstractPolicy):
    """Says one number, and acts uniformly."""

    value: jax.Array
    num_observations: int = 1
    num_actions: int = 2

    def initial_memory(self):
        return ()

    def __call__(self, memory, observation, previous_action):
        del observation, previous_action
        return memory, PolicyOutput(jnp.zeros(2), self.value)

    def unroll(self, memory, observations, previous_actions):
        return unroll_by_steps(self, memory, observations, previous_actions)


def make_pool(**changes):
    return makers.make_pool(**(SETTINGS | {"make_agent": make_agent} | changes))


def difference(new, old):
    return jax.tree.map(lambda a, b: a - b, eqx.filter(new, eqx.is_array), eqx.filter(old, eqx.is_array))


@eqx.filter_jit
def mean_gradient(estimator, agent, episodes):
    """Of the verified estimates, from every meta-episode, over M·T."""
    problem = ce.ShapingProblem(game=DILEMMA, co_players=(agent,), learner=LEARNER, batch=3, episodes=2, steps=2)
    gradients = eqx.filter_vmap(lambda episode: estimator.from_episode(problem, agent, episode))(episodes)
    return jax.tree.map(lambda leaf: leaf.mean(axis=0) / (2 * 2), gradients)


@pytest.mark.parametrize("estimator", [CoalaPG(), MFOS(), BatchUnaware(), Reinforce()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(
    "update",
    [A2C(ASCENT, 0.0), PPO(ASCENT, epochs=1, minibatches=1, value_coefficient=0.0)],
    ids=["A2C", "PPO in chunks"],
)
def test_the_first_step_follows_the_estimator(estimator, update, getkey):
    """Moved by SGD of rate 1, parameters change by the mean of the gradients that are verified, over M·T.

    Rewards and values are what the roll-out gives, so that the critic's part is in it, too.
    """
    pool = make_pool()
    state = pool.init(getkey())
    agent = members(state.agents, 0)
    episodes, _ = meet(pool, state, agent, jnp.array(0), getkey())
    batch = make_batch(estimator, episodes)
    batch = dataclasses.replace(batch, chunk=3 if isinstance(update, PPO) else None)
    moved, _, info = update.update(agent, update.init(agent), batch, getkey())

    expected = mean_gradient(estimator, agent, episodes)
    assert float(optax.tree.norm(expected)) > 1e-2
    for one, other in zip(jax.tree.leaves(difference(moved, agent)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(info.gradient_norm, optax.tree.norm(expected), rtol=1e-9)


def test_centring_is_over_everything_and_scaling_of_rewards_only(getkey):
    pool = make_pool()
    state = pool.init(getkey())
    agent = members(state.agents, 0)
    episodes, _ = meet(pool, state, agent, jnp.array(0), getkey())
    plain, centred = (make_batch(CoalaPG(), episodes, centre=centre) for centre in (False, True))
    np.testing.assert_allclose(centred.advantages, plain.advantages - plain.advantages.mean(), atol=1e-13)
    scaled = make_batch(CoalaPG(), episodes, reward_scale=0.1)
    rewards = np.asarray(episodes.rewards).reshape(12, -1)
    np.testing.assert_allclose(
        scaled.targets.reshape(12, -1), 0.1 * rewards[:, ::-1].cumsum(axis=1)[:, ::-1], atol=1e-12
    )
    by_hand = jax.vmap(CoalaPG().coefficients)(0.1 * episodes.rewards, episodes.values)
    np.testing.assert_allclose(scaled.advantages, 3 * by_hand.reshape(12, 2, 2), rtol=1e-12)


def test_the_clip_binds_where_it_should(getkey):
    """Ratios beyond 1 ± clip have no gradient if the advantage says further, and one if it says back."""
    policy = MemoryOne(np.zeros((5, 2)))
    update = PPO(ASCENT, clip=0.2, value_coefficient=0.0)
    seen = jnp.zeros((1, 1, 1), int)
    for log_ratio, advantage, moves in [(0.3, 1.0, False), (0.3, -1.0, True), (-0.3, -1.0, False), (-0.3, 1.0, True)]:
        numbers = (np.log(0.5) - log_ratio, 0.0, advantage, 0.0)  # log-probability, value, advantage, target
        batch = ce.training.Batch(seen, seen, *(jnp.full((1, 1, 1), number) for number in numbers))
        gradient = eqx.filter_grad(lambda policy, batch=batch: update.loss(policy, batch)[0])(policy)
        assert bool(jnp.abs(gradient.logits).max() > 0) == moves


@pytest.mark.parametrize(
    ("before", "target", "loss", "slope"),
    [
        (0.0, 1.0, 0.25, -1.0),  # within the clip of 0.6: (0.5 − 1)²
        (-0.5, 1.0, 0.81, 0.0),  # beyond, and better than the clipped value 0.1: that one's (0.1 − 1)², no slope
        (-0.5, -1.0, 2.25, 3.0),  # beyond, and worse than the clipped value: (0.5 + 1)²
        (1.5, 0.0, 0.81, 0.0),  # beyond below; the clipped value is 0.9
    ],
)
def test_values_are_clipped_to_what_they_were(before, target, loss, slope):
    """PPO's critic says 0.5; loss and slope are by hand. A2C's knows no clip."""
    steps = jnp.zeros((1, 1, 1), int)
    numbers = (np.log(0.5), before, 0.0, target)  # log-probability, value, advantage, target
    batch = ce.training.Batch(steps, steps, *(jnp.full((1, 1, 1), number) for number in numbers))

    def losses(value, update):
        policy = WithCritic(value)
        total, info = update.loss(policy, batch)
        return total, info.value_loss

    for update, expected in (
        (PPO(ASCENT, clip=0.6, value_coefficient=3.0), (loss, slope)),
        (A2C(ASCENT, value_coefficient=3.0), ((0.5 - target) ** 2, 2 * (0.5 - target))),
    ):
        (total, value_loss), gradient = jax.value_and_grad(losses, has_aux=True)(jnp.array(0.5), update)
        np.testing.assert_allclose([value_loss, total, gradient], [expected[0], 3 * expected[0], 3 * expected[1]])


def test_each_epoch_takes_every_trajectory_once(getkey):
    """Two epochs of two minibatches: rate 0, so that the mean loss over both is that of all."""
    pool = make_pool(update=PPO(ASCENT))
    state = pool.init(getkey())
    agent = members(state.agents, 0)
    batch = make_batch(CoalaPG(), meet(pool, state, agent, jnp.array(0), getkey())[0])
    still = PPO(optax.sgd(0.0), epochs=2, minibatches=2)
    _, whole = still.loss(agent, batch)
    _, _, info = still.update(agent, still.init(agent), batch, getkey())
    for name in ("policy_loss", "value_loss", "entropy"):
        np.testing.assert_allclose(getattr(info, name), getattr(whole, name), rtol=1e-9)
    _, half = still.loss(agent, jax.tree.map(lambda leaf: leaf[:6], batch))
    assert abs(half.value_loss / whole.value_loss - 1) > 1e-3  # a half is not as good as all


def test_naive_and_meta_opponents_are_centred_apart(getkey):
    pool = make_pool(estimators=(CoalaPG(),) * 2, p_naive=0.5)
    state = pool.init(getkey())
    agent = members(state.agents, 0)
    episodes = meet(pool, state, agent, jnp.array(0), getkey())
    plain, centred = (
        batch_of(with_algorithms(pool, centre=centre), 0, *episodes).advantages for centre in (False, True)
    )
    halves = slice(0, 6), slice(6, 12)  # two opponents of each kind, three trajectories each
    for half in halves:
        np.testing.assert_allclose(centred[half], plain[half] - plain[half].mean(), atol=1e-12)
    assert abs(plain[halves[0]].mean() - plain[halves[1]].mean()) > 1e-3


def test_critics_and_meetings_with_meta_agents_discount_as_the_estimator(getkey):
    """By hand: TD(λ) targets, and against meta agents batch-unaware advantages of the same discount and λ."""
    discount, td_lambda, gae_lambda = 0.9, 0.5, 0.7
    estimators = (CoalaPG(discount=discount, gae_lambda=gae_lambda),) * 2
    pool = make_pool(estimators=estimators, p_naive=0.5, update=A2C(ASCENT, td_lambda=td_lambda))
    state = pool.init(getkey())
    agent = members(state.agents, 0)
    naive, meta = meet(pool, state, agent, jnp.array(0), getkey())
    batch = batch_of(pool, 0, naive, meta)

    rewards = np.concatenate([naive.rewards, meta.rewards]).reshape(12, 4)
    values = np.asarray(batch.values).reshape(12, 4)
    target, advantage, targets, advantages = np.zeros(12), np.zeros(12), np.zeros((12, 4)), np.zeros((12, 4))
    for step in reversed(range(4)):
        after = values[:, step + 1] if step < 3 else np.zeros(12)
        target = rewards[:, step] + discount * ((1 - td_lambda) * after + td_lambda * target)
        advantage = rewards[:, step] + discount * after - values[:, step] + discount * gae_lambda * advantage
        targets[:, step], advantages[:, step] = target, advantage
    np.testing.assert_allclose(batch.targets.reshape(12, 4), targets, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(batch.advantages[6:].reshape(6, 4), advantages[6:], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("update", [A2C(ASCENT, entropy_coefficient=0.5), PPO(ASCENT, entropy_coefficient=0.5)],
                         ids=["A2C", "PPO"])  # fmt: skip
def test_entropy_is_added_to_what_is_climbed(update):
    """Of one state with P(0) = p: −p ln p − (1 − p) ln(1 − p), whose slope in the logit of 0 is −p(1 − p) · logit."""
    logit = 1.3
    p = 1 / (1 + np.exp(-logit))
    policy = MemoryOne(np.array([[logit, 0.0]]))
    steps = jnp.zeros((2, 1, 1), int)
    batch = ce.training.Batch(steps, steps, *(jnp.zeros((2, 1, 1)),) * 4)
    gradient, info = eqx.filter_grad(lambda policy: update.loss(policy, batch), has_aux=True)(policy)
    np.testing.assert_allclose(info.entropy, -p * np.log(p) - (1 - p) * np.log(1 - p), rtol=1e-12)
    np.testing.assert_allclose(gradient.logits[0, 0], 0.5 * p * (1 - p) * logit, rtol=1e-12)


def test_the_entropy_bonus_falls_to_nothing():
    update = PPO(ASCENT, entropy_coefficient=optax.linear_schedule(0.2, 0.0, 4))
    for updates, expected in ((0, 0.2), (1, 0.15), (4, 0), (9, 0)):
        assert float(update.at(jnp.array(updates)).entropy_coefficient) == pytest.approx(expected)


def test_a_schedule_goes_by_the_number_of_updates(getkey):
    """The bonus is the only thing that is climbed, by a rate of 1; it doubles with each update."""
    update = A2C(ASCENT, 0.0, lambda updates: 0.1 * 2.0**updates)
    policy = MemoryOne(np.array([[1.3, 0.0]]))
    steps = jnp.zeros((2, 1, 1), int)
    batch = ce.training.Batch(steps, steps, *(jnp.zeros((2, 1, 1)),) * 4)
    state = update.init(policy)
    for expected in (0.1, 0.2, 0.4):
        slope = eqx.filter_grad(lambda policy: update.at(jnp.array(0)).loss(policy, batch)[0])(policy).logits / 0.1
        moved, state, _ = update.update(policy, state, batch, getkey())
        np.testing.assert_allclose(moved.logits, policy.logits - expected * slope, rtol=1e-12)
        policy = moved
    assert int(state.updates) == 3


def test_meetings_with_learners_weigh_what_is_said(getkey):
    """Advantages against learners are multiplied, those against meta agents and all targets are what they were."""
    whole = make_pool(estimators=(CoalaPG(),) * 2, p_naive=0.5)
    state = whole.init(getkey())
    agent = members(state.agents, 0)
    episodes = meet(whole, state, agent, jnp.array(0), getkey())
    one = batch_of(whole, 0, *episodes)
    for weight, index, expected in ((0.25, 0, 0.25), (0.25, 1, 0.25), ((0.25, 3.0), 0, 0.25), ((0.25, 3.0), 1, 3)):
        light = make_pool(estimators=(CoalaPG(),) * 2, p_naive=0.5, naive_weight=weight)
        other = batch_of(light, index, *episodes)
        weights = np.repeat([expected, 1], 2 * 3)[:, None, None]  # two opponents of each kind, three trajectories each
        np.testing.assert_allclose(other.advantages, weights * one.advantages, rtol=1e-12)
        np.testing.assert_array_equal(other.targets, one.targets)


def test_a_pool_learns_to_get_more(getkey):
    """From uniform policies, against co-players that do not learn: defection pays, in float32 as in training."""
    with jax.enable_x64(False):
        key = jax.random.key(0)
        makes = {
            "make_agent": lambda key: Hawk(5, 2, width=8, key=key),
            "make_naive": lambda key: MemoryOne(jnp.zeros((5, 2))),
        }
        update = PPO(optimiser=optax.adam(0.02), reward_scale=0.2)
        game = ce.games.iterated_prisoners_dilemma()
        pool = make_pool(game=game, update=update, learner=Static(), batch=8, meta_batch=8, population=1, **makes)
        state = pool.init(key)
        state, first = iterate(pool, state)
        for _ in range(15):
            state, last = iterate(pool, state)
    assert last.ego.dtype == jnp.float32
    assert last.ego.mean() > first.ego.mean() + 0.2
    assert last.finite.all()
    assert int(state.iteration) == 16


def test_nobody_plays_itself_and_everybody_else_alike(getkey):
    pool = make_pool(estimators=(CoalaPG(),) * 3, p_naive=0.5, meta_batch=6000)
    with_naive, with_meta = pool.line_ups(0)
    naive = draw(pool.classes, 0, jnp.array(1), with_naive, 5, getkey())[NAIVE][:, 0]
    meta = draw(pool.classes, 0, jnp.array(1), with_meta, 5, getkey())[0][:, 0]
    assert len(naive) == len(meta) == 3000
    assert set(np.unique(naive)) == set(range(5))
    counts = np.bincount(meta, minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] - 1500) < 5 * np.sqrt(3000) / 2  # five standard deviations of a binomial


def test_opponents_met_in_groups_are_those_met_at_once(getkey):
    pool = make_pool(estimators=(CoalaPG(), MFOS()), meta_batch=12, p_naive=0.5)
    state = pool.init(getkey())
    other, seen = iterate(pool, state, Layout(group=4))  # groups of three in six
    state, info = iterate(pool, state)
    same = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12)
    jax.tree.map(same, eqx.filter((other.agents, seen), eqx.is_array), eqx.filter((state.agents, info), eqx.is_array))


def test_every_agent_has_its_own_estimator_and_meets_the_others(getkey):
    """Agents of a pool, one by one: by COALA-PG, by M-FOS; by the plain gradient against meta agents."""
    estimators = (CoalaPG(), MFOS())
    pool = make_pool(estimators=estimators, p_naive=0.5)
    state = pool.init(getkey())
    moved, info = iterate(pool, state)
    keys = jax.random.split(jax.random.fold_in(state.key, 0), 2)
    for index, estimator in enumerate(estimators):
        agent, after = (members(s.agents, index) for s in (state, moved))
        naive, meta = meet(pool, state, agent, jnp.array(index), jax.random.split(keys[index])[0])
        against = mean_gradient(estimator, agent, naive), mean_gradient(BatchUnaware(), agent, meta)
        expected = jax.tree.map(lambda a, b: (a + b) / 2, *against)
        for one, other in zip(jax.tree.leaves(difference(after, agent)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(info.ego[index], naive.rewards.mean(axis=(0, 1, 3)), rtol=1e-12)
        np.testing.assert_allclose(info.vs_meta[index], meta.rewards.mean(), rtol=1e-12)


def test_lola_follows_its_estimate_from_the_first_inner_episodes(getkey):
    """One look-ahead: by hand from the first two of three inner episodes of every meta-episode."""
    learner = PolicyGradient(optimiser=optax.sgd(0.5))
    pool = make_pool(estimators=(LolaDice(),), episodes=3, learner=learner)
    state = pool.init(getkey())
    moved, info = iterate(pool, state)
    agent, after = (members(s.agents, 0) for s in (state, moved))
    key = jax.random.split(jax.random.split(jax.random.fold_in(state.key, 0), 1)[0])[0]
    naive, _ = meet(pool, state, agent, jnp.array(0), key)
    expected = jax.tree.map(jnp.zeros_like, eqx.filter(agent, eqx.is_array))
    for k in range(4):
        episode = members(naive, k)
        co_players = episode.co_player_policies
        episode = dataclasses.replace(
            jax.tree.map(lambda leaf: leaf[:, :2], dataclasses.replace(episode, co_player_policies=())),
            co_player_policies=co_players,
        )
        problem = ce.ShapingProblem(game=DILEMMA, co_players=co_players, learner=learner, batch=3, episodes=2, steps=2)
        by_hand = estimate(LolaDice(), problem, agent, episode)
        expected = jax.tree.map(lambda a, b: a + b / 4, expected, by_hand)
    assert float(optax.tree.norm(expected)) > 1e-2
    for one, other in zip(jax.tree.leaves(difference(after, agent)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-13)
    assert info.ego.shape == (1, 3)


def test_dynamic_naive_agents_start_from_a_meta_agent(getkey):
    """Against co-players that do not learn: a defector whose naive agents cooperate if fixed, and defect if dynamic."""
    rewards = []
    for dynamic in (False, True):
        pool = make_pool(
            learner=Static(),
            dynamic_naive=dynamic,
            make_agent=lambda _: MemoryOne(jnp.tile(jnp.array([-50.0, 50.0]), (5, 1))),
            make_naive=lambda _: MemoryOne(jnp.tile(jnp.array([50.0, -50.0]), (5, 1))),
        )
        state = pool.init(getkey())
        rewards.append(iterate(pool, state)[1].ego.mean())
    np.testing.assert_allclose(rewards, [2.0, 0.0])


def test_seeds_are_vmapped_and_keep_to_themselves(getkey):
    """One of two seeds is broken: it is flagged, and the other is as if alone."""
    pool = make_pool()
    states = eqx.filter_vmap(pool.init)(jax.random.split(getkey(), 2))
    broken = eqx.tree_at(lambda s: s.agents.cell.bias, states, states.agents.cell.bias.at[1].set(jnp.nan))
    moved, info = eqx.filter_jit(eqx.filter_vmap(pool.iterate))(broken)
    assert info.finite.tolist() == [[True], [False]]
    alone = members(states, 0)
    expected, _ = iterate(pool, alone)
    for one, other in zip(jax.tree.leaves(moved.agents), jax.tree.leaves(expected.agents), strict=True):
        np.testing.assert_allclose(one[0], other, rtol=1e-10, atol=1e-13)


def test_learners_that_go_wrong_are_flagged(getkey):
    """Their rate is too large: of no numbers they would always take the first action, which is to cooperate."""
    pool = make_pool(learner=dataclasses.replace(LEARNER, optimiser=optax.sgd(1e300)), episodes=4)
    _, info = iterate(pool, pool.init(getkey()))
    assert np.isfinite(info.ego[0, 0])
    assert np.isnan(info.ego[0, -1])
    assert np.isnan(info.co_player[0, -1])
    assert not info.finite.any()


def test_static_naive_agents_forget_as_those_that_learn(getkey):
    """Against the same opponents who remember, all of an inner episode but the first is another one."""
    pool = make_pool(learner=Static(), episodes=3, meta_batch=64, population=1)
    state = pool.init(getkey())
    agent = members(state.naive, 0)
    naive, _ = meet(pool, state, agent, jnp.array(0), key := getkey())
    remembering = dataclasses.replace(pool, p_naive=0.0, agents=pool.agents * 2)
    both = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * 2) if eqx.is_array(leaf) else leaf, state.naive)
    _, meta = meet(remembering, dataclasses.replace(state, groups=(both,)), agent, jnp.array(0), key)
    same = np.asarray(naive.co_players[0].actions == meta.co_players[0].actions)
    assert same[:, :, 0].all()
    assert not same[:, :, 1:].all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p_naive": 1.5}, "`p_naive` must lie between 0 and 1, but is 1.5"),
        (
            {"update": A2C(ASCENT, leave_one_out=True), "meta_batch": 1},
            "needs two or more opponents of a kind",
        ),
        ({"p_naive": 0.6}, r"must be a whole number of opponents, but is 0.6 · 4; 0.5 would do"),
        ({"p_naive": 0.5}, "An agent does not play itself: with p_naive = 0.5 below 1 a pool needs two agents"),
        ({"meta_batch": 0}, "`meta_batch` must be an integer ≥ 1, but is 0"),
        ({"estimators": ()}, "A pool needs agents, but `agents` is empty"),
        (
            {"estimators": (LolaDice(), LolaDice()), "p_naive": 0.5},
            "LolaDice, are trained against naive learners",
        ),
        ({"estimators": (LolaDice(),), "horizon": 3}, "`horizon` must lie between 2 and episodes = 2, but is 3"),
        ({"naive_weight": (np.inf,)}, "`naive_weight` must be a finite number, but is inf"),
        (
            {"game": ce.games.matching_pennies(), "estimators": (CoalaPG(),) * 2, "p_naive": 0.5},
            "symmetric, the same seen from every seat, but this MatrixGame is not",
        ),
        (
            {"game": ce.games.battle_of_the_sexes(), "dynamic_naive": True},
            "MatrixGame is not. Give agents `seats`",
        ),
    ],
)
def test_pools_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        make_pool(**changes)


@pytest.mark.parametrize(
    ("estimators", "message"),
    [
        (CoalaPG(), r"must be a tuple with one estimator for each agent, but is CoalaPG\("),
        (("CoalaPG",), r"must be estimators, such as CoalaPG\(\), but one of them is 'CoalaPG'"),
        ((CoalaPG(), MFOS), "but one of them is <class"),
    ],
)
def test_what_is_no_estimator_is_named(estimators, message):
    """Apart, as types are checked before that in tests."""
    with pytest.raises(ValueError, match=message):
        check_estimators(estimators)


def test_what_an_estimator_needs_is_asked_for_before_anything_is_played(getkey):
    class WrongShape(BatchUnaware):
        def coefficients(self, rewards, values=None):
            return super().coefficients(rewards, values)[..., None]

    for estimator, learner, message in (
        (LolaExact(), WinStay(), "LolaExact cannot be applied.*has a WinStay"),
        (WrongShape(), LEARNER, r"WrongShape.coefficients must return an array of the shape of the rewards"),
    ):
        pool = make_pool(estimators=(estimator,), learner=learner)
        state = pool.init(getkey())
        with pytest.raises(ValueError, match=message):
            pool.iterate(state)
    with pytest.raises(ValueError, match=message):
        gradient_noise(make_pool(), state, (WrongShape(),), 2)


def test_minibatches_must_divide_the_trajectories(getkey):
    pool = make_pool(update=PPO(ASCENT, minibatches=5))
    state = pool.init(getkey())
    with pytest.raises(ValueError, match=r"meta_batch · batch = 12, but is 5"):
        pool.iterate(state)
    for changes, message in (
        ({"epochs": 0}, "`epochs` must be at least 1, but is 0"),
        ({"clip": -0.2}, "`clip` must be positive, and above the rounding of probability ratios.*but is -0.2"),
        ({"clip": np.nan}, "`clip` must be a finite number, but is nan"),
    ):
        with pytest.raises(ValueError, match=message):
            PPO(ASCENT, **changes)
    with pytest.raises(ValueError, match="`population` must be at least 1.*but is 0"):
        make_pool(population=0)


@pytest.mark.parametrize(("leave_one_out", "chunk"), [(False, None), (True, 4)])
def test_noise_and_directions_of_gradients_are_those_of_training_steps(leave_one_out, chunk):
    """From each meta-batch by A2C's loss; all pairs of different ones are compared, one by one."""
    estimators = CoalaPG(), MFOS(), BatchUnaware()
    half = {"estimators": (CoalaPG(),) * 2, "p_naive": 0.5, "naive_weight": 7.0}
    update = A2C(ASCENT, value_coefficient=0.0, reward_scale=0.3, leave_one_out=leave_one_out)
    pool, layout = make_pool(update=update, **half), Layout(chunk=chunk)
    state = pool.init(jax.random.key(1))
    measure = eqx.filter_jit(lambda pool, state: gradient_noise(pool, state, estimators, 5, index=1, layout=layout))
    noise = measure(pool, state)

    agent = members(state.agents, 1)
    naive = dataclasses.replace(pool, p_naive=1.0)

    @eqx.filter_jit
    def gradient(agent, batch):
        return eqx.filter_grad(lambda agent: -update.loss(agent, batch)[0])(agent)

    gradients = []
    for key in jax.random.split(jax.random.fold_in(state.key, jnp.uint32(3 * 2**30)), 5):
        episodes, _ = meet(naive, state, agent, jnp.array(0), key)
        batches = [update.batch(estimator, episodes) for estimator in estimators]
        gradients.append([ravel_pytree(gradient(agent, batch))[0] for batch in batches])
    gradients = np.asarray(gradients)
    products = np.mean([gradients[i] @ gradients[j].T for i in range(5) for j in range(5) if i != j], axis=0)
    np.testing.assert_allclose(noise.products, products, rtol=1e-9)
    np.testing.assert_allclose(noise.variances, 4 * gradients.var(axis=0, ddof=1).sum(axis=-1), rtol=1e-9)
    np.testing.assert_allclose(noise.without(3).variances, 4 * np.delete(gradients, 3, 0).var(0, ddof=1).sum(-1))

    @eqx.filter_jit
    def by_both(pool, state):
        return gradient_noise(pool, state, (CoalaPG(),) * 2, 5, index=1, leave_one_out=(leave_one_out, True))

    first, second = by_both(pool, state).variances
    np.testing.assert_allclose(first, noise.variances[0], rtol=1e-9)
    assert (second == pytest.approx(first)) == leave_one_out
    with pytest.raises(ValueError, match="`leave_one_out` must have a flag for each of 3 estimators, but has 1"):
        gradient_noise(pool, state, estimators, 5, leave_one_out=(True,))


def test_advantages_are_taken_less_those_of_the_other_meta_episodes(getkey):
    """Of opponents of the same kind, at the same step; one by one."""
    pool = make_pool(estimators=(CoalaPG(),) * 2, p_naive=0.5)
    state = pool.init(getkey())
    episodes = meet(pool, state, members(state.agents, 0), jnp.array(0), getkey())
    plain, less = (
        batch_of(with_algorithms(pool, leave_one_out=leave_one_out), 0, *episodes) for leave_one_out in (False, True)
    )
    before, after = (np.asarray(batch.advantages).reshape(2, 2, 3, 2, 2) for batch in (plain, less))
    for kind in range(2):
        for own, other in ((0, 1), (1, 0)):
            np.testing.assert_allclose(after[kind, own], before[kind, own] - before[kind, other].mean(axis=0))
    np.testing.assert_array_equal(less.targets, plain.targets)


def noise_of(gradients, meta_batch=2):
    gradients = jnp.asarray(gradients, float)
    return GradientNoise(jnp.einsum("...iep,...jfp->...ijef", gradients, gradients), meta_batch)


def test_signals_that_are_not_seen_have_no_ratios():
    """By hand: two meta-batches of two estimators, twice; in the second nothing is seen of the second estimator."""
    noise = noise_of([[[[3, 0], [0, 2]], [[1, 0], [4, 2]]], [[[1, 0], [1, 0]], [[1, 0], [-1, 0]]]])
    np.testing.assert_allclose(noise.products, [[[3, 6], [6, 4]], [[1, 0], [0, -1]]])
    np.testing.assert_allclose(noise.variances, [[4, 16], [0, 4]])
    np.testing.assert_allclose(noise.critical_meta_batch(), [[4 / 3, 4], [0, np.nan]])
    np.testing.assert_allclose(noise.cosines(), [[1, 12**-0.5 * 6], [1, np.nan]])
    np.testing.assert_allclose(noise.cosines(1), [[12**-0.5 * 6, 1], [np.nan, np.nan]])
    np.testing.assert_allclose(noise.mean().critical_meta_batch(), [2 / 2, 10 / 1.5])


def test_standard_errors_are_how_far_measurements_scatter():
    """Of a mean the jackknife is the usual error; of the rest it is held against what repetition gives."""
    key = jax.random.key(0)
    draws = jnp.array([[1.0, 0.5], [0.0, 1.0]]) + 0.5 * jax.random.normal(key, (2000, 24, 2, 2))
    noise = noise_of(draws)
    means = noise_of(draws[0]).standard_error(lambda noise: jnp.diagonal(jnp.diagonal(noise.inner)).mean(axis=0))
    squares = np.square(draws[0]).sum(axis=-1)
    np.testing.assert_allclose(means, squares.std(axis=0, ddof=1) / 24**0.5)
    for statistic in (lambda noise: noise.products, lambda noise: noise.variances, GradientNoise.cosines):
        scatter, errors = statistic(noise).std(axis=0), noise.standard_error(statistic).mean(axis=0)
        np.testing.assert_allclose(errors, scatter, rtol=0.1, atol=1e-9)
    with pytest.raises(ValueError, match="three or more meta-batches, but 2 were measured"):
        noise_of(draws[0, :2]).standard_error(GradientNoise.cosines)


@pytest.mark.parametrize(("estimators", "measured", "index", "message"), [
    ((CoalaPG(),), 1, 0, "`measured` must be at least 2, as meta-batches are compared, but is 1"),
    ((), 4, 0, "`estimators` must hold one or more"),
    ((CoalaPG(),), 4, 1, "`index` must be that of one of 1 agents, from 0 on, but is 1"),
    ((LolaDice(),), 4, 0, "`estimators` must return advantages, but are LolaDice"),
    ((CoalaPG(),), 4, 0, "`minibatches` must divide the number of trajectories, meta_batch · batch = 12, but is 5"),
])  # fmt: skip
def test_noise_needs_meta_episodes_and_estimators(estimators, measured, index, message, getkey):
    pool = make_pool(update=PPO(ASCENT, minibatches=5))
    state = pool.init(getkey())
    with pytest.raises(ValueError, match=message):
        gradient_noise(pool, state, estimators, measured, index=index)
