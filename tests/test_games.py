"""Games: semantics, agreement of play and table, and bad input."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

from coala_eqx import games
from coala_eqx.games import MatrixGame, TabularGame
from tests.makers import random_game

READY_MADE = {
    "iterated_prisoners_dilemma": games.iterated_prisoners_dilemma,
    "chicken": games.chicken,
    "stag_hunt": games.stag_hunt,
    "matching_pennies": games.matching_pennies,
    "battle_of_the_sexes": games.battle_of_the_sexes,
    "public_goods": games.public_goods,
    "ultimatum": games.ultimatum,
}


def test_prisoners_dilemma_pays_and_shows_what_the_paper_says(getkey):
    game = games.iterated_prisoners_dilemma()
    payoffs = {(0, 0): (1, 1), (0, 1): (-1, 2), (1, 0): (2, -1), (1, 1): (0, 0)}
    state, observations = game.reset(getkey())
    assert observations.tolist() == [0, 0]
    for (own, other), expected in payoffs.items():
        _, observations, rewards = game.step(state, jnp.array([own, other]), getkey())
        assert tuple(rewards.tolist()) == expected
        assert observations.tolist() == [1 + 2 * own + other, 1 + 2 * other + own]


@pytest.mark.parametrize("name", READY_MADE)
def test_ready_made_games_are_what_their_names_say(name):
    payoffs = np.asarray(READY_MADE[name]().payoffs)
    if name in ("iterated_prisoners_dilemma", "chicken", "stag_hunt"):
        np.testing.assert_array_equal(payoffs[1], payoffs[0].T)
        (reward, sucker), (temptation, punishment) = payoffs[0]
        order = {
            "iterated_prisoners_dilemma": temptation > reward > punishment > sucker,
            "chicken": temptation > reward > sucker > punishment,
            "stag_hunt": reward > temptation >= punishment > sucker,
        }
        assert order[name]
    if name == "matching_pennies":
        np.testing.assert_array_equal(payoffs.sum(axis=0), 0)
    if name == "battle_of_the_sexes":
        assert payoffs[0, 0, 0] > payoffs[0, 1, 1] > payoffs[0, 0, 1]
        assert payoffs[1, 1, 1] > payoffs[1, 0, 0] > payoffs[1, 0, 1]
    if name == "public_goods":
        assert (payoffs[:, 0, 0, 0] > payoffs[:, 1, 1, 1]).all()
        assert (payoffs[0, 1] > payoffs[0, 0]).all()
    if name == "ultimatum":
        assert payoffs.shape == (2, 3, 4)
        for offer, least in itertools.product((1, 2, 3), (1, 2, 3, 4)):
            earned = (4 - offer, offer) if offer >= least else (0, 0)
            assert tuple(payoffs[:, offer - 1, least - 1]) == earned


@pytest.mark.parametrize(("pie", "message"), [
    (2, "`pie` must be at least 3, so that there are two offers or more, but is 2"),
    (10_000, r"`pie` = 10000 would need some 200,000,000 payoffs \(limit 16,777,216\); take less"),
])  # fmt: skip
def test_pies_that_cannot_be_shared_are_refused(pie, message):
    with pytest.raises(ValueError, match=message):
        games.ultimatum(pie)


def test_own_action_comes_first_with_three_players_and_unequal_action_counts(getkey):
    actions = (2, 3, 4)
    game = MatrixGame(np.zeros((3, *actions)))
    assert game.num_observations == (25, 25, 25)
    for joint in itertools.product(*map(range, actions)):
        _, observations, _ = game.step(None, jnp.array(joint), getkey())
        a, b, c = joint
        assert observations.tolist() == [1 + a * 12 + b * 4 + c, 1 + b * 8 + a * 4 + c, 1 + c * 6 + a * 3 + b]


@pytest.mark.parametrize("game", [games.public_goods(), MatrixGame(np.arange(12.0).reshape(2, 2, 3))], ids=str)
def test_a_matrix_game_and_its_table_play_alike(game, getkey):
    table = game.table()
    assert (table.num_players, table.num_actions) == (game.num_players, game.num_actions)
    assert table.num_observations == game.num_observations
    state, observations = game.reset(getkey())
    table_state, table_observations = table.reset(getkey())
    np.testing.assert_array_equal(observations, table_observations)
    for _ in range(30):
        actions = jnp.array([jax.random.randint(getkey(), (), 0, n) for n in game.num_actions])
        state, observations, rewards = game.step(state, actions, getkey())
        table_state, table_observations, table_rewards = table.step(table_state, actions, getkey())
        np.testing.assert_array_equal(observations, table_observations)
        np.testing.assert_array_equal(rewards, table_rewards)


def test_a_tabular_game_draws_by_its_tables(getkey):
    """Each frequency lies within an exact binomial interval; 100 of them, each missed with probability 1e-6."""
    game, draws = random_game(0), 20_000
    starts, _ = jax.vmap(game.reset)(jax.random.split(getkey(), draws))
    _in_binomial_bounds(starts, game.initial, draws)
    for state, own, other in itertools.product(range(3), range(2), range(3)):
        step = jax.vmap(lambda key, s=state, a=own, b=other: game.step(jnp.array(s), jnp.array([a, b]), key))
        successors, observations, rewards = step(jax.random.split(getkey(), draws))
        _in_binomial_bounds(successors, game.transition[state, own, other], draws)
        np.testing.assert_array_equal(observations, game.observations[:, successors].T)
        np.testing.assert_array_equal(rewards[0], game.rewards[:, state, own, other])


def _in_binomial_bounds(samples, probabilities, draws):
    for state, probability in enumerate(np.asarray(probabilities)):
        count = int((samples == state).sum())
        low, high = binom.interval(1 - 1e-6, draws, probability)
        assert low <= count <= high, (state, probability, count)


def test_tables_given_in_float32_are_normalised_where_it_matters():
    third = np.full(3, 1 / 3, dtype=np.float32)
    game = TabularGame(third, np.tile(third, (3, 1, 1)), np.zeros((1, 3, 1)), np.zeros((1, 3)))
    assert abs(float(game.table().initial.sum()) - 1) < 1e-15
    np.testing.assert_allclose(game.table().transition.sum(axis=-1), 1, atol=1e-15)


def test_observation_counts_may_exceed_what_occurs():
    game = random_game(1)
    assert game.num_observations == (2, 2)
    with pytest.raises(ValueError, match=r"needs at least \(2, 2\)"):
        TabularGame(game.initial, game.transition, game.rewards, [[0, 1, 0], [1, 1, 0]], num_observations=(1, 2))


@pytest.mark.parametrize(
    ("payoffs", "message"),
    [
        ([[1, 2], [3, 4]], r"shape \[players, actions.*but has \(2, 2\)"),
        (np.zeros((3, 2, 2)), r"but has \(3, 2, 2\)"),
        ([[[1, 2], [3]], [[1, 2], [3, 4]]], "rows differ in length"),
        ([[[1, "two"], [3, 4]], [[1, 2], [3, 4]]], "numbers only, but holds 'two'"),
        ([[[1, None], [3, 4]], [[1, 2], [3, 4]]], "numbers only, but holds None"),
        ([[[1, float("nan")], [3, 4]], [[1, 2], [3, 4]]], r"entry \[0, 0, 1\] is nan"),
        ([[[1, 2], [3, float("inf")]], [[1, 2], [3, 4]]], r"entry \[0, 1, 1\] is inf"),
        (7.0, r"but has \(\)"),
        (np.zeros((2, 2, 0)), r"but has \(2, 2, 0\)"),
    ],
)
def test_bad_payoffs_are_named(payoffs, message):
    with pytest.raises(ValueError, match=message):
        MatrixGame(payoffs)


def _tables():
    game = random_game(2)
    return {name: np.array(getattr(game, name)) for name in ("initial", "transition", "rewards", "observations")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"initial": [0.5, 0.4, 0.0]}, "`initial` must sum to one.*sums to 0.9"),
        ({"initial": [0.5, 0.7, -0.2]}, r"entry \[2\] is -0.2"),
        ({"initial": [[1.0]]}, r"`initial` must have shape \[states\]"),
        ({"transition": np.full((3, 2, 3, 3), 0.3)}, r"`transition`\[0, 0, 0\] must sum to one.*sums to 0.9"),
        ({"transition": np.full((3, 3, 2, 3), 1 / 3)}, r"= \(3, 2, 3, 3\).*but has \(3, 3, 2, 3\)"),
        ({"rewards": np.zeros((3, 3, 2, 3))}, r"`rewards` must have shape.*but has \(3, 3, 2, 3\)"),
        ({"rewards": np.full((2, 3, 2, 3), np.nan)}, r"`rewards` must hold finite numbers"),
        ({"observations": [[0, 1], [0, 1]]}, r"= \(2, 3\), but has \(2, 2\)"),
        ({"observations": [[0, 1, -1], [0, 1, 1]]}, "integers ≥ 0.*but one is -1"),
        ({"observations": [[0, 1, 0.5], [0, 1, 1]]}, "integers ≥ 0.*but one is 0.5"),
    ],
)
def test_bad_tables_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        TabularGame(**(_tables() | change))


def test_bad_public_goods_are_named():
    with pytest.raises(ValueError, match="`players` must be at least 2, but is 1"):
        games.public_goods(players=1)
    with pytest.raises(ValueError, match="between 1 and players = 3, but is 3.5"):
        games.public_goods(multiplier=3.5)


def test_games_can_be_made_under_vmap(getkey):
    """A batch of payoffs makes a batch of games, which can be stepped and tabulated."""
    payoffs = jax.random.normal(getkey(), (4, 2, 2, 2))

    def play(payoffs):
        game = MatrixGame(payoffs)
        _, _, rewards = game.step(None, jnp.array([1, 0]), jax.random.key(0))
        return rewards, game.table().rewards[:, 3]

    rewards, tables = jax.jit(jax.vmap(play))(payoffs)
    np.testing.assert_array_equal(rewards, payoffs[:, :, 1, 0])
    np.testing.assert_array_equal(tables, payoffs)
