"""What policies take observations for: integers, vectors, and single numbers that are no integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx._checks import check_sizes
from coala_eqx.games import AbstractGame
from coala_eqx.policies import GRU, MLP, NO_ACTION, FullHistory, Hawk, MemoryOne, replay_actions
from tests.makers import SGD, make_problem

NETWORKS = {
    "MLP": lambda size, key: MLP(size, 2, width=3, key=key),
    "GRU": lambda size, key: GRU(size, 2, width=3, key=key),
    "Hawk": lambda size, key: Hawk(size, 2, width=4, head_scale=1.0, key=key),
}


class Showing(AbstractGame):
    """Shows two players always the same."""

    shown: jax.Array
    num_players: int = 2
    num_actions: tuple = (2, 2)
    num_observations: tuple = (1, 1)

    def reset(self, key):
        return None, self.shown

    def step(self, state, actions, key):
        return None, self.shown, jnp.zeros(2)


def logits(policy, observation):
    return policy(policy.initial_memory(), jnp.asarray(observation), jnp.array(NO_ACTION))[1].logits


def problem(game, policy):
    return ce.ShapingProblem(game=game, co_players=policy, learner=SGD, batch=1, episodes=1, steps=2)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_single_number_that_is_no_integer_is_a_vector_of_length_one(kind, getkey):
    policy = NETWORKS[kind](1, getkey())
    assert (logits(policy, 0.37) != logits(policy, 0.9)).any()
    np.testing.assert_array_equal(logits(policy, 0.37), logits(policy, [0.37]))
    observations, actions = jnp.array([[0.37, 0.9]]), jnp.array([[0, 1]])
    np.testing.assert_array_equal(
        replay_actions(policy, observations, actions)[0], replay_actions(policy, observations[..., None], actions)[0]
    )
    game = Showing(jnp.array([0.37, 0.9]))
    assert np.isfinite(problem(game, policy).play(policy, getkey()).log_probs).all()


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    ("size", "observation", "message"),
    [
        (5, 0.37, r"made for 5 observations.* single numbers of type float64.*observations=1, or .* integers"),
        (5, np.float16(2), r"made for 5 observations.* single numbers of type float16"),
        (40, np.zeros(36), r"made for 40 observations.* vectors of length 36.*observations=36"),
        (36, np.zeros(40, bool), r"made for 36 observations.* vectors of length 40"),
        (4, np.zeros((2, 2)), r"arrays of shape \[2, 2\]; flatten them.*observations=4"),
        (4, np.zeros(1), r"vectors of length 1"),
    ],
)
def test_networks_refuse_observations_that_they_are_not_made_for(kind, size, observation, message, getkey):
    policy = NETWORKS[kind](size, getkey())
    with pytest.raises(ValueError, match=message):
        logits(policy, observation)


@pytest.mark.parametrize("dtype", [int, np.uint8, np.int32, bool, jnp.int4])
def test_integers_of_all_types_are_numbers_of_observations(dtype, getkey):
    policy = NETWORKS["MLP"](3, getkey())
    np.testing.assert_array_equal(logits(policy, jnp.asarray(1, dtype)), logits(policy, [0.0, 1.0, 0.0]))


SIZES = r"The policy of player {}, a {}, is made for {} observations, but the game has vectors of length 36"


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("size", [35, 40])
def test_problems_refuse_networks_for_vectors_of_another_length(kind, size, getkey):
    game, right = ce.games.CoinGame(), GRU(36, 4, width=3, key=getkey())
    wrong = {"MLP": MLP, "GRU": GRU, "Hawk": Hawk}[kind](size, 4, width=4, key=getkey())
    with pytest.raises(ValueError, match=SIZES.format(1, kind, size)):
        problem(game, wrong)
    with pytest.raises(ValueError, match=SIZES.format(1, kind, size)):
        problem(game, ce.Population([wrong]))
    with pytest.raises(ValueError, match=SIZES.format(0, kind, size)):
        problem(game, right).play(wrong, getkey())
    with pytest.raises(ValueError, match=SIZES.format(1, kind, size)):
        problem(game, lambda key: wrong).play(right, getkey())


def test_tables_may_tell_more_integers_apart_and_see_no_vectors(getkey):
    more = MemoryOne(np.zeros((7, 2)))
    assert make_problem(getkey()).play(more, getkey()).log_probs.shape == (2, 2, 2)
    for game in (ce.games.CoinGame(), Showing(jnp.array([0.5, 0.5]))):
        table = MemoryOne.random(game, getkey(), player=1)
        with pytest.raises(ValueError, match="a MemoryOne, has a row for each observation, which must be an integer"):
            problem(game, table)
    history = FullHistory.random(ce.games.chicken(), 2, getkey())
    with pytest.raises(ValueError, match="a FullHistory, has a row for each observation"):
        problem(Showing(jnp.array([0.5, 0.5])), history)


def test_a_game_that_shows_other_sizes_than_it_says_is_named(getkey):
    policy = NETWORKS["MLP"](5, getkey())
    game = Showing(jnp.zeros((2, 3)), num_observations=(5, 5))
    with pytest.raises(ValueError, match=r"Showing says .* vectors of length 5, but shows float64\[3\]"):
        problem(game, policy)
    game = Showing(jnp.zeros(2), num_observations=(5, 5))
    with pytest.raises(ValueError, match=r"must be 1 \(or observations integers\)"):
        problem(game, policy)


@pytest.mark.parametrize("actions", ["Box(-1.0, 1.0, (2,))", 2.0, 0, None])
def test_a_game_of_continuous_actions_is_refused(actions, getkey):
    game = Showing(jnp.zeros(2, int), num_actions=(2, actions))
    with pytest.raises(ValueError, match=r"actions of player 1 must be discrete \(0, 1, …\)"):
        problem(game, MemoryOne(np.zeros((1, 2))))


@pytest.mark.parametrize("size", [2.5, "5", True])
def test_sizes_that_are_no_whole_numbers_are_refused(size):
    with pytest.raises(ValueError, match="`width` must be a whole number"):
        check_sizes(width=size)


def test_a_policy_of_another_game_is_refused():
    game = ce.games.iterated_prisoners_dilemma()
    with pytest.raises(ValueError, match="a MemoryOne, is made for 3 actions, but the game has 2"):
        problem(game, MemoryOne([[1, 2, 3]]))
    with pytest.raises(ValueError, match="a MemoryOne, is made for 1 observations, but the game has 5"):
        problem(game, MemoryOne([[1, 2]]))
