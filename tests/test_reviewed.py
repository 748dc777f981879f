"""Faults that appeared where parts met: runs of environments, games that cannot be kept, single players, own games."""

import math
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.games import AbstractGame, Box
from coala_eqx.learners import AbstractDrawingLearner, PolicyGradient, Static
from coala_eqx.runs.description import describe_module
from coala_eqx.runs.recordings import Recording
from coala_eqx.show import show
from coala_eqx.training import A2C, Agent, NaiveLearners, Pool, train
from coala_eqx.training.agent import default_policy
from coala_eqx.training.api import describe_pool
from experiments.experiment import settings_of
from tests.runs import MEMORYLESS

KEY = jax.random.key(0)


class Environment:
    """Pays each player its action times a weight."""

    num_agents = 2

    def __init__(self, weight):
        self.weight = weight

    def action_space(self, agent):
        return type("Space", (), {"n": 2})()

    def reset(self, key):
        return jnp.zeros((2, 1)), jnp.zeros(())

    def step_env(self, key, state, actions):
        rewards = jnp.stack([jnp.asarray(one, float) for one in actions]) * self.weight[0]
        return jnp.zeros((2, 1)), state, rewards, jnp.zeros((), bool), {}


class Numbers(AbstractGame):
    """Players see single real numbers."""

    lib: object = eqx.field(static=True, default=None)
    num_players: int = eqx.field(static=True, default=2)
    num_actions: tuple[int, ...] = eqx.field(static=True, default=(2, 2))
    num_observations: tuple[int, ...] = eqx.field(static=True, default=(1, 1))

    def reset(self, key):
        return jnp.zeros(()), jnp.zeros(self.num_players)

    def step(self, state, actions, key):
        return state, jnp.zeros(self.num_players), jnp.asarray(actions, float)


def small(game, **changes):
    def make(key):
        return ce.policies.MLP(1, 2, width=2, key=key)

    sizes = {"batch": 2, "episodes": 2, "steps": 2, "meta_batch": 2}
    naive = None if game.num_players == 1 else NaiveLearners(PolicyGradient(optimiser=optax.sgd(0.1)), make)
    return Pool(game, (Agent(ce.estimators.CoalaPG(), A2C(optax.sgd(0.1)), make),), naive, **(sizes | changes))


@pytest.fixture(autouse=True)
def single():
    with jax.enable_x64(False):
        yield


def quiet(pool, run):
    return train(pool, key=KEY, iterations=1, every=1, run=run, meter=ce.runs.Silent())


def test_another_environment_is_another_run(tmp_path):
    """What an environment holds, be it an array or in a container, tells runs apart; equal ones are the same."""
    pools = [small(ce.games.FromEnvironment(Environment(weight))) for weight in (jnp.array([1.0]), jnp.array([5.0]))]
    described = [describe_pool(pool) for pool in pools]
    assert described[0] != described[1]
    assert describe_pool(small(ce.games.FromEnvironment(Environment(jnp.array([1.0]))))) == described[0]
    quiet(pools[0], tmp_path)
    with pytest.raises(ValueError, match="holds another run"):
        quiet(pools[1], tmp_path)


@pytest.mark.parametrize(
    "make",
    [
        lambda rate: optax.multi_transform({"a": optax.sgd(rate)}, lambda tree: "a"),
        lambda rate: {"inner": [{"rate": rate}]},
        lambda rate: frozenset({("rate", rate)}),
        lambda rate: np.full(2000, 0.0) if rate == 1 else np.r_[np.zeros(1999), 1.0],
    ],
)
def test_constants_count_wherever_they_lie(make):
    one, same, other = (describe_module(jnp.zeros(2), [make(rate)]) for rate in (1.0, 1.0, 2.0))
    assert one == same != other


def test_circles_end_and_descriptions_are_those_of_another_process():
    program = (
        "import sys; sys.path.insert(0, '.')\n"
        "from coala_eqx.runs.description import describe_module\n"
        "held = {'rate': 0.5}; held['self'] = held; shared = ('a', 1.5)\n"
        "print(describe_module(1.0, [held, shared, shared, {'x', 'y'}])[1])"
    )
    command = [sys.executable, "-c", program]
    found = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(found) == 1
    one, two = ("a", float("1.5")), ("a", float("1.5"))  # equal, and not the same objects
    assert describe_module(1.0, [one, one]) == describe_module(1.0, [one, two])


def test_a_game_that_cannot_be_kept_is_noted_and_the_run_ends(tmp_path):
    trained = quiet(small(Numbers(lib=math)), tmp_path)
    assert (tmp_path / "records.parquet").exists()
    (file,) = tmp_path.glob("meta-episode-*.npz")
    assert "cannot be kept: cannot pickle 'module' object" in Recording.load(file).note
    assert quiet(small(Numbers(lib=math)), tmp_path).history.equals(trained.history)


def test_default_networks_see_single_numbers():
    game = Numbers()
    policy = default_policy(game, 0)(KEY)
    problem = ce.ShapingProblem(
        game=game, co_players=(default_policy(game, 1)(KEY),), learner=Static(), batch=2, episodes=1, steps=2
    )
    assert np.isfinite(problem.play(policy, KEY).log_probs).all()
    mlp = ce.policies.MLP(game.observation_spaces[0], game.action_spaces[0], key=KEY)
    plain = ce.policies.MLP(1, 2, key=KEY)
    seen = jnp.asarray(0.25)
    outputs = [network(network.initial_memory(), seen, jnp.asarray(-1))[1] for network in (mlp, plain)]
    assert eqx.tree_equal(outputs[0].logits, outputs[1].logits)


def test_what_one_player_does_is_shown(tmp_path):
    game = Numbers(num_players=1, num_actions=(2,), num_observations=(1,))
    quiet(small(game), tmp_path)
    (file,) = tmp_path.glob("meta-episode-*.npz")
    assert set(Recording.load(file).measured()) == {"reward"}
    show(tmp_path)
    assert list(tmp_path.glob("*.png"))


OWN = """
import jax.numpy as jnp
import coala_eqx as ce
from coala_eqx.games import AbstractGame, Discrete, Image

duopoly = ce.games.cournot_competition()
three = ce.games.public_goods()

class Pictures(AbstractGame):
    num_players = 2
    observation_spaces = (Image(3, 3, 1),) * 2
    action_spaces = (Discrete(2),) * 2
    def reset(self, key): return jnp.zeros(()), jnp.zeros((2, 3, 3, 1))
    def step(self, state, actions, key): return state, jnp.zeros((2, 3, 3, 1)), jnp.asarray(actions, float)
"""


@pytest.mark.parametrize("name", ["duopoly", "Pictures"])
def test_experiments_play_games_with_images_and_continuous_actions(name, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    changes = {"payoffs": f"{tmp_path / 'own.py'}:{name}", "seeds": 1, "estimators": ("CoalaPG",), **MEMORYLESS}
    settings = settings_of("fig5a", "smoke", changes)
    _, pool = settings.trainings()["CoalaPG"]
    agents, learners = pool.agents[0].policy(KEY), pool.naive.policy(KEY)
    for policy in (agents, learners):
        assert policy.action_space == pool.game.action_spaces[0]
    problem = ce.ShapingProblem(game=pool.game, co_players=(learners,), learner=Static(), batch=2, episodes=1, steps=2)
    assert np.isfinite(problem.play(agents, KEY).log_probs).all()


def test_experiments_refuse_games_of_three_players(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(ValueError, match="must be a game of two players, but .*three has 3"):
        settings_of("fig5a", "smoke", {"payoffs": f"{tmp_path / 'own.py'}:three"})


class Certain(AbstractDrawingLearner):
    """Draws a number that is always the same."""

    uses_key = True

    def init(self, policy, key=None):
        return ()

    def draw(self, batch, key):
        return jax.random.randint(key, (), 0, 1)

    def num_draws(self, batch):
        return 1

    def draws(self, batch):
        return jnp.zeros(1, int), jnp.ones(1)

    def learn(self, policy, state, experience, draw):
        return jax.tree.map(lambda leaf: leaf + draw, policy), state


def test_a_learner_with_a_single_draw_is_enumerated(getkey):
    with jax.enable_x64(True):
        game = ce.games.chicken()
        co_player = ce.policies.MemoryOne.random(game, getkey(), player=1)
        ego = ce.policies.MemoryOne.random(game, getkey())
        sizes = {"batch": 1, "episodes": 2, "steps": 1}
        problems = [
            ce.ShapingProblem(game=game, co_players=(co_player,), learner=learner, **sizes)
            for learner in (Certain(), Static())
        ]
        certain, static = (ce.exact.expected_return(problem, ego) for problem in problems)
    np.testing.assert_allclose(certain, static, rtol=1e-12)


def test_sizes_that_contradict_spaces_are_refused():
    class Both(Numbers):
        action_spaces = (Box(1),) * 2

    message = r"declares `num_actions` = \(2, 2\), but its `action_spaces` .* sizes \(1, 1\)"
    with pytest.raises(ValueError, match=message):
        small(Both())
