"""The problems that `coala-eqx verify` uses: a default set, and one made from options."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
import optax
from jaxtyping import Array, Key

from coala_eqx import games
from coala_eqx.games import AbstractEnumerableGame, TabularGame
from coala_eqx.learners import AbstractLearner, PolicyGradient, Static
from coala_eqx.policies import GRU, AbstractPolicy, FullHistory, Hawk, MemoryOne
from coala_eqx.shaping import Population, ShapingProblem


@dataclasses.dataclass(frozen=True)
class NamedProblem:
    """A shaping problem, an ego policy at which to verify, and words for the table."""

    name: str
    problem: ShapingProblem
    policy: AbstractPolicy
    game: str
    learner: str
    """What the co-players are and how they learn."""


def _adam() -> optax.GradientTransformation:
    # eps_root makes Adam's square root differentiable at 0, as LOLA needs.
    return optax.adam(0.5, eps_root=1e-4)


LEARNERS: dict[str, Callable[[], AbstractLearner]] = {
    "sgd": lambda: PolicyGradient(optimiser=optax.sgd(1.0)),
    "momentum": lambda: PolicyGradient(optimiser=optax.sgd(1.0, momentum=0.9)),
    "adam": lambda: PolicyGradient(optimiser=_adam()),
    "a2c": lambda: PolicyGradient(optimiser=_adam(), discount=0.99, baseline="critic", normalise_advantages=True),
    "static": Static,
}
"""Learners by the name that `--learner` knows."""

_NETWORKS: dict[str, Callable[..., AbstractPolicy]] = {"gru": GRU, "hawk": Hawk}

POLICIES = ("memory-one", "full-history", *_NETWORKS)
"""Ego policies by the name that `--policy` knows."""


def make_policy(name: str, problem: ShapingProblem, key: Key[Array, ""]) -> AbstractPolicy:
    """A random ego policy for `problem`: by one of the names in `POLICIES`.

    **Raises** `ValueError` for another name.
    """
    game = problem.game
    if name == "memory-one":
        return MemoryOne.random(game, key)
    if name == "full-history":
        return FullHistory.random(game, problem.episodes * problem.steps, key)
    if name in _NETWORKS:
        return _NETWORKS[name](game.num_observations[0], game.num_actions[0], width=4, head_scale=2.0, key=key)
    raise ValueError(f"Unknown policy {name!r}; known are {', '.join(POLICIES)}.")


def make_problem(
    game: AbstractEnumerableGame,
    learner: AbstractLearner,
    *,
    policy: str,
    batch: int,
    episodes: int,
    steps: int,
    seed: int,
    game_name: str,
    learner_name: str,
) -> NamedProblem:
    """A problem with random memory-one co-players, and a random ego policy."""
    key_policy, *key_others = jax.random.split(jax.random.key(seed), game.num_players)
    co_players = tuple(MemoryOne.random(game, key, player=p) for p, key in enumerate(key_others, start=1))
    problem = ShapingProblem(
        game=game, co_players=co_players, learner=learner, batch=batch, episodes=episodes, steps=steps
    )
    return NamedProblem(game_name, problem, make_policy(policy, problem, key_policy), game_name, learner_name)


def default_problems(seed: int = 0) -> tuple[NamedProblem, ...]:
    """Small problems that together cover what may go wrong; `seed` draws policies and the stochastic game.

    Two controls among them are where biased estimators should turn out unbiased: a batch of one, and
    co-players that do not learn.
    """
    number = iter(range(100))

    def problem(name: str, game: AbstractEnumerableGame, game_name: str, learner: str, policy: str, *sizes: int):
        batch, episodes, steps = sizes
        made = make_problem(
            game,
            LEARNERS[learner](),
            policy=policy,
            batch=batch,
            episodes=episodes,
            steps=steps,
            seed=1000 * seed + next(number),
            game_name=game_name,
            learner_name=learner,
        )
        return dataclasses.replace(made, name=name)

    dilemma, sexes = games.iterated_prisoners_dilemma(), games.battle_of_the_sexes()
    return (
        problem("dilemma", dilemma, "prisoner's dilemma", "sgd", "full-history", 2, 2, 2),
        problem("alone", dilemma, "prisoner's dilemma", "sgd", "full-history", 1, 2, 2),
        problem("static", dilemma, "prisoner's dilemma", "static", "memory-one", 2, 2, 2),
        problem("sexes", sexes, "battle of the sexes", "sgd", "memory-one", 4, 2, 1),
        problem("chicken", games.chicken(), "chicken", "adam", "full-history", 2, 3, 1),
        _with_population(problem("stag hunt", games.stag_hunt(), "stag hunt", "a2c", "gru", 2, 2, 2), seed),
        problem("public goods", games.public_goods(), "public goods, 3 players", "momentum", "full-history", 2, 2, 1),
        problem("stochastic", _stochastic_game(seed), "random, 3 states", "sgd", "full-history", 2, 2, 2),
        problem("networks", dilemma, "prisoner's dilemma", "a2c", "hawk", 2, 2, 2),
        problem("clean-up", games.small_clean_up(), "CleanUp-lite, 1 × 2", "adam", "full-history", 2, 2, 2),
    )


def _with_population(named: NamedProblem, seed: int) -> NamedProblem:
    """The same with two possible co-players, met with unequal probabilities."""
    problem, game = named.problem, named.problem.game
    keys = jax.random.split(jax.random.key(1000 * seed + 999), 2)
    members = [MemoryOne.random(game, key, player=1) for key in keys]
    problem = ShapingProblem(
        game=game,
        co_players=(Population(members, [0.7, 0.3]),),
        learner=problem.learner,
        batch=problem.batch,
        episodes=problem.episodes,
        steps=problem.steps,
    )
    return dataclasses.replace(named, problem=problem, learner=f"{named.learner}, one of 2 drawn")


def _stochastic_game(seed: int) -> TabularGame:
    """Two players, three states, random rewards; half of the moves are random, and states 1 and 2 look the same
    to player 1.
    """
    generator = np.random.default_rng(seed)
    transition = np.zeros((3, 2, 2, 3))
    for state, own, other in np.ndindex(3, 2, 2):
        if own == other:
            transition[state, own, other] = np.eye(3)[generator.integers(3)]
        else:
            first, second = generator.permutation(3)[:2]
            transition[state, own, other, first] = 0.6
            transition[state, own, other, second] = 0.4
    return TabularGame(
        initial=[1.0, 0.0, 0.0],
        transition=transition,
        rewards=generator.normal(size=(2, 3, 2, 2)).round(1),
        observations=[[0, 1, 2], [0, 1, 1]],
    )
