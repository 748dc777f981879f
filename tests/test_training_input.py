"""Bad input to training: each is named, with what is needed, where it is given."""

import json
import subprocess
import sys

import pytest

WRONG = {
    "make(learner=optax.sgd(1.0))":
        "`learner` must be a learner, such as PolicyGradient(optimiser=optax.sgd(1.0)), but is an optax optimiser.",
    "problem(learner=optax.sgd(1.0))":
        "`learner` must be a learner, such as PolicyGradient(optimiser=optax.sgd(1.0)), but is an optax optimiser.",
    "problem(learner=(optax.adam(1.0),))": "`learner` must be a learner, such as PolicyGradient",
    "make(learner=None)": "`learner` must be a learner (an AbstractLearner), such as PolicyGradient",
    "make(learner='sgd')": "but is 'sgd'.",
    "make(learner=PolicyGradient)": "but is the class PolicyGradient: make one of it.",
    "make(learner=ExactAscent())": "but is ExactAscent(",
    "make(game=None)": "`game` must be a game (an AbstractGame)",
    "make(game=np.ones((2, 2, 2)))": "`game` must be a game",
    "make(game=ce.games.MatrixGame)": "`game` must be a game",
    "make(update=optax.adam(0.1))":
        "`update` must be an algorithm, such as PPO(optimiser=optax.adam(1e-3)), but is an optax optimiser.",
    "make(update=None)": "`update` must be an algorithm",
    "make(estimators=CoalaPG())": "`estimators` must be a tuple",
    "make(estimators=(CoalaPG,))": "`estimators` must be estimators, such as CoalaPG()",
    "PPO(optimiser='adam')":
        "`optimiser` must be an optax gradient transformation, such as optax.adam(1e-3), but is 'adam'.",
    "A2C(optimiser=0.1)": "`optimiser` must be an optax gradient transformation",
    "A2C(optimiser=optax.adam)": "`optimiser` must be an optax gradient transformation",
    "PPO(optimiser=PolicyGradient(optimiser=optax.sgd(1.0)))": "`optimiser` must be an optax gradient transformation",
    "PolicyGradient(optimiser=1.0)": "`optimiser` must be an optax gradient transformation",
    "PolicyGradient(optimiser=None)": "`optimiser` must be an optax gradient transformation",
    "PolicyGradient(optimiser=SGD, normalise_advantages='no')":
        "`normalise_advantages` must be True or False, but is 'no'.",
    "PolicyGradient(optimiser=SGD, reward_scale=np.nan)": "`reward_scale` must be a finite number",
    "PolicyGradient(optimiser=SGD, value_coefficient=-1)": "`value_coefficient` must not be negative, but is -1.",
    "PolicyGradient(optimiser=SGD, discount='0.9')": "`discount` must lie between 0 and 1, but is '0.9'.",
    "make(batch=0)": "`batch` must be an integer ≥ 1, but is 0.",
    "make(steps=-1)": "`steps` must be an integer ≥ 1, but is -1.",
    "make(episodes=2.5)": "`episodes` must be an integer ≥ 1, but is 2.5.",
    "make(meta_batch=1.5)": "`meta_batch` must be an integer ≥ 1, but is 1.5.",
    "make(meta_batch=np.nan)": "`meta_batch` must be an integer ≥ 1, but is nan.",
    "make(batch=True)": "`batch` must be an integer ≥ 1, but is True.",
    "make(batch='2')": "`batch` must be an integer ≥ 1, but is '2'.",
    "make(batch=None)": "`batch` must be an integer ≥ 1, but is None.",
    "make(batch=np.inf)": "`batch` must be an integer ≥ 1, but is inf.",
    "problem(batch=True)": "`batch` must be an integer ≥ 1, but is True.",
    "problem(co_players_remember=1)": "`co_players_remember` must be True or False, but is 1.",
    "problem(co_players_remember=(1,))": "`co_players_remember` must be True or False, but is 1.",
    "make(group=1.5)": "`group` must be a whole number, but is 1.5.",
    "make(entropy_until=True)": "`entropy_until` must be a whole number, but is True.",
    "make(leave_one_out='yes')": "`leave_one_out` must be True or False, but is 'yes'.",
    "make(centre=1)": "`centre` must be True or False, but is 1.",
    "make(dynamic_naive=None)": "`dynamic_naive` must be True or False, but is None.",
    "make(p_naive=np.nan)": "`p_naive` must lie between 0 and 1, but is nan.",
    "make(p_naive=True)": "`p_naive` must lie between 0 and 1, but is True.",
    "make(discount=1.1)": "`discount` must lie between 0 and 1, but is 1.1.",
    "make(gae_lambda=-0.1)": "`gae_lambda` must lie between 0 and 1, but is -0.1.",
    "make(reward_scale=0)": "`reward_scale` must be positive, but is 0.",
    "make(reward_scale=-1.0)": "`reward_scale` must be positive, but is -1.0.",
    "make(naive_weight=-1.0)": "`naive_weight` must not be negative, but is -1.0.",
    "make(naive_weight='1')": "`naive_weight` must be a finite number, but is '1'.",
    "make(naive_weight=[1.0])": "`naive_weight` must be a finite number, but is [1.0].",
    "make(horizon=2)": "`horizon` needs estimators without advantages",
    "PPO(SGD, clip=0)": "`clip` must be positive, and above the rounding of probability ratios",
    "PPO(SGD, clip=0.0)": "but is 0.0.",
    "PPO(SGD, clip=1e-9)": "but is 1e-09.",
    "PPO(SGD, clip='0.2')": "`clip` must be a finite number, but is '0.2'.",
    "PPO(SGD, clip=None)": "`clip` must be a finite number, but is None.",
    "PPO(SGD, value_clip=0)": "`value_clip` must be positive, but is 0.",
    "PPO(SGD, value_clip=np.nan)": "`value_clip` must be a finite number, but is nan.",
    "PPO(SGD, value_clip='none')": "`value_clip` must be 'clip' or None, but is 'none'.",
    "PPO(SGD, value_clip=True)": "`value_clip` must be a finite number, but is True.",
    "PPO(SGD, epochs=1.5)": "`epochs` must be a whole number, but is 1.5.",
    "PPO(SGD, minibatches=True)": "`minibatches` must be a whole number, but is True.",
    "Layout(chunk=0)": "`chunk` must be at least 1, but is 0.",
    "Layout(group=1.5)": "`group` must be a whole number, but is 1.5.",
    "Layout(devices=True)": "`devices` must be a whole number, but is True.",
    "Agent(CoalaPG(), A2C(SGD), critic=CoalaPG())": "`critic` must be a CriticTraining, such as CriticTraining()",
    "ce.shaping.OutputProbe(jnp.arange(5))": "`observations` must be a tuple with an array for each player",
    "ce.shaping.OutputProbe((jnp.arange(5),) * 2, momentum=1)": "`momentum` must be True or False, but is 1.",
    "CriticTraining(probe=5)": "`probe` must be a function game → probe, such as probe_game, but is 5",
    "Agent(CoalaPG, A2C(SGD))": "`estimator` must be an estimator, such as CoalaPG(), but is <class",
    "Agent(CoalaPG(), SGD)": "must be an algorithm, such as PPO(optimiser=optax.adam(1e-3)), but is an optax op",
    "Agent(CoalaPG(), A2C)": "`algorithm` must be an algorithm, such as PPO(",
    "Agent(CoalaPG(), A2C(SGD), seats=[0])": "must be a tuple of different players, such as (0,) or (0, 1), but is",
    "Agent(CoalaPG(), A2C(SGD), seats=())": "`seats` must be a tuple of different players",
    "Agent(CoalaPG(), A2C(SGD), seats=(0, 0))": "but is (0, 0).",
    "Agent(CoalaPG(), A2C(SGD), seats=(-1,))": "but is (-1,).",
    "Agent(CoalaPG(), A2C(SGD), seats=(True,))": "but is (True,).",
    "Agent(CoalaPG(), A2C(SGD), agent)": "`policy` must be a function key → policy",
    "Agent(CoalaPG(), A2C(SGD), meta_estimator=2)": "`meta_estimator` must be an estimator",
    "NaiveLearners(SGD)": "`learner` must be a learner, such as PolicyGradient(optimiser=optax.sgd(1.0))",
    "NaiveLearners(learner, population=0)": "`population` must be at least 1",
    "NaiveLearners(learner, pretraining=-1)": "`pretraining` must be at least 0, but is -1.",
    "NaiveLearners(learner, pretraining_batch=1.5)": "`pretraining_batch` must be a whole number, but is 1.5.",
    "NaiveLearners(learner, (MemoryOne,))": "`policy` must be a function key → policy",
    "new(agents=[one])": "`agents` must be a tuple, such as (Agent(CoalaPG(), PPO(optimiser)),), but is [",
    "new(agents=())": "A pool needs agents, but `agents` is empty.",
    "new(agents=(CoalaPG(),))": "`agents` must hold agents, such as Agent(CoalaPG(), PPO(optimiser)), but one entr",
    "new(naive=learner)": "`naive` must be naive learners, such as NaiveLearners(PolicyGradient(…)), but is a le",
    "new(naive=None)": "`naive` must be naive learners",
    "new(naive=NaiveLearners(learner, (one.policy,) * 3))": "must have 2 entries, one for each seat, but has 3.",
    "new(agents=(Agent(CoalaPG(), A2C(SGD), seats=(2,)),))": "has 2 players, from 0 to 1, but `seats` is (2,).",
    "seated((0,), (0, 1))": "Two agents must have the same seats or none in common, but `seats` are (0,), (0, 1).",
    "seated((0, 1), meta_batch=3)": "the 3 meetings with naive learners must be a multiple of 2",
    "seated((0,), dynamic_naive=True)": "With `dynamic_naive` learners in any seat start from the agents' parameters",
    "seated((0, 1), game=uneven)": "One network cannot play seats of different sizes: those of `seats` = (0, 1) have",
    "new(dynamic_naive=True, naive=NaiveLearners(learner, pretraining=1))": "it must be 0 then, but is 1.",
    "make_batch(CoalaPG(), None, leave_one_out=1)": "`leave_one_out` must be True or False, but is 1.",
    "A2C(SGD, value_coefficient=-0.5)": "`value_coefficient` must not be negative, but is -0.5.",
    "A2C(SGD, entropy_coefficient=np.nan)": "`entropy_coefficient` must be a finite number, but is nan.",
    "PPO(SGD, entropy_coefficient='0')": "`entropy_coefficient` must be a finite number, but is '0'.",
    "make().init(agent, agent, 1, key)":
        "`make_agent` must be a function key → policy, such as lambda key: GRU(5, 2, key=key), but is a policy, M",
    "make().init(lambda key: agent, agent, 1, key)": "`make_naive` must be a function key → policy",
    "make().init(MemoryOne, MemoryOne, 1, key)": "but is a class, MemoryOne.",
    "make().init(3, 3, 1, key)": "`make_agent` must be a function key → policy",
    "make().init(lambda key: key, lambda key: agent, 1, key)": "`policy` must return a policy (an AbstractPolicy)",
    "make().init(lambda key: agent, lambda key: None, 1, key)": "`policy` must return a policy",
    "make().init(lambda key: agent, lambda key: agent, 1.5, key)": "`num_naive` must be a whole number, but is 1.5.",
    "ExactAscent(rate=np.nan)": "`rate` must be a finite number, but is nan.",
    "ExactAscent(rate=jnp.array(-1.0))": "`rate` must not be negative, but is -1.0.",
    "ExactAscent(rate='5')": "`rate` must be a finite number, but is '5'.",
    "ExactAscent(steps=1.5)": "`steps` must be a whole number, but is 1.5.",
    "ExactAscent(steps=True)": "`steps` must be a whole number, but is True.",
    "GradientFlow(duration=np.inf)": "`duration` must be a finite number, but is inf.",
    "GradientFlow(points=2.5)": "`points` must be a whole number, but is 2.5.",
    "GradientFlow(tolerance=np.nan)": "`tolerance` must be a finite number, but is nan.",
    "GradientFlow(max_steps=0)": "`max_steps` must be at least 1, but is 0.",
    "GradientFlow(solver=diffrax.Euler())": "`solver` must be one of diffrax's (a diffrax.AbstractAdaptiveSolver)",
    "GradientFlow(adjoint=None)": "`adjoint` must be one of diffrax's (a diffrax.AbstractAdjoint), but is None.",
    "clip_by_global_norm('1')": "`norm` must be a positive number, but is '1'.",
    "clip_by_global_norm(np.nan)": "`norm` must be a positive number, but is nan.",
    "make_batch(LolaDice(), None)": "`estimator` must return advantages, as CoalaPG() does, but is LolaDice",
    "make_batch(CoalaPG(), None, td_lambda=np.nan)": "`td_lambda` must lie between 0 and 1, but is nan.",
    "make_batch(CoalaPG(), None, reward_scale=0.0)": "`reward_scale` must be positive, but is 0.0.",
    "make_batch(CoalaPG(), None, centre='no')": "`centre` must be True or False, but is 'no'.",
    "gradient_noise(make(), None, (CoalaPG(),), 2.5)": "`measured` must be a whole number, but is 2.5.",
    "gradient_noise(make(), None, (CoalaPG(),), 2, index=0.0)": "`index` must be a whole number, but is 0.0.",
    "gradient_noise(make(), None, (CoalaPG(),), 2, index=-1)": "`index` must be at least 0, but is -1.",
    "gradient_noise(make(), None, (CoalaPG(),), 2, leave_one_out=('no',))": "`leave_one_out` must be True or False",
}  # fmt: skip

TAKEN = [
    "make(p_naive=np.float32(0.5), estimators=(CoalaPG(),) * 2)",
    "make(naive_weight=jnp.array(0.5))",
    "make(naive_weight=0, reward_scale=np.float32(0.5), group=np.int64(1))",
    "make(centre=np.True_)",
    "PPO(SGD, clip=jnp.array(0.2), value_clip=1, value_coefficient=0, entropy_coefficient=jnp.array(0.1))",
    "PolicyGradient(optimiser=optax.chain(SGD, optax.clip(1.0)), reward_scale=np.float64(2), discount=1)",
    "ExactAscent(rate=jnp.array(2.0), steps=np.int64(3))",
    "make().init(lambda key: agent, lambda key: agent, np.int64(1), key)",
    "make(estimators=(LolaDice(),), naive_weight=1, update=PPO(SGD, clip=jnp.array(0.2)))",
]

PREAMBLE = """
import json, sys
import diffrax, jax, jax.numpy as jnp, numpy as np, optax
import coala_eqx as ce
from coala_eqx.estimators import CoalaPG, LolaDice
from coala_eqx.learners import ExactAscent, GradientFlow, PolicyGradient, clip_by_global_norm
from coala_eqx.policies import MemoryOne
from coala_eqx.training import A2C, PPO, Agent, CriticTraining, Follow, Layout, NaiveLearners, Pool, make_batch
from coala_eqx.training import gradient_noise

SGD, key = optax.sgd(1.0), jax.random.key(0)
agent = MemoryOne(np.zeros((5, 2)))
sizes = {"game": ce.games.iterated_prisoners_dilemma(), "learner": PolicyGradient(optimiser=SGD),
         "batch": 2, "episodes": 3, "steps": 2}

def make(**changes):
    return Pool(**(sizes | {"update": A2C(SGD), "estimators": (CoalaPG(),), "meta_batch": 2} | changes))

learner = sizes["learner"]
one = Agent(CoalaPG(), A2C(SGD))
uneven = ce.games.MatrixGame(np.zeros((2, 2, 3)))

def new(**changes):
    settings = {name: value for name, value in sizes.items() if name != "learner"}
    return Pool(**(settings | {"agents": (one,), "naive": NaiveLearners(learner), "meta_batch": 2} | changes))

def seated(*seats, **changes):
    return new(agents=tuple(Agent(CoalaPG(), A2C(SGD), seats=some) for some in seats), **changes)

def problem(**changes):
    return ce.ShapingProblem(**(sizes | {"co_players": (agent,)} | changes))

def message(call):
    try:
        eval(call)
    except Exception as error:
        return [type(error).__name__, str(error)]
    return ["", "accepted"]

print(json.dumps({call: message(call) for call in json.load(sys.stdin)}))
"""


@pytest.fixture(scope="module")
def seen():
    """What is raised, in a process without the checks of types that these tests run under."""
    ran = subprocess.run([sys.executable, "-c", PREAMBLE], input=json.dumps([*WRONG, *TAKEN]), capture_output=True,
                         text=True, check=True)  # fmt: skip
    return json.loads(ran.stdout)


@pytest.mark.parametrize("call", WRONG)
def test_what_means_nothing_is_named_where_it_is_given(call, seen):
    kind, message = seen[call]
    assert kind == "ValueError", message
    assert WRONG[call] in message


@pytest.mark.parametrize("call", TAKEN)
def test_numbers_of_other_kinds_are_taken(call, seen):
    assert seen[call] == ["", "accepted"]
