"""Small problems, policies and episodes that several tests use."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import coala_eqx as ce
from coala_eqx.estimators import AbstractScoreFunctionEstimator
from coala_eqx.learners import AbstractLearner, PolicyGradient
from coala_eqx.policies import GRU, MLP, FullHistory, Hawk, MemoryOne
from coala_eqx.training import Agent, Follow, Layout, NaiveLearners, Pool
from coala_eqx.training.data import data_of
from coala_eqx.training.play import Met, meet

SGD = PolicyGradient(optimiser=optax.sgd(1.0))
ADAM = PolicyGradient(optimiser=optax.adam(0.3, eps_root=1e-6))
"""Made once, as an optimiser is static and each new one would be compiled anew."""


@eqx.filter_jit
def estimate(estimator, problem, policy, episode):
    """`estimator.from_episode`, compiled, and once only for all tests that need it."""
    return estimator.from_episode(problem, policy, episode)


@eqx.filter_jit
def tabulate(policy, game, steps):
    """`FullHistory.tabulate`, likewise."""
    return FullHistory.tabulate(policy, game, steps)


def make_problem(
    key,
    *,
    batch: int = 2,
    episodes: int = 2,
    steps: int = 2,
    learner: AbstractLearner = SGD,
    game=None,
) -> ce.ShapingProblem:
    """A problem with random memory-one co-players."""
    game = ce.games.iterated_prisoners_dilemma() if game is None else game
    keys = jax.random.split(key, game.num_players)
    co_players = tuple(MemoryOne.random(game, keys[p], player=p) for p in range(1, game.num_players))
    return ce.ShapingProblem(
        game=game, co_players=co_players, learner=learner, batch=batch, episodes=episodes, steps=steps
    )


def make_policy(kind: str, problem: ce.ShapingProblem, key):
    """A random ego policy of one of the kinds."""
    game = problem.game
    if kind == "MemoryOne":
        return MemoryOne.random(game, key)
    if kind == "FullHistory":
        return FullHistory.random(game, problem.episodes * problem.steps, key)
    network = {"GRU": GRU, "MLP": MLP, "Hawk": functools.partial(Hawk, heads=2, kernel=3)}[kind]
    width = 4 if kind == "Hawk" else 3
    return network(game.num_observations[0], game.num_actions[0], width=width, head_scale=2.0, key=key)


def random_game(seed: int, *, states: int = 3, actions: tuple[int, ...] = (2, 3)) -> ce.games.TabularGame:
    """Random start, random transitions, random rewards, partial observations."""
    generator = np.random.default_rng(seed)
    players = len(actions)
    return ce.games.TabularGame(
        initial=generator.dirichlet(np.ones(states)),
        transition=generator.dirichlet(np.ones(states), size=(states, *actions)),
        rewards=generator.normal(size=(players, states, *actions)),
        observations=generator.integers(2, size=(players, states)),
        num_observations=(2,) * players,
    )


def norm(tree) -> float:
    """The Euclidean norm of all leaves together."""
    return float(jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))))


def distance(one, other) -> float:
    """The norm of the difference, relative to the second."""
    return norm(jax.tree.map(jnp.subtract, one, other)) / norm(other)


def make_pool(*, learner, update, estimators, make_agent=None, make_naive=None, population=3, **settings):
    """A pool of agents that share all but their estimators; `naive_weight` is one number, or one for each."""
    weights = settings.pop("naive_weight", 1.0)
    weights = weights if isinstance(weights, tuple) else (weights,) * len(estimators)
    own = {"meta_estimator": settings.pop("meta_estimator")} if "meta_estimator" in settings else {}
    horizon = settings.pop("horizon", None)
    agents = tuple(
        Agent(
            estimator,
            update if isinstance(estimator, AbstractScoreFunctionEstimator) else Follow(update.optimiser, horizon),
            make_agent,
            naive_weight=weight,
            **own,
        )
        for estimator, weight in zip(estimators, weights, strict=True)
    )
    return Pool(agents=agents, naive=NaiveLearners(learner, make_naive or make_agent, population), **settings)


def with_algorithms(pool, **changes):
    """The pool with other settings of all its agents' algorithms."""
    agents = (dataclasses.replace(a, algorithm=dataclasses.replace(a.algorithm, **changes)) for a in pool.agents)
    return dataclasses.replace(pool, agents=tuple(agents))


@eqx.filter_jit
def met(pool, state, agent, index, key):
    """Meta-episodes of an agent, by its number, against naive learners and against meta agents."""
    naive, meta = meet(pool, state, agent, 0, index, key, Layout())
    return naive.episodes, meta.episodes


def batch_of(pool, number, *episodes):
    """What the algorithm of an agent gets from its meta-episodes against naive learners, and meta agents."""
    group = next(group for group in pool.groups if number in group)
    played = [Met(line_up, some) for line_up, some in zip(pool.line_ups(0), episodes, strict=True)]
    return data_of(pool, group, jnp.array(group.index(number)), MemoryOne(np.zeros((5, 2))), played, Layout())
