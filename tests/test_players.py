"""Any number of players, in any seats: games seen from a seat, line-ups, draws, training and certificates."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.estimators import MFOS, BatchUnaware, CoalaPG
from coala_eqx.games import seen_from
from coala_eqx.games.seats import Reseated
from coala_eqx.learners import PolicyGradient, Static
from coala_eqx.policies import GRU, MemoryOne
from coala_eqx.training import A2C, Agent, Layout, NaiveLearners, Pool, make_batch
from coala_eqx.training.data import data_of
from coala_eqx.training.meetings import NAIVE, classes_of, draw, line_ups
from coala_eqx.training.play import meet, members
from coala_eqx.verification import certify
from tests.makers import random_game

ASCENT = optax.sgd(1.0)
LEARNER = PolicyGradient(optimiser=optax.sgd(0.5))
GOODS, SEXES = ce.games.public_goods(), ce.games.battle_of_the_sexes()
SIZES = {"batch": 2, "episodes": 2, "steps": 2, "meta_batch": 4}


def make(observations, actions=2):
    return lambda key: GRU(observations, actions, width=3, head_scale=2.0, key=key)


def seated(game, *seats, estimators=None, **changes):
    """A pool of agents with these seats."""
    policy = make(game.num_observations[0])
    estimators = estimators or (CoalaPG(),) * len(seats)
    agents = tuple(
        Agent(estimator, A2C(ASCENT, 0.0), policy, seats=some)
        for estimator, some in zip(estimators, seats, strict=True)
    )
    return Pool(game, agents, NaiveLearners(LEARNER, policy, population=3), **(SIZES | changes))


@pytest.mark.parametrize("seat", [0, 1, 2])
def test_a_game_seen_from_a_seat_is_the_same_game(seat, getkey):
    """Matrix game, table, and any other: rewards and observations of all players, whatever they do."""
    generator = np.random.default_rng(seat)
    order = [seat, *(player for player in range(3) if player != seat)]
    matrix = ce.games.MatrixGame(generator.normal(size=(3, 2, 3, 2)))
    chance = random_game(seat, actions=(2, 3, 2))
    certain = matrix.table()
    for game in (matrix, certain, chance, Reseated(chance, (0, 1, 2))):
        other = seen_from(game, seat)
        assert other.num_actions == tuple(game.num_actions[player] for player in order)
        assert other.num_observations == tuple(game.num_observations[player] for player in order)
        key = getkey()
        (state, seen), (moved, seen_by) = game.reset(key), other.reset(key)
        np.testing.assert_array_equal(seen_by, np.asarray(seen)[order])
        for _ in range(6):
            actions, key = generator.integers(game.num_actions), getkey()
            state, seen, rewards = game.step(state, jnp.asarray(actions), key)
            moved, seen_by, earned = other.step(moved, jnp.asarray(actions[order]), key)
            np.testing.assert_allclose(earned, np.asarray(rewards)[order])
            # In matrix games each player numbers joint actions from its own side, and in the order of the others.
            if not isinstance(game, ce.games.MatrixGame) and game is not certain:
                np.testing.assert_array_equal(seen_by, np.asarray(seen)[order])
            else:
                assert seen_by[0] == 1 + np.ravel_multi_index(actions[order], other.num_actions)
    with pytest.raises(ValueError, match="must be one of the game's 3 seats, from 0 on, but is 3"):
        seen_from(matrix, 3)


def test_line_ups_say_who_sits_where():
    """Two agents of three players: naive learners fill what is left."""
    agents = [Agent(CoalaPG(), A2C(ASCENT), seats=(seat,)) for seat in (0, 1)]
    classes = classes_of(agents, 3)
    assert [one.members for one in classes] == [(0,), (1,)]
    naive, meta = line_ups(classes, 0, 3, 2, 6)
    assert (naive.seat, naive.kind, naive.fillings, naive.meetings) == (0, "naive", (NAIVE, NAIVE), 2)
    assert (meta.seat, meta.kind, meta.fillings, meta.meetings) == (0, "meta", (1, NAIVE), 6)
    assert line_ups(classes, 1, 3, 2, 6)[1].fillings == (0, NAIVE)
    anywhere = classes_of([Agent(CoalaPG(), A2C(ASCENT))] * 2, 3)
    assert [one.fillings for one in line_ups(anywhere, 0, 3, 2, 6)] == [(NAIVE, NAIVE), (0, NAIVE)]
    both = classes_of([Agent(CoalaPG(), A2C(ASCENT), seats=(1, 0))] * 3, 2)
    assert [(one.seat, one.meetings) for one in line_ups(both, 0, 2, 4, 2)] == [(0, 2), (0, 1), (1, 2), (1, 1)]


def test_nobody_plays_itself_or_twice(getkey):
    """Of five agents who can sit anywhere, four others are left for two seats: all pairs alike."""
    classes = classes_of([Agent(CoalaPG(), A2C(ASCENT))] * 5, 3)
    _, meta = line_ups(classes, 0, 3, 0, 12_000)
    assert meta.fillings == (0, 0)
    pairs = np.asarray(draw(classes, 0, jnp.array(2), meta, 1, getkey())[0])
    assert (pairs != 2).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    counts = np.bincount(5 * pairs[:, 0] + pairs[:, 1], minlength=25).reshape(5, 5)
    others = [0, 1, 3, 4]
    seen = counts[np.ix_(others, others)][~np.eye(4, dtype=bool)]
    assert np.abs(seen - 1000).max() < 5 * np.sqrt(1000)


def test_three_players_learn_from_what_they_estimate(getkey):
    """Two agents and a naive learner in the public-goods game: the first step is that of both estimates, by hand."""
    pool = seated(GOODS, (0,), (1,), estimators=(CoalaPG(), MFOS()), p_naive=0.5)
    state = pool.init(getkey())
    moved, info = eqx.filter_jit(pool.iterate)(state)
    assert info.ego.shape == (2, 2)
    assert info.finite.all()
    keys = jax.random.split(jax.random.fold_in(state.key, 0), 2)
    for index, estimator in enumerate((CoalaPG(), MFOS())):
        agent, after = pool.agent(state, index), pool.agent(moved, index)
        key = jax.random.split(keys[index])[0]
        naive, meta = eqx.filter_jit(meet)(pool, state, agent, index, jnp.array(0), key, Layout())
        other = pool.agent(state, 1 - index)
        for leaf, found in zip(
            jax.tree.leaves(other), jax.tree.leaves(meta.episodes.co_player_policies[0]), strict=True
        ):
            if eqx.is_array(leaf):
                np.testing.assert_array_equal(found, jnp.broadcast_to(leaf, (2, *leaf.shape)))
        expected = jax.tree.map(
            lambda a, b: (a + b) / 2,
            mean_gradient(estimator, pool, agent, naive),
            mean_gradient(BatchUnaware(), pool, agent, meta),
        )
        assert float(optax.tree.norm(expected)) > 1e-3
        step = jax.tree.map(jnp.subtract, eqx.filter(after, eqx.is_array), eqx.filter(agent, eqx.is_array))
        for one, another in zip(jax.tree.leaves(step), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, another, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(info.vs_meta[index], meta.episodes.rewards.mean(), rtol=1e-12)
        others = [one.rewards for one in naive.episodes.co_players]
        np.testing.assert_allclose(info.co_player[index], np.mean(others, axis=(0, 1, 2, 4)), rtol=1e-12)


def mean_gradient(estimator, pool, agent, met):
    """Of the verified estimates, from every meta-episode, over M·T."""

    @eqx.filter_jit
    def gradient(episode):
        problem = pool.problem(met.line_up, episode.co_player_policies, pool.episodes)
        return estimator.from_episode(problem, agent, episode)

    gradients = [gradient(members(met.episodes, number)) for number in range(met.line_up.meetings)]
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves) / 4, *gradients)


def test_agents_of_an_asymmetric_game_earn_what_their_seats_pay(getkey):
    """Agents who always take the first action, which player 0 likes better."""
    certain = lambda key: MemoryOne(jnp.tile(jnp.array([50.0, -50.0]), (5, 1)) + 0 * jax.random.normal(key, (5, 2)))  # noqa: E731
    agents = tuple(Agent(CoalaPG(), A2C(ASCENT), certain, seats=(seat,)) for seat in (0, 1))
    pool = Pool(SEXES, agents, NaiveLearners(LEARNER, certain), p_naive=0.0, **SIZES)
    _, info = eqx.filter_jit(pool.iterate)(pool.init(getkey()))
    np.testing.assert_allclose(info.vs_meta, [2, 1])
    assert np.isnan(info.ego).all()
    both = dataclasses.replace(pool, agents=(dataclasses.replace(agents[0], seats=(0, 1)),), p_naive=1.0)
    _, info = eqx.filter_jit(both.iterate)(both.init(getkey()))
    np.testing.assert_allclose(info.ego, 1.5)
    np.testing.assert_allclose(info.co_player, 1.5)


def test_one_agent_learns_all_seats(getkey):
    """Its batch is that of both seats, half of the meetings each."""
    pool = seated(SEXES, (0, 1))
    state = pool.init(getkey())
    agent = pool.agent(state, 0)
    met = eqx.filter_jit(meet)(pool, state, agent, 0, jnp.array(0), getkey(), Layout())
    assert [(one.line_up.seat, one.line_up.kind, len(one.episodes.rewards)) for one in met] == [
        (0, "naive", 2), (0, "meta", 0), (1, "naive", 2), (1, "meta", 0),
    ]  # fmt: skip
    batch = data_of(pool, (0,), jnp.array(0), agent, met, Layout())
    halves = [make_batch(CoalaPG(), met[number].episodes) for number in (0, 2)]
    np.testing.assert_array_equal(batch.advantages, np.concatenate([half.advantages for half in halves]))


def test_seats_of_different_sizes_have_agents_and_learners_of_their_own(getkey):
    """A game of 2 by 3 actions, in which both players are meta agents, or naive learners."""
    game = ce.games.MatrixGame(np.random.default_rng(0).normal(size=(2, 2, 3)))
    makes = make(7, 2), make(7, 3)
    agents = tuple(Agent(CoalaPG(), A2C(ASCENT), one, seats=(seat,)) for seat, one in enumerate(makes))
    pool = Pool(game, agents, NaiveLearners(LEARNER, makes, population=2), p_naive=0.5, **SIZES)
    state = pool.init(getkey())
    moved, info = eqx.filter_jit(pool.iterate)(state)
    assert pool.agent(moved, 1).num_actions == 3
    assert info.ego_actions.shape == (2, 2, 3)
    np.testing.assert_allclose(info.ego_actions.sum(axis=-1), 1)
    assert info.finite.all()


def test_meta_agents_and_naive_learners_are_certified_in_one_problem(getkey):
    """Of three players: one remembers and does not learn, the other learns and forgets."""
    policies = [MemoryOne.random(GOODS, getkey(), player=player) for player in range(3)]
    sizes = {"batch": 2, "episodes": 2, "steps": 1}
    problem = ce.ShapingProblem(
        game=GOODS,
        co_players=tuple(policies[1:]),
        learner=(Static(), LEARNER),
        co_players_remember=(True, False),
        **sizes,
    )
    assert certify(CoalaPG(), problem, policies[0]).verdict == "holds"
    biased = certify(MFOS(), problem, policies[0])
    assert biased.verdict == "biased"
    for wrong, message in (
        ((True,), "`co_players_remember` is a tuple: it must have 2 entries"),
        ((True, True), "which do not learn: with `co_players_remember` the learner must be Static"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(problem, co_players_remember=wrong)
