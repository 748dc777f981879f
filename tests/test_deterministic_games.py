"""Tables of deterministic games hold next states: the same as with probabilities, and no larger than the outcomes."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx.exact.outcomes import count_inner_outcomes, list_inner_outcomes
from coala_eqx.games import TabularGame
from coala_eqx.games.moves import CertainMoves, RandomMoves
from coala_eqx.policies import FullHistory
from coala_eqx.returns import episode_returns
from tests.makers import random_game


def by_numbers(seed, *, alike=False, states=5, actions=(2, 3)):
    """A game whose next states are drawn, the same for all states if they are `alike`."""
    generator = np.random.default_rng(seed)
    own = 1 if alike else states
    return TabularGame(
        initial=[0.25, 0.0, 0.75, 0.0, 0.0],
        transition=generator.integers(states, size=(own, *actions)),
        rewards=generator.normal(size=(len(actions), own, *actions)),
        observations=generator.integers(3, size=(len(actions), states)),
        num_observations=(4, 3),
    )


def by_probabilities(game):
    return TabularGame(game.initial, game.transition, game.rewards, game.observations, game.num_observations)


GAMES = {
    "each state its own": lambda: by_numbers(0),
    "all states alike": lambda: by_numbers(1, alike=True),
    "matrix game": lambda: ce.games.public_goods().table(),
    "grid": lambda: ce.games.CleanUpLite(
        rows=1, columns=2, actions=("up", "zap"), dirt_probability=0.0, dirt_capacity=1.0, initial_dirt=1,
        zap_probability=1.0, freeze_steps=1, start=(0, 0),
    ).table(),
}  # fmt: skip


@pytest.mark.parametrize("name", GAMES)
def test_it_is_the_game_with_probabilities(name):
    game = GAMES[name]().table()
    dense = by_probabilities(game).table()
    assert isinstance(game.moves, CertainMoves)
    assert isinstance(dense.moves, RandomMoves)
    assert game.num_actions == dense.num_actions
    np.testing.assert_array_equal(game.possible_moves, dense.possible_moves)
    for player in range(game.num_players):
        np.testing.assert_array_equal(game.moves.following(player), dense.moves.following(player))
    for steps in (1, 2, 3):
        one, other = (list_inner_outcomes(table, steps) for table in (game, dense))
        for mine, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
        assert count_inner_outcomes(game, steps) == count_inner_outcomes(dense, steps) == len(one.chance)


@pytest.mark.parametrize("name", GAMES)
def test_it_is_played_and_averaged_alike(name, getkey):
    game = GAMES[name]()
    dense = by_probabilities(game)
    keys, actions = jax.random.split(getkey(), 20), jnp.asarray(game.num_actions) - 1
    states, _ = jax.vmap(game.reset)(keys)
    for mine, theirs in zip(
        *(jax.vmap(g.step, (0, None, 0))(states, actions, keys) for g in (game, dense)), strict=True
    ):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)
    policies = tuple(ce.policies.MemoryOne.random(game, getkey(), player=p) for p in range(game.num_players))
    one, other = (episode_returns(g, policies, 3, 0.9) for g in (game, dense))
    np.testing.assert_array_equal(one, other)
    trees = [FullHistory.random(g, 3, jax.random.key(0), player=1) for g in (game, dense)]
    assert jax.tree.structure(trees[0]) == jax.tree.structure(trees[1])


def test_the_list_of_successors_is_that_of_the_table(getkey):
    """Of a game with probabilities, some of them 0: by pairs, and then by states."""
    transition = np.array(random_game(0).transition)
    transition[0, 1, 2], transition[2, :, 0] = [0, 1, 0], [0.5, 0, 0.5]
    moves = RandomMoves(transition)
    states, actions = np.array([2, 0, 0, 1]), np.array([[0, 0], [1, 2], [0, 1], [1, 0]])
    pairs, successors = np.nonzero(transition[(states, *actions.T)] > 0)
    found = moves.successors(states, actions)
    np.testing.assert_array_equal(found[0], pairs)
    np.testing.assert_array_equal(found[1], successors)
    assert moves.count_successors(states, actions) == len(pairs)
    np.testing.assert_array_equal(
        moves.chance(states[pairs], actions[pairs], successors),
        transition[(states[pairs], *actions[pairs].T, successors)],
    )


LARGE = {
    "20 by 20": (lambda: ce.games.MatrixGame(np.ones((2, 20, 20))), 400),
    "40 by 40": (lambda: ce.games.MatrixGame(np.ones((2, 40, 40))), 1600),
    "ten players": (lambda: ce.games.public_goods(10), 1024),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_games_take_no_more_than_their_outcomes(name):
    """A dense table would be of 0.5, 30 and 8 GiB; what is counted, listed and numbered here fits into 64 MB."""
    make, outcomes = LARGE[name]
    tracemalloc.start()
    try:
        game = make()
        table = game.table()
        assert [count_inner_outcomes(table, steps) for steps in (1, 2, 3)] == [outcomes, outcomes**2, outcomes**3]
        listed = list_inner_outcomes(table, 1)
        policy = FullHistory.random(game, 1, jax.random.key(0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert listed.rewards.shape == (outcomes, 1, game.num_players)
    assert len(policy.logits) == 1
    assert peak < 64e6


def test_a_dense_table_that_is_too_large_is_refused_with_its_size():
    table = ce.games.MatrixGame(np.ones((2, 40, 40))).table()
    for name in ("transition", "possible_moves"):
        with pytest.raises(ValueError, match=r"would hold 4,101,121,600 numbers.*limit 100,000,000.*`game.moves`"):
            getattr(table, name)


def test_games_and_policies_that_are_too_large_are_refused_with_their_size(getkey):
    with pytest.raises(ValueError, match="`players` = 40 would need 43,980,465,111,040 payoffs.*take fewer"):
        ce.games.public_goods(40)
    game = ce.games.MatrixGame(np.ones((2, 40, 40)))
    with pytest.raises(
        ValueError, match=r"would have 2,691,241 rows of 40 logits \(limit 40,000,000 in all\).*lower `steps`"
    ):
        FullHistory.random(game, 3, getkey())


@pytest.mark.parametrize(
    ("transition", "message"),
    [
        (np.full((5, 2, 3), 5), r"integers from 0 to 4, but entry \[0, 0, 0\] is 5"),
        (np.full((5, 2, 3), -1), r"entry \[0, 0, 0\] is -1"),
        (np.full((1, 2, 3), 0.5), r"entry \[0, 0, 0\] is 0.5"),
        (np.zeros((5, 3, 2)), r"\(or \(5, 2, 3\) with the number of the next state\), but has \(5, 3, 2\)"),
    ],
)
def test_bad_next_states_are_named(transition, message):
    game = by_numbers(0)
    with pytest.raises(ValueError, match=message):
        TabularGame(game.initial, transition, game.rewards, game.observations)


def test_traced_next_states_are_refused():
    game = by_numbers(0)
    with pytest.raises(ValueError, match="numbers of next states must be known beforehand"):
        jax.jit(lambda t: TabularGame(game.initial, t, game.rewards, game.seen.array).initial)(
            jnp.zeros((5, 2, 3), int)
        )


def test_probabilities_that_were_given_stay_differentiable():
    """Also where they are 0 and 1: the slope of a mean of rewards is that of the sum over next states."""
    game = by_probabilities(by_numbers(0))
    policies = tuple(ce.policies.MemoryOne(np.zeros((4 - p, n))) for p, n in enumerate(game.num_actions))

    def value(transition):
        changed = TabularGame(game.initial, transition, game.rewards, game.observations, game.num_observations)
        return episode_returns(changed, policies, 2)[0]

    slope = jax.grad(value)(game.transition)
    # Rows of the table are rescaled to sum to one: from the mean reward of a next state that of the real one is taken.
    later = np.asarray(game.rewards[0]).mean(axis=(1, 2))
    real = np.asarray(game.transition) @ later
    expected = np.asarray(game.initial)[:, None, None, None] / 6 * (later - real[..., None])
    np.testing.assert_allclose(slope, expected, atol=1e-15)
