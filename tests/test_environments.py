"""Environments of other libraries as games."""

import dataclasses
import functools
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.runs import Silent
from coala_eqx.training import A2C, Agent, NaiveLearners, Pool, train
from tests.outside import Coins, Lake, OnlySteps, Pole, Spread

SGD = optax.sgd(0.1)


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


class Missing(Named):
    def observe(self, state):
        return {"left": state}


class Box:
    """As in both libraries: a space without `n`."""

    def __init__(self, low, high, shape):
        self.low, self.high, self.shape = low, high, shape


class Continuous(Named):
    """Each player is paid for its own action, and moves by it."""

    def action_space(self, agent):
        return Box(-1.0, np.array([1.0, 2.0]), (2,))

    def reset(self, key):
        return self.observe(jnp.zeros((2, 2))), jnp.zeros((2, 2))

    def step_env(self, key, state, actions):
        state = state + jnp.stack([actions["left"], actions["right"]])
        rewards = {agent: actions[agent].sum() for agent in self.agents}
        return self.observe(state), state, rewards, {"__all__": jnp.zeros((), bool)}, {}

    def observe(self, state):
        return {"left": state[0], "right": state[1]}


class Unlike(Continuous):
    def action_space(self, agent):
        return Box(-1.0, 1.0, (2,) if agent == "left" else (3,))


class Inverted(Continuous):
    def action_space(self, agent):
        return Box(1.0, -1.0, (2,))


class Nothing(Continuous):
    def action_space(self, agent):
        return Box(-1.0, 1.0, (0,))


class Pendulum:
    """As Gymnax's: its actions are continuous, though it says that it has one."""

    num_actions = 1

    def action_space(self, params=None):
        return Box(-2.0, 2.0, (1,))

    def reset(self, key):
        return jnp.zeros(1), jnp.zeros(())

    def step_env(self, key, state, action):
        state = state + action[0]
        return state[None], state, -(state**2), jnp.zeros((), bool), {}


class Several(Named):
    def action_space(self, agent):
        return SimpleNamespace(shape=(2,), num_categories=(2, 3))


class Undecided(Named):
    def step_env(self, key, state, actions):
        return self.observe(state), state, {"left": 0.0, "right": 0.0}, jnp.zeros((2, 2), bool), {}


class Empty(Named):
    agents = ()


class Wrapper(Named):
    """Its state holds another one, which `step_env` takes."""

    def reset(self, key):
        return self.observe(jnp.zeros((2, 2))), {"inside": jnp.zeros((2, 2))}


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
    (Spelled, "Spelled must have a whole number of players, at least 1, but has '2'"),
    (Complex, "must be an array of real numbers, or a tree of them"),
    (Repacking, r"took PyTreeDef\(\[\*\]\) and gave PyTreeDef\(\(\*,\)\)"),
    (Unhashable, "Unhashable must be hashable, as it is a static part of compiled programs, but: unhashable type"),
    (Broken, "Broken: `reset` must take a key, and give observations and a state: KeyError"),
    (Two, "Two: a step must take a key, a state and actions, and give observations, a state, and rewards of"),
    (Unpaid, "Unpaid: a step must take a key, a state and actions, and give"),
    (Counting, r"Counting: a step must give a state of the same arrays as it took, but took float\d\d\[2\] and gave"),
    (Blind, "Blind: observations must hold a number or more, but are empty"),
    (Undecided, "by one truth value, or one for each player, .* done, but gave an array of shape \\(2, 2\\)"),
    (Empty, "Empty must have a player or more, but `agents` is empty"),
    (Wrapper, "Of a wrapper with a state of its own, give the environment inside"),
    (Idle, r"actions must be discrete \(0, 1, …\).* but their number is 0"),
    (Raising, r"actions must be discrete \(0, 1, …\).* but their number is None"),
    (Nobody, "must say who plays: `agents`, `num_agents` or `num_players`"),
    (Single, "a step must take a key, a state and actions, and give observations, a state, and rewards"),
    (Growing, r"players see float\d\d\[2, 5\] at first, but float\d\d\[2, 10\] after a step"),
    (Strings, "must be an array of real numbers, or a tree of them, but has 'hello'"),
    (Keyless, "`reset` must take a key, and give observations and a state"),
    (Missing, "one observation, and one reward, for each of the players left, right, but there are \\['left'\\]"),
    (Unlike, r"must be of one kind and shape, but is \(Box\(n=2\), Box\(n=3\)\)"),
    (Inverted, r"actions must have bounds low ≤ high, but these are \[1.0, 1.0\] and \[-1.0, -1.0\]"),
    (Nothing, r"a continuous action must have a component or more, but has shape \(0,\)"),
    (Several, r"must be discrete, .*, or continuous, .*, but those of 'left' are a SimpleNamespace of shape \(2,\)"),
])  # fmt: skip
def test_environments_that_make_no_game(environment, message):
    with pytest.raises(ValueError, match=message):
        ce.games.FromEnvironment(environment())


def test_continuous_actions_are_clipped_to_the_bounds_of_the_environment():
    game = ce.games.FromEnvironment(Continuous())
    assert game.action_spaces == (ce.games.Box(2), ce.games.Box(2))
    assert game.num_actions == (2, 2)
    state, _ = game.reset(jax.random.key(0))
    _, seen, rewards = game.step(state, jnp.array([[0.5, 9.0], [-9.0, -0.25]]), jax.random.key(1))
    np.testing.assert_allclose(seen, [[0.5, 2.0], [-1.0, -0.25]])
    np.testing.assert_allclose(rewards, [2.5, -1.25])
    alone = ce.games.FromEnvironment(Pendulum())
    assert alone.action_spaces == (ce.games.Box(1),)
    state, _ = alone.reset(jax.random.key(0))
    _, seen, rewards = alone.step(state, jnp.array([[3.0]]), jax.random.key(1))
    np.testing.assert_allclose((seen[0, 0], rewards[0]), (2.0, -4.0))


def test_agents_train_in_an_environment_with_continuous_actions():
    """All parts fit: play, critics and naive learners."""
    game = ce.games.FromEnvironment(Continuous())
    algorithm = ce.training.A2C(optax.sgd(1e-2))
    pool = ce.training.Pool(
        game,
        (ce.training.Agent(ce.estimators.CoalaPG(), algorithm),),
        ce.training.NaiveLearners(ce.learners.PolicyGradient(optimiser=optax.sgd(0.1)), population=1),
        batch=2, episodes=2, steps=2, meta_batch=2,
    )  # fmt: skip
    with jax.enable_x64(False):
        trained = ce.training.train(pool, key=jax.random.key(0), iterations=1, every=1, meter=ce.runs.Silent())
    (agent,) = trained.agents
    assert agent.action_space == ce.games.Box(2)
    assert trained.history["reward"].is_finite().all()


def follow(environment, actions, steps=6, **settings):
    """Observations at each step and after it, and rewards, of players who repeat their actions."""
    game = ce.games.FromEnvironment(environment, **settings)
    state, seen = game.reset(jax.random.key(0))
    step, observed, rewards = eqx.filter_jit(game.step), [seen], []
    for number in range(steps):
        state, seen, earned = step(state, jnp.array(actions), jax.random.key(1 + number))
        observed.append(seen)
        rewards.append(earned)
    return np.array(observed), np.array(rewards)


def test_after_an_end_that_only_infos_tell_nothing_is_seen_or_earned():
    """As in JaxMARL's coin game, which starts anew by itself, and pays nothing in that step."""
    seen, rewards = follow(Coins(), (1, 2))
    np.testing.assert_array_equal(rewards, [[1, 2], [1, 2], [0, 0], [0, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(seen[:3, 0, :2], [[0, 0], [1, 0], [2, 0]])
    assert (seen[:3, 0, 2] == seen[0, 0, 2]).all()
    np.testing.assert_array_equal(seen[3:], np.zeros((4, 2, 3)))


def test_an_end_may_be_followed_by_a_new_start_or_ignored():
    """By a `reset` the outer clock begins anew, too; by itself the environment lets it go on."""
    own = [[1, 2], [1, 2], [0, 0]] * 2
    for at_end, outer in (("restart", [0, 0, 0, 0, 0, 0, 0]), ("ignore", [0, 0, 0, 1, 1, 1, 2])):
        seen, rewards = follow(Coins(), (1, 2), at_end=at_end)
        np.testing.assert_array_equal(rewards, own)
        np.testing.assert_array_equal(seen[:, 0, 0], [0, 1, 2, 0, 1, 2, 0])
        np.testing.assert_array_equal(seen[:, 0, 1], outer)
        np.testing.assert_array_equal(seen[:, 1], -seen[:, 0])
        starts = seen[[0, 3, 6], 0, 2]
        assert len(set(starts)) == 3
        assert (starts >= 1).all()


def test_an_end_by_dones_of_all_players():
    """As in JaxMARL's MPE: the step that ends it pays; shorter observations are filled up by zeros."""
    seen, rewards = follow(Spread(), (1, 0, 1))
    np.testing.assert_array_equal(rewards, [[1, 0, 1]] * 4 + [[0, 0, 0]] * 2)
    np.testing.assert_array_equal(seen[:4, 0], [[1, 1], [2, 2], [3, 3], [4, 4]])
    np.testing.assert_array_equal(seen[:4, 1:], [[[number, 0]] * 2 for number in (1, 2, 3, 4)])
    np.testing.assert_array_equal(seen[4:], np.zeros((3, 3, 2)))
    assert ce.games.FromEnvironment(Spread()).num_observations == (2, 2, 2)
    _, rewards = follow(Spread(), (1, 0, 1), at_end="ignore")
    np.testing.assert_array_equal(rewards, [[1, 0, 1]] * 6)


@pytest.mark.parametrize("at_end", ["end", "restart", "ignore"])
def test_a_state_may_hold_random_keys(at_end):
    """Its own key draws what is seen, and the end comes with the second step."""

    class Drawing(Coins):
        def reset(self, key):
            return self.observe(jnp.zeros(())), {"key": jax.random.fold_in(key, 0), "step": jnp.zeros((), int)}

        def observe(self, drawn):
            return {"0": drawn[None], "1": drawn[None]}

        def step_env(self, key, state, actions):
            own, use = jax.random.split(state["key"])
            state, ended = {"key": own, "step": state["step"] + 1}, state["step"] >= 1
            return self.observe(jax.random.uniform(use)), state, actions, {"__all__": ended}, {}

    key = jax.random.fold_in(jax.random.key(0), 0)
    drawn = []
    for _ in range(4):
        key, use = jax.random.split(key)
        drawn.append(float(jax.random.uniform(use)))
    seen, rewards = follow(Drawing(), (1, 2), steps=4, at_end=at_end)
    np.testing.assert_array_equal(rewards[:, 0], [1, 1, 0, 0] if at_end == "end" else [1, 1, 1, 1])
    seen = seen[1:, 0, 0]
    if at_end == "ignore":
        np.testing.assert_array_equal(seen, drawn)
    else:
        np.testing.assert_array_equal(seen[[0, 1, 3]], [drawn[0], 0, 0])
        assert (seen[2] == 0) == (at_end == "end")
        assert seen[2] not in drawn


@pytest.mark.parametrize("kind", [dict, tuple, jnp.array])
def test_dones_of_players_alone_end_it_once_all_hold(kind):
    class Alone(Spread):
        def step_env(self, key, state, actions):
            seen, state, rewards, dones, infos = super().step_env(key, state, actions)
            each = [state > number for number in range(3)]
            dones = dict(zip(self.agents, each, strict=True)) if kind is dict else kind(each)
            return seen, state, rewards, dones, infos

    _, rewards = follow(Alone(), (1, 0, 1))
    np.testing.assert_array_equal(rewards, [[1, 0, 1]] * 3 + [[0, 0, 0]] * 3)


@pytest.mark.parametrize("more", [(), (None,), (None, None), ({}, {})])
def test_an_environment_may_say_nothing_of_an_end(more):
    class Endless(Spread):
        def step_env(self, key, state, actions):
            return *super().step_env(key, state, actions)[:3], *more

    _, rewards = follow(Endless(), (1, 0, 1))
    np.testing.assert_array_equal(rewards, [[1, 0, 1]] * 6)


def test_one_player_as_in_gymnax():
    """Terminated is an end. A limit on time is none, where there is a step that does not look at it."""
    game = ce.games.FromEnvironment(Pole())
    assert (game.num_players, game.num_actions, game.num_observations) == (1, (2,), (2,))
    seen, rewards = follow(Pole(far=3, max_steps_in_episode=2), (1,))
    np.testing.assert_array_equal(rewards[:, 0], [1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(seen[:, 0], [[1, 1], [2, 2], [3, 3], [0, 0], [0, 0], [0, 0], [0, 0]])
    _, rewards = follow(Pole(far=3, max_steps_in_episode=2), (0,))
    np.testing.assert_array_equal(rewards[:, 0], np.ones(6))
    for limit, last in ((2, 2), (9, 3)):
        _, rewards = follow(OnlySteps(3, limit), (1,))
        np.testing.assert_array_equal(rewards[:, 0], [1] * last + [0] * (6 - last))


def test_observations_may_pass_as_they_are():
    """Images keep their axes, and integers number what is seen."""

    class Images(Coins):
        def observe(self, state):
            image = jnp.zeros((2, 3, 4), jnp.int8).at[0, 0, 0].set(state["step"].astype(jnp.int8))
            return {"0": image, "1": image + 1}

    game = ce.games.FromEnvironment(Images(), flatten=False)
    assert (game.num_observations, game.observation_type().shape) == ((24, 24), (2, 3, 4))
    assert jnp.issubdtype(game.observation_type().dtype, jnp.floating)
    assert ce.games.FromEnvironment(Images()).observation_type().shape == (24,)
    lake = ce.games.FromEnvironment(Lake(), flatten=False)
    assert (lake.num_observations, lake.observation_type().shape) == ((12,), ())
    policy = ce.policies.MemoryOne(np.tile([-50.0, 50.0], (12, 1)))
    problem = ce.ShapingProblem(
        game=lake, co_players=(), learner=ce.learners.Static(), batch=2, episodes=2, steps=4
    )  # fmt: skip
    episode = problem.play(policy, jax.random.key(0))
    np.testing.assert_array_equal(episode.observations, np.broadcast_to([0, 1, 2, 0], (2, 2, 4)))

    class Trees(Coins):
        def observe(self, state):
            return {"0": {"a": jnp.ones(2)}, "1": {"a": jnp.ones(2)}}

    class Unnumbered(Lake):
        def observation_space(self, params):
            return Box(0, 1, ())

    for environment, message in (
        (Trees(), "With `flatten=False` an observation must be one array of real numbers, but is {'a'"),
        (Spread(), r"must observe arrays of one shape and type, but theirs are float\d\d\[1\] and float\d\d\[2\]"),
        (Unnumbered(), "observations are integers, whose number must be `n` of `observation_space`"),
    ):
        with pytest.raises(ValueError, match=message):
            ce.games.FromEnvironment(environment, flatten=False)


@pytest.mark.parametrize(("settings", "message"), [
    ({"at_end": "stop"}, "`at_end` must be 'end', 'restart' or 'ignore', but is 'stop'"),
    ({"flatten": 1}, "`flatten` must be True or False, but is 1"),
])  # fmt: skip
def test_settings_of_the_adapter_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        ce.games.FromEnvironment(Coins(), **settings)


def test_nothing_leaks_from_one_inner_episode_to_the_next():
    """Each begins with a reset, however the one before has ended: the outer clock is at 0, and players earn again."""
    game = ce.games.FromEnvironment(Coins())
    ego, naive = (ce.policies.GRU(3, 5, width=4, key=jax.random.key(number)) for number in range(2))
    learner = ce.learners.PolicyGradient(optimiser=optax.sgd(0.1))
    problem = ce.ShapingProblem(game=game, co_players=naive, learner=learner, batch=3, episodes=4, steps=5)
    episode = problem.play(ego, jax.random.key(2))
    seen = episode.observations
    np.testing.assert_array_equal(seen[..., 0], np.broadcast_to([0, 1, 2, 0, 0], (3, 4, 5)))
    np.testing.assert_array_equal(seen[..., 1], np.zeros((3, 4, 5)))
    np.testing.assert_array_equal(seen[:, :, 3:], np.zeros((3, 4, 2, 3)))
    assert len(np.unique(seen[:, :, 0, 2])) == 12
    expected = np.where(np.arange(5) < 2, episode.actions, 0)
    np.testing.assert_array_equal(episode.rewards, expected)
    assert (np.asarray(episode.rewards).sum(axis=(0, 2)) > 0).all()


def pool_of(environment, *, seats=(None,), naive=True, **changes):
    """Agents with small networks, and naive learners, who play in an environment."""
    game = ce.games.FromEnvironment(environment)
    make = functools.partial(_network, game.num_observations[0], game.num_actions[0])
    agents = tuple(Agent(ce.estimators.CoalaPG(), A2C(SGD), make, seats=some) for some in seats)
    naive = NaiveLearners(ce.learners.PolicyGradient(optimiser=SGD), make, population=2) if naive else None
    sizes = {"batch": 2, "episodes": 2, "steps": 5, "meta_batch": 2}
    return Pool(game, agents, naive, **(sizes | changes))


def _network(observations, actions, key):
    return ce.policies.MLP(observations, actions, width=3, key=key)


def test_two_agents_and_a_naive_learner_train_in_an_environment_of_three(tmp_path):
    """On disk: a run is gone on with by another object of the same environment, and refused by other settings."""
    go = functools.partial(train, key=jax.random.key(0), iterations=2, every=1, run=tmp_path, meter=Silent())
    seats = {"seats": ((0,), (1,)), "p_naive": 0.5}
    with jax.enable_x64(False):
        trained = go(pool_of(Spread(), **seats))
        assert trained.history["finite"].to_list() == [1.0] * 4
        rewards = trained.history.select("reward", "naive", "together").to_numpy()
        assert (rewards > 0).all()
        assert (rewards <= 4 / 5).all(), "four of five steps pay at most 1"
        assert go(pool_of(Spread(), **seats)).history.equals(trained.history)
        with pytest.raises(ValueError, match="holds another run"):
            go(pool_of(Spread(max_steps=4), **seats))
    assert repr(ce.games.FromEnvironment(Coins())) == repr(ce.games.FromEnvironment(Coins()))


def test_agents_of_one_player_train_alone():
    """A pool without naive learners: rewards of nobody else."""
    with jax.enable_x64(False):
        pool = pool_of(Pole(), naive=False)
        state = pool.init(jax.random.key(0))
        moved, info = eqx.filter_jit(pool.iterate)(state)
        history = train(pool, key=jax.random.key(0), iterations=1, every=1, meter=Silent()).history
    assert state.populations == ()
    assert (np.asarray(info.ego) >= 3 / 5).all(), "it takes three steps at least"
    np.testing.assert_allclose(info.ego_actions.sum(axis=-1), 1, rtol=1e-6)
    assert np.isnan(info.co_player).all()
    assert info.co_player_actions.shape == (1, 2, 0)
    assert info.finite.all()
    assert float(optax.tree.norm(jax.tree.map(jnp.subtract, *map(_arrays, (moved.groups, state.groups))))) > 0
    assert history["reward"].item() == pytest.approx(float(info.ego.mean()), rel=1e-5)
    assert np.isnan(history["naive"].item())
    naive = NaiveLearners(ce.learners.Static(), pretraining=1)
    for changes, message in (
        (
            {"dynamic_naive": True},
            "has no co-players: leave `dynamic_naive` and `pretraining` out, but they are True and 0",
        ),
        ({"naive": naive}, "has no co-players: leave `dynamic_naive` and `pretraining` out, but they are False and 1"),
        ({"p_naive": 0.5}, "An agent does not play itself"),
    ):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(pool, **changes)


def _arrays(tree):
    return eqx.filter(tree, eqx.is_inexact_array)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "settings", "end"), [
    ("coin_game", {"num_inner_steps": 1000}, None), ("coin_game", {"num_inner_steps": 7}, 7), ("storm_2p", {}, None),
    ("MPE_simple_spread_v3", {"max_steps": 5}, 6), ("MPE_simple_v3", {}, 26),
])  # fmt: skip
def test_environments_of_jaxmarl(name, settings, end):
    """Step by step beside the raw environment, until it says in its own way that it is over; then nothing."""
    jaxmarl = pytest.importorskip("jaxmarl")
    environment = jaxmarl.make(name, **settings)
    game = ce.games.FromEnvironment(environment)
    reset, step, theirs = jax.jit(game.reset), jax.jit(game.step), jax.jit(environment.step_env)
    observations, its_state = environment.reset(jax.random.key(0))
    state, seen = reset(jax.random.key(0))
    earned, players = 0.0, environment.agents
    for number in range(100):
        over = end is not None and number >= end
        expected = [np.concatenate([*map(np.ravel, jax.tree.leaves(observations[player]))]) for player in players]
        np.testing.assert_array_equal(seen, np.zeros_like(expected) if over else expected)
        key = jax.random.key(1 + number)
        actions = jax.random.randint(key, (len(players),), 0, jnp.array(game.num_actions))
        given = dict(zip(players, actions, strict=True)) if isinstance(observations, dict) else tuple(actions)
        observations, its_state, rewards, dones, infos = theirs(key, its_state, given)
        if end is not None and number == end - 1:
            assert bool(infos["inner_episode_done"] if name == "coin_game" else dones["__all__"])
            assert name != "coin_game" or not dones["__all__"]
        state, seen, ours = step(state, actions, key)
        np.testing.assert_array_equal(ours, [0 if over else rewards[player] for player in players])
        earned += float(np.abs(ours[0] - ours[-1]))
    assert earned > 0 or settings != {"num_inner_steps": 1000}, "players who were swapped would be seen"
    if len(players) == 2:
        episode = play(game)
        assert np.isfinite(episode.rewards).all()
        assert episode.observations.shape == (2, 2, 4, game.num_observations[0])


@pytest.mark.filterwarnings("ignore")
def test_the_small_environments_have_the_protocols_of_jaxmarl():
    jaxmarl = pytest.importorskip("jaxmarl")
    for own, theirs in ((Coins(), jaxmarl.make("coin_game")), (Spread(), jaxmarl.make("MPE_simple_spread_v3"))):
        assert own.num_agents == theirs.num_agents
        assert own.agents == theirs.agents
        observations, _, rewards, dones, infos = map(lambda *two: two, *map(_one_step, (own, theirs)))
        for mine, real in (observations, rewards, dones, infos):
            assert set(mine) == set(real)


def _one_step(environment):
    def step(key):
        actions = dict.fromkeys(environment.agents, jnp.zeros((), int))
        return environment.step_env(key, environment.reset(key)[1], actions)

    return jax.eval_shape(step, jax.random.key(0))


@pytest.mark.filterwarnings("ignore")
def test_environments_of_gymnax():
    """Cart and pole, step by step; terminated is an end. The small environment has the same protocol."""
    gymnax = pytest.importorskip("gymnax")
    environment, params = gymnax.make("CartPole-v1")
    game = ce.games.FromEnvironment(environment)
    assert (game.num_players, game.num_actions, game.num_observations) == (1, (2,), (4,))
    observation, its_state = environment.reset(jax.random.key(0), params)
    state, seen = game.reset(jax.random.key(0))
    step, over = eqx.filter_jit(game.step), False
    for number in range(30):
        # Its step is compiled alone, and ours within another program: 30 steps of rounding in float64.
        np.testing.assert_allclose(seen, [np.zeros(4) if over else observation], rtol=1e-12, atol=1e-14)
        key = jax.random.key(1 + number)
        action = jnp.array(number % 7 > 0, int)
        observation, its_state, reward, terminated, _ = environment.step_env(key, its_state, action, params)
        state, seen, ours = step(state, action[None], key)
        np.testing.assert_array_equal(ours, [0 if over else reward])
        over = over or bool(terminated)
    assert over
    assert ce.games.FromEnvironment(gymnax.make("Pendulum-v1")[0]).action_spaces == (ce.games.Box(1),)
    own, moved = Pole(), []
    for one, settings in ((environment, params), (own, own.default_params)):
        _, first = one.reset(jax.random.key(0), settings)
        moved.append([
            jax.eval_shape(lambda s, way=way, given=settings: way(jax.random.key(0), s, jnp.array(0), given), first)
            for way in (one.step_env, one.step)
        ])  # fmt: skip
        assert one.is_truncated(first, settings).shape == ()
    for theirs, mine in zip(*moved, strict=True):
        assert [jnp.shape(one) for one in theirs[2:-1]] == [jnp.shape(one) for one in mine[2:-1]]
        assert isinstance(mine[-1], type(theirs[-1]))
