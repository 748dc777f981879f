"""Environments of other libraries as games."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce


class Named:
    """As in JaxMARL: the two see a map and a number; who plays the larger action earns the difference."""

    agents = ("left", "right")

    def action_space(self, agent):
        return SimpleNamespace(n=3)

    def reset(self, key):
        return self.observe(state := jnp.zeros((2, 2))), state

    def step(self, key, state, actions):
        raise AssertionError("this one resets by itself")

    def step_env(self, key, state, actions):
        state = state.at[0, 0].add(actions["left"]).at[1, 1].add(actions["right"])
        difference = actions["left"] - actions["right"]
        rewards = {"right": -difference, "left": difference}
        return self.observe(state), state, rewards, {"__all__": False}, {}

    def observe(self, state):
        return {"left": {"map": state, "n": jnp.ones(1, int)}, "right": {"map": state.T, "n": jnp.zeros(1, bool)}}


class WithParams:
    """As Gymnax, with sequences."""

    num_agents = 2
    num_actions = 2
    default_params = SimpleNamespace(pay=2.0)

    def reset(self, key, params):
        return jnp.zeros((2, 3)), jnp.zeros(())

    def step(self, key, state, actions, params):
        own, other = actions
        return jnp.full((2, 3), state + 1), state + 1, (params.pay * own, -params.pay * other), False, {}


def test_players_by_name():
    game = ce.games.FromEnvironment(Named())
    assert (game.num_players, game.num_actions, game.num_observations) == (2, (3, 3), (5, 5))
    state, seen = game.reset(jax.random.key(0))
    np.testing.assert_array_equal(seen, [[0, 0, 0, 0, 1], [0, 0, 0, 0, 0]])
    state, seen, rewards = jax.jit(game.step)(state, jnp.array([2, 1]), jax.random.key(1))
    np.testing.assert_array_equal(seen, [[2, 0, 0, 1, 1], [2, 0, 0, 1, 0]])
    np.testing.assert_array_equal(rewards, [1, -1])


def test_players_in_a_row_and_params():
    game = ce.games.FromEnvironment(WithParams())
    assert (game.num_actions, game.num_observations) == ((2, 2), (3, 3))
    state, _ = game.reset(jax.random.key(0))
    _, seen, rewards = game.step(state, jnp.array([1, 1]), jax.random.key(1))
    np.testing.assert_array_equal(seen, np.ones((2, 3)))
    np.testing.assert_array_equal(rewards, [2, -2])
    other = ce.games.FromEnvironment(WithParams(), params=SimpleNamespace(pay=3.0))
    np.testing.assert_array_equal(other.step(state, jnp.array([1, 1]), jax.random.key(1))[2], [3, -3])


def play(game, steps=4):
    """A meta-episode of small networks."""
    ego, naive = (
        ce.policies.GRU(game.num_observations[0], game.num_actions[0], width=4, key=jax.random.key(number))
        for number in range(2)
    )
    problem = ce.ShapingProblem(
        game=game, co_players=(naive,), learner=ce.learners.PolicyGradient(optimiser=optax.sgd(0.1)),
        batch=2, episodes=2, steps=steps,
    )  # fmt: skip
    return jax.jit(lambda key: problem.play(ego, key))(jax.random.key(2))


def test_it_is_played():
    assert play(ce.games.FromEnvironment(Named())).rewards.shape == (2, 2, 4)


class Strings(Named):
    def reset(self, key):
        return {"left": "hello", "right": "hello"}, 0


class Keyless(Named):
    def reset(self):
        return self.observe(jnp.zeros((2, 2))), 0


class Uneven(Named):
    def observe(self, state):
        return {"left": state, "right": state[0]}


class Missing(Named):
    def observe(self, state):
        return {"left": state}


class Alone(Named):
    agents = ("left",)


class Continuous(Named):
    def action_space(self, agent):
        return SimpleNamespace(shape=(2,))


class Nobody(WithParams):
    num_agents = None


class Single(WithParams):
    def step(self, key, state, actions, params):
        return jnp.zeros((2, 3)), state, 1.0, False, {}


class Growing(Named):
    def step_env(self, key, state, actions):
        return self.observe(jnp.zeros((3, 3))), state, {"left": 0.0, "right": 0.0}, {}, {}


class Broken(Named):
    def reset(self, key):
        return {}["nothing"]


class Two(Named):
    def step_env(self, key, state, actions):
        return self.observe(state), state


class Unpaid(Named):
    def step_env(self, key, state, actions):
        return self.observe(state), state, {"left": None, "right": None}, {}, {}


class Counting(Named):
    def reset(self, key):
        return self.observe(jnp.zeros((2, 2))), jnp.zeros(2)

    def step_env(self, key, state, actions):
        return self.observe(jnp.zeros((2, 2))), jnp.zeros(3), {"left": 0.0, "right": 0.0}, {}, {}


class Blind(Named):
    def observe(self, state):
        return {"left": state[:0], "right": state[:0]}


class Idle(Named):
    def action_space(self, agent):
        return SimpleNamespace(n=0)


class Raising(Named):
    def action_space(self, agent):
        raise RuntimeError("no space")


class Half(Named):
    def action_space(self, agent):
        return SimpleNamespace(n=2.5)


class Twins(Named):
    agents = ("left", "left")


class Spelled(WithParams):
    num_agents = "2"


class Complex(Named):
    def observe(self, state):
        return {"left": state + 1j, "right": state + 1j}


class Repacking(Named):
    def reset(self, key):
        return self.observe(jnp.zeros((2, 2))), [jnp.zeros(2)]

    def step_env(self, key, state, actions):
        return self.observe(jnp.zeros((2, 2))), (state[0],), {"left": 0.0, "right": 0.0}, {}, {}


@dataclasses.dataclass
class Unhashable(Named):
    pass


@pytest.mark.parametrize(("environment", "message"), [
    (Half, "by an `action_space` with a positive whole `n`, or `num_actions`"),
    (Twins, r"Twins must have players of different names, but has \('left', 'left'\)"),
    (Spelled, "Spelled must have a whole number of players, but has '2'"),
    (Complex, "must be an array of real numbers, or a tree of them"),
    (Repacking, r"took PyTreeDef\(\[\*\]\) and gave PyTreeDef\(\(\*,\)\)"),
    (Unhashable, "Unhashable must be hashable, as it is a static part of compiled programs, but: unhashable type"),
    (Broken, "Broken: `reset` must take a key, and give observations and a state: KeyError"),
    (Two, "Two: a step must take a key, a state and actions, and give observations, a state, and rewards of"),
    (Unpaid, "Unpaid: a step must take a key, a state and actions, and give"),
    (Counting, r"Counting: a step must give a state of the same arrays as it took, but took float\d\d\[2\] and gave"),
    (Blind, r"Blind: observations must hold a number or more, but their lengths are \[0, 0\]"),
    (Idle, "actions must be discrete \\(0, 1, …\\)"),
    (Raising, "actions must be discrete \\(0, 1, …\\)"),
    (Nobody, "must say who plays: `agents`, `num_agents` or `num_players`"),
    (Single, "a step must take a key, a state and actions, and give observations, a state, and rewards"),
    (Growing, r"players see \(2, 5\) numbers at first, but \(2, 10\) after a step"),
    (Strings, "must be an array of real numbers, or a tree of them, but has 'hello'"),
    (Keyless, "`reset` must take a key, and give observations and a state"),
    (Uneven, r"theirs are \[4, 2\]. Pad the shorter"),
    (Missing, "one observation, and one reward, for each of the players left, right, but there are \\['left'\\]"),
    (Alone, "must have two players or more, but has 1"),
    (Continuous, "actions must be discrete .*; its space of actions is namespace"),
])  # fmt: skip
def test_environments_that_make_no_game(environment, message):
    with pytest.raises(ValueError, match=message):
        ce.games.FromEnvironment(environment())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "settings"), [("coin_game", {"num_inner_steps": 1000}), ("storm_2p", {})])
def test_environments_of_jaxmarl(name, settings):
    jaxmarl = pytest.importorskip("jaxmarl")
    environment = jaxmarl.make(name, **settings)
    game = ce.games.FromEnvironment(environment)
    reset, step, theirs = jax.jit(game.reset), jax.jit(game.step), jax.jit(environment.step_env)
    observations, its_state = environment.reset(jax.random.key(0))
    state, seen = reset(jax.random.key(0))
    earned, players = 0.0, environment.agents
    for number in range(100):
        expected = [np.concatenate([*map(np.ravel, jax.tree.leaves(observations[player]))]) for player in players]
        np.testing.assert_array_equal(seen, expected)
        key = jax.random.key(1 + number)
        actions = jax.random.randint(key, (2,), 0, jnp.array(game.num_actions))
        given = dict(zip(players, actions, strict=True)) if isinstance(observations, dict) else tuple(actions)
        observations, its_state, rewards, *_ = theirs(key, its_state, given)
        state, seen, ours = step(state, actions, key)
        np.testing.assert_array_equal(ours, [rewards[player] for player in players])
        earned += float(np.abs(ours[0] - ours[1]))
    assert earned > 0 or name != "coin_game", "players who were swapped would be seen"
    episode = play(game)
    assert np.isfinite(episode.rewards).all()
    assert episode.observations.shape == (2, 2, 4, game.num_observations[0])
