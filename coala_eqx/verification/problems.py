"""Problems of `coala-eqx verify`: a default set, and one made from options."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Key

from coala_eqx import games
from coala_eqx.games import AbstractEnumerableGame, AbstractGame, TabularGame
from coala_eqx.interpreter.compiled import compiled
from coala_eqx.learners import PPO, AbstractLearner, Experience, PolicyGradient, Static, init_rule, update_rule
from coala_eqx.policies import GRU, MLP, AbstractPolicy, FullHistory, Hawk, MemoryOne
from coala_eqx.shaping import Population, ShapingProblem


@dataclasses.dataclass(frozen=True)
class NamedProblem:
    """A shaping problem, the ego policy to verify at, and their descriptions for the table."""

    name: str
    problem: ShapingProblem
    policy: AbstractPolicy
    game: str
    learner: str
    """Description of the co-players and of how they learn."""


def _adam() -> optax.GradientTransformation:
    # eps_root makes Adam's square root differentiable at 0, as LOLA needs.
    return optax.adam(0.5, eps_root=1e-4)


LEARNERS: dict[str, Callable[[], AbstractLearner]] = {
    # Each is made once: an optimiser is static, so a new object would compile all programs anew.
    name: functools.cache(make)
    for name, make in {
        "sgd": lambda: PolicyGradient(optimiser=optax.sgd(1.0)),
        "momentum": lambda: PolicyGradient(optimiser=optax.sgd(1.0, momentum=0.9)),
        "adam": lambda: PolicyGradient(optimiser=_adam()),
        "a2c": lambda: PolicyGradient(optimiser=_adam(), discount=0.99, baseline="critic", normalise_advantages=True),
        "ppo": lambda: PPO(_adam(), epochs=1, minibatches=2, discount=0.99),
        "static": Static,
    }.items()
}
"""Learners, keyed by the names that `--learner` accepts."""

_NETWORKS: dict[str, Callable[..., AbstractPolicy]] = {"gru": GRU, "hawk": Hawk, "mlp": MLP}

POLICIES = ("memory-one", "full-history", *_NETWORKS)
"""Names of ego policies that `--policy` accepts."""


def make_policy(name: str, problem: ShapingProblem, key: Key[Array, ""]) -> AbstractPolicy:
    """Make a random ego policy for `problem`, by one of the names in `POLICIES`.

    **Raises** `ValueError` for another name.
    """
    game = problem.game
    if name in _NETWORKS:
        return _network(_NETWORKS[name], game.num_observations[0], game.num_actions[0], key)
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    if name == "memory-one":
        return _memory_one(game, 0, generator)
    if name == "full-history":
        return _full_history(game, 0, problem.episodes * problem.steps, generator)
    raise ValueError(f"There is no policy {name!r}. Name one of {', '.join(POLICIES)}.")


def make_problem(
    game: AbstractEnumerableGame,
    learner: AbstractLearner | tuple[AbstractLearner, ...],
    *,
    policy: str | Callable[[ShapingProblem, Key[Array, ""]], AbstractPolicy],
    batch: int,
    episodes: int,
    steps: int,
    seed: int,
    game_name: str,
    learner_name: str,
) -> NamedProblem:
    """Make a problem with random memory-one co-players and a random ego policy.

    `policy` is one of `POLICIES`, or a function (problem, key) → policy.
    """
    generator = np.random.default_rng(seed)
    co_players = tuple(_memory_one(game, player, generator) for player in range(1, game.num_players))
    problem = ShapingProblem(
        game=game, co_players=co_players, learner=learner, batch=batch, episodes=episodes, steps=steps
    )
    key = jax.random.key(seed)
    made = make_policy(policy, problem, key) if isinstance(policy, str) else policy(problem, key)
    return NamedProblem(game_name, problem, made, game_name, learner_name)


def default_problems(seed: int = 0) -> tuple[NamedProblem, ...]:
    """Small problems that together cover the likely errors. `seed` draws the policies and the random games.

    Some are controls in which biased estimators should turn out unbiased: a batch of one, and co-players that do not
    learn. Most sizes beyond two need co-players with a single action (`one action`), because there would be too many
    outcomes otherwise. Structural certificates cover all sizes.
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

    generator = np.random.default_rng(seed + 500)
    dilemma, sexes = games.iterated_prisoners_dilemma(), games.battle_of_the_sexes()
    lonely = games.MatrixGame(generator.normal(size=(2, 2, 1)).round(1))
    hundredfold = games.MatrixGame(100 * np.asarray(games.chicken().payoffs))
    scissors = games.MatrixGame(generator.normal(size=(2, 3, 2)).round(1))
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
        _with_critic(
            problem("three by three", dilemma, "prisoner's dilemma", "adam", "full-history", 3, 3, 1), generator
        ),
        problem("long", lonely, "random, one action", "sgd", "full-history", 2, 2, 3),
        problem("deep", lonely, "random, one action", "sgd", "full-history", 2, 3, 2),
        _with_critic(problem("critic", lonely, "random, one action", "sgd", "full-history", 3, 2, 2), generator),
        problem("one episode", sexes, "battle of the sexes", "sgd", "full-history", 2, 1, 2),
        problem("hundredfold", hundredfold, "chicken, payoffs × 100", "sgd", "memory-one", 2, 2, 1),
        _two_learners(generator, seed),
        _remembering(generator, seed),
        _own_learner(generator, seed),
        _masked(problem("masked", scissors, "random, 3 × 2 actions", "momentum", "full-history", 2, 2, 1)),
        _sharp(problem("sharp", games.chicken(), "chicken", "sgd", "memory-one", 2, 2, 1)),
    )


class LearnsFromOne(AbstractLearner):
    """A learner that learns from one trajectory of its batch only. Trajectories are not exchangeable against it.

    **Arguments:**

    - `trajectory`: index of the trajectory, from 0.
    - `learner`: the learner that learns from it.
    """

    trajectory: int
    learner: AbstractLearner
    exchangeable: ClassVar[bool] = False

    @property
    def uses_key(self) -> bool:
        """As of the learner."""
        return self.learner.uses_key

    def init(self, policy: AbstractPolicy, key: Any = None) -> Any:
        return init_rule(self.learner, policy, key)

    def update(
        self, policy: AbstractPolicy, state: Any, experience: Experience, key: Any = None
    ) -> tuple[AbstractPolicy, Any]:
        one = jax.tree.map(lambda leaf: leaf[self.trajectory : self.trajectory + 1], experience)
        return update_rule(self.learner, policy, state, one, key)


@compiled
def _network(kind: Callable[..., AbstractPolicy], observations: int, actions: int, key: Key[Array, ""]) -> Any:
    return kind(observations, actions, width=4, head_scale=2.0, key=key)


def _memory_one(game: AbstractGame, player: int, generator: np.random.Generator) -> MemoryOne:
    return MemoryOne(generator.normal(size=(game.num_observations[player], game.num_actions[player])))


def _full_history(game: AbstractGame, player: int, steps: int, generator: np.random.Generator) -> FullHistory:
    blank = FullHistory.uniform(game, steps, player=player)
    return eqx.tree_at(lambda policy: policy.logits, blank, jnp.asarray(generator.normal(size=blank.logits.shape)))


def _with_critic(named: NamedProblem, generator: np.random.Generator) -> NamedProblem:
    """The same problem with a random critic. Eqs 13–14 hold for any critic."""
    policy = named.policy
    assert isinstance(policy, FullHistory)
    return dataclasses.replace(named, policy=policy.with_critic(generator.normal(size=len(policy.logits))))


def _two_learners(generator: np.random.Generator, seed: int) -> NamedProblem:
    """A problem with three players: the third has one action, and the second and third learn differently."""
    game = games.MatrixGame(generator.normal(size=(3, 2, 2, 1)).round(1))
    learners = (LEARNERS["sgd"](), LEARNERS["momentum"]())
    named = make_problem(
        game, learners, policy="full-history", batch=2, episodes=2, steps=2, seed=1000 * seed + 600,
        game_name="random, 3 players", learner_name="sgd and momentum",
    )  # fmt: skip
    return dataclasses.replace(named, name="two learners")


def _remembering(generator: np.random.Generator, seed: int) -> NamedProblem:
    """A problem whose co-player remembers its inner episode."""
    game = games.chicken()
    problem = ShapingProblem(
        game=game,
        co_players=(_full_history(game, 1, 2, generator),),
        learner=LEARNERS["sgd"](),
        batch=2,
        episodes=2,
        steps=2,
    )
    policy = make_policy("mlp", problem, jax.random.key(seed))
    return NamedProblem("remembering", problem, policy, "chicken", "sgd, FullHistory")


def _own_learner(generator: np.random.Generator, seed: int) -> NamedProblem:
    """A problem whose learner depends on the order of the batch."""
    game = games.MatrixGame(generator.normal(size=(2, 2, 2)).round(1))
    named = make_problem(
        game, LearnsFromOne(1, LEARNERS["sgd"]()), policy="full-history", batch=2, episodes=3, steps=1,
        seed=1000 * seed + 700, game_name="random, 2 × 2 actions", learner_name="sgd, from one trajectory",
    )  # fmt: skip
    return dataclasses.replace(named, name="own learner")


def _masked(named: NamedProblem) -> NamedProblem:
    """The same problem with an ego agent that never takes its last action."""
    policy = named.policy
    assert isinstance(policy, FullHistory)
    logits = np.array(policy.logits)
    logits[:, -1] = -np.inf
    return dataclasses.replace(named, policy=eqx.tree_at(lambda one: one.logits, policy, jnp.asarray(logits)))


def _sharp(named: NamedProblem) -> NamedProblem:
    """The same problem with a nearly deterministic ego agent, with probabilities down to 1e-17."""
    policy = named.policy
    assert isinstance(policy, MemoryOne)
    drawn = np.asarray(policy.logits)
    return dataclasses.replace(named, policy=MemoryOne(drawn + 20 * np.sign(drawn - drawn.mean(axis=1, keepdims=True))))


def _with_population(named: NamedProblem, seed: int) -> NamedProblem:
    """The same problem with two possible co-players, met with unequal probabilities."""
    problem, game = named.problem, named.problem.game
    generator = np.random.default_rng(1000 * seed + 999)
    members = [_memory_one(game, 1, generator) for _ in range(2)]
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
    """A random game of two players and three states. Half of the transitions are random, and states 1 and 2 look the
    same to player 1.
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
