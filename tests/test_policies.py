"""Policies: step by step and in one go, memory, tables of histories, and bad input."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx.policies import GRU, NO_ACTION, FullHistory, MemoryOne, replay_actions
from tests.makers import make_policy, make_problem, random_game

KINDS = ["MemoryOne", "FullHistory", "GRU", "MLP", "Hawk"]


def _sequence(problem, key):
    """Observations and actions of the ego agent along one meta-trajectory that can occur."""
    episode = problem.play(make_policy("MemoryOne", problem, key), key)
    return episode.observations.reshape(problem.batch, -1), episode.actions.reshape(problem.batch, -1)


@pytest.mark.parametrize("kind", KINDS)
def test_unroll_is_the_steps_in_a_row(kind, getkey):
    problem = make_problem(getkey(), episodes=2, steps=3)
    policy = make_policy(kind, problem, getkey())
    observations, actions = (array[0] for array in _sequence(problem, getkey()))
    previous = jnp.concatenate([jnp.array([NO_ACTION]), actions[:-1]])
    _, unrolled = policy.unroll(policy.initial_memory(), observations, previous)
    memory = policy.initial_memory()
    for step in range(6):
        memory, output = policy(memory, observations[step], previous[step])
        np.testing.assert_allclose(output.logits, unrolled.logits[step], rtol=1e-12)
        np.testing.assert_allclose(output.values, unrolled.values[step], rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_unroll_goes_on_from_a_memory(kind, getkey):
    problem = make_problem(getkey(), episodes=2, steps=3)
    policy = make_policy(kind, problem, getkey())
    observations, actions = (array[0] for array in _sequence(problem, getkey()))
    previous = jnp.concatenate([jnp.array([NO_ACTION]), actions[:-1]])
    _, whole = policy.unroll(policy.initial_memory(), observations, previous)
    memory, first = policy.unroll(policy.initial_memory(), observations[:2], previous[:2])
    _, second = policy.unroll(memory, observations[2:], previous[2:])
    np.testing.assert_allclose(jnp.concatenate([first.logits, second.logits]), whole.logits, rtol=1e-12)


def test_replayed_log_probs_are_those_of_a_softmax(getkey):
    logits = jax.random.normal(getkey(), (5, 3))
    observations, actions = jnp.array([[0, 4, 2]]), jnp.array([[1, 2, 0]])
    log_probs, values = replay_actions(MemoryOne(logits), observations, actions)
    probabilities = np.exp(np.asarray(logits)) / np.exp(np.asarray(logits)).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(jnp.exp(log_probs[0]), probabilities[[0, 4, 2], [1, 2, 0]], rtol=1e-12)
    np.testing.assert_array_equal(values, 0)


def test_full_history_has_one_row_for_every_history_that_can_occur(getkey):
    """Row numbers of all histories of length ≤ 3 are distinct and fill the table."""
    game = ce.games.iterated_prisoners_dilemma()
    policy = FullHistory.random(game, 3, getkey())
    # After action a either the joint outcome (a, ·) is seen, or a new inner episode's start.
    follows = {a: [0, 1 + 2 * a, 2 + 2 * a] for a in range(2)}
    rows = []
    for length in range(1, 4):
        for actions in itertools.product(range(2), repeat=length - 1):
            for seen in itertools.product(*(follows[a] for a in actions)):
                memory = policy.initial_memory()
                for observation, previous in zip([0, *seen], [NO_ACTION, *actions], strict=True):
                    memory, output = policy(memory, jnp.array(observation), jnp.array(previous))
                assert jnp.isfinite(output.logits).all()
                rows.append(int(memory))
    assert sorted(rows) == list(range(len(policy.logits)))
    assert len(policy.logits) == 1 + 6 + 36


def test_full_history_says_nan_outside_its_tree(getkey):
    policy = FullHistory.random(ce.games.iterated_prisoners_dilemma(), 2, getkey())
    memory, output = policy(policy.initial_memory(), jnp.array(3), jnp.array(NO_ACTION))
    assert jnp.isnan(output.logits).all()
    _, later = policy(memory, jnp.array(0), jnp.array(0))
    assert jnp.isnan(later.logits).all()


@pytest.mark.parametrize("player", [0, 1])
def test_a_tabulated_network_acts_like_the_network(player, getkey):
    game = random_game(3)
    network = GRU(2, game.num_actions[player], width=3, head_scale=2.0, key=getkey())
    table = FullHistory.tabulate(network, game, 3, player=player)
    sequences = itertools.product(
        itertools.product(range(2), repeat=3), itertools.product(range(game.num_actions[player]), repeat=3)
    )
    observations, actions = map(jnp.array, zip(*sequences, strict=True))
    expected, _ = replay_actions(network, observations, actions)
    actual, _ = replay_actions(table, observations, actions)
    possible = np.isfinite(actual)
    np.testing.assert_allclose(actual[possible], expected[possible], rtol=1e-12)
    np.testing.assert_array_equal(possible[:, 0], np.isin(observations[:, 0], game.observations[player]))


def test_a_gru_reads_vectors_as_well_as_numbers(getkey):
    policy = GRU(4, 2, width=3, key=getkey())
    _, from_number = policy(policy.initial_memory(), jnp.array(2), jnp.array(NO_ACTION))
    _, from_vector = policy(policy.initial_memory(), jnp.eye(4)[2], jnp.array(NO_ACTION))
    np.testing.assert_array_equal(from_number.logits, from_vector.logits)


def test_heads_can_start_at_zero(getkey):
    policy = GRU(4, 2, head_scale=0.0, key=getkey())
    _, output = policy(policy.initial_memory(), jnp.array(1), jnp.array(NO_ACTION))
    np.testing.assert_array_equal(output.logits, 0)
    assert output.values == 0


def test_memory_one_has_logits_as_its_only_leaf():
    assert [leaf.shape for leaf in jax.tree.leaves(MemoryOne(np.zeros((5, 2))))] == [(5, 2)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda key: MemoryOne([0.0, 1.0]), r"shape \[observations, actions\], but has \(2,\)"),
        (lambda key: MemoryOne([[0.0, float("nan")]]), r"entry \[0, 1\] is nan"),
        (lambda key: GRU(0, 2, key=key), "`observations` must be at least 1, but is 0"),
        (lambda key: GRU(5, 2, width=0, key=key), "`width` must be at least 1, but is 0"),
        (lambda key: FullHistory.random(ce.games.chicken(), 0, key), "`steps` must be at least 1, but is 0"),
        (lambda key: FullHistory.random(ce.games.chicken(), 20, key), r"731,\d+,\d+,\d+,\d+ rows.*lower `steps`"),
    ],
)
def test_bad_policies_are_named(make, message, getkey):
    with pytest.raises(ValueError, match=message):
        make(getkey())


def test_full_history_can_be_made_and_tabulated_under_jit(getkey):
    game = random_game(6)
    network = GRU(2, 2, width=3, key=getkey())
    plain = FullHistory.tabulate(network, game, 2)
    compiled = eqx.filter_jit(lambda n: FullHistory.tabulate(n, game, 2))(network)
    np.testing.assert_allclose(compiled.logits, plain.logits, rtol=1e-12)


def test_a_table_of_another_game_is_refused(getkey):
    one_way = ce.games.TabularGame([1.0, 0.0], [[[0.0, 1.0]], [[0.0, 1.0]]], np.zeros((1, 2, 1)), [[0, 1]])
    both_ways = ce.games.TabularGame([1.0, 0.0], [[[0.5, 0.5]], [[0.0, 1.0]]], np.zeros((1, 2, 1)), [[1, 0]])
    policy = FullHistory.random(one_way, 2, getkey())
    problem = make_problem(getkey(), game=both_ways, episodes=1, steps=2)
    with pytest.raises(ValueError, match="was made for another game"):
        problem.play(policy, getkey())


def test_integer_vectors_are_read_as_vectors(getkey):
    policy = GRU(4, 2, width=3, key=getkey())
    _, from_ints = policy(policy.initial_memory(), jnp.array([0, 0, 1, 0]), jnp.array(NO_ACTION))
    _, from_number = policy(policy.initial_memory(), jnp.array(2), jnp.array(NO_ACTION))
    np.testing.assert_array_equal(from_ints.logits, from_number.logits)


def test_a_table_can_hold_a_critic(getkey):
    game = ce.games.chicken()
    policy = FullHistory.random(game, 2, getkey())
    observations, actions = jnp.array([[0, 1], [0, 4]]), jnp.array([[0, 1], [1, 0]])
    values = jnp.arange(float(len(policy.logits)))
    log_probs, said = replay_actions(policy.with_critic(values), observations, actions)
    np.testing.assert_array_equal(said, policy.rows(observations, actions))
    np.testing.assert_array_equal(log_probs, replay_actions(policy, observations, actions)[0])
    with pytest.raises(ValueError, match=r"one value for each of the .* but has shape \(3,\)"):
        policy.with_critic(values[:3])


def test_a_table_needs_a_game_that_can_be_tabulated(getkey):
    class Endless(ce.games.AbstractGame):
        num_players: int = 1
        num_actions: tuple[int, ...] = (2,)
        num_observations: tuple[int, ...] = (1,)

        def reset(self, key):
            return None, jnp.zeros(1, int)

        def step(self, state, actions, key):
            return None, jnp.zeros(1, int), jnp.zeros(1)

    with pytest.raises(ValueError, match="written as a table, not Endless"):
        FullHistory.random(Endless(), 2, getkey())
