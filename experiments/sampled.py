"""Shared parts of the figures of Section 5: settings, the pool that they describe, and its training.

Source: Meulemans et al. (2025), Section 5 and App. B.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Key

from coala_eqx.estimators import (
    MFOS,
    AbstractEstimator,
    AbstractScoreFunctionEstimator,
    BatchUnaware,
    CoalaPG,
    LolaDice,
)
from coala_eqx.foreign.loading import is_source, load_callable, load_object
from coala_eqx.games import AbstractGame, Box, Image, MatrixGame
from coala_eqx.policies import AbstractPolicy
from coala_eqx.runs.directory import Part, Record
from coala_eqx.runs.progress import Progress
from coala_eqx.runs.settings import named
from coala_eqx.training import Agent, Layout, NaiveLearners, Pool, PoolState, check_symmetric
from coala_eqx.training.algorithms.follow import is_look_ahead
from coala_eqx.training.driver import Training
from coala_eqx.training.plan import fitting_layout, smallest_minibatch
from experiments.algorithms import actor_critic, follow, make_learner, with_critic
from experiments.analytic import load_two_player
from experiments.claims import DILEMMA
from experiments.groups import (
    HEADS,
    NETWORKS,
    AgentSettings,
    CriticSettings,
    LayoutSettings,
    LearnerSettings,
    PoolSettings,
    RunSettings,
)
from experiments.settings import ALONE, override

ESTIMATORS: dict[str, AbstractEstimator] = {
    "CoalaPG": CoalaPG(),
    "MFOS": MFOS(),
    "BatchUnaware": BatchUnaware(),
    "LolaDice": LolaDice(),
}
"""The estimators of Figure 5A, by name."""

SMOKE: dict[str, Any] = {
    "batch": 4,
    "episodes": 3,
    "steps": 3,
    "meta_batch": 4,
    "iterations": 4,
    "every": 2,
    "learner.population": 2,
    "agent.width": 4,
    "learner.width": 4,
    "seeds": 2,
}
"""Sizes of the preset `smoke`."""

SMOKE_ON_GRIDS: dict[str, Any] = SMOKE | {"steps": 8}
"""Sizes of the preset `smoke` on grids, where players need some steps to reach each other."""


@dataclasses.dataclass(frozen=True)
class GameSettings:
    """The iterated matrix game."""

    payoffs: str = DILEMMA
    """Game of two players: its name, a JSON or TOML file, or FILE.py:NAME of an AbstractGame."""

    def make(self) -> AbstractGame:
        """The game. **Raises** `ValueError` unless it has two players."""
        if not is_source(self.payoffs):
            return load_two_player(self.payoffs)
        game = load_object(self.payoffs, AbstractGame, "game")
        if game.num_players != 2:
            raise ValueError(f"`payoffs` must be a game of two players, but {self.payoffs} has {game.num_players}.")
        return game


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a sampled figure.

    A derived class gives defaults. Its method `trainings` returns the pools that are trained.
    """

    game: Annotated[GameSettings, ALONE] = GameSettings()
    pool: Annotated[PoolSettings, ALONE] = PoolSettings()
    run: Annotated[RunSettings, ALONE] = RunSettings()
    layout: Annotated[LayoutSettings, ALONE] = LayoutSettings()
    agent: AgentSettings = AgentSettings()
    learner: LearnerSettings = LearnerSettings()
    critic: CriticSettings = CriticSettings()

    def __post_init__(self) -> None:
        if self.layout.rematerialise and self.agent.network != "hawk":
            raise ValueError(
                f"`rematerialise` is for `hawk`, and must be 0 with `{self.agent.network}`, but is "
                f"{self.layout.rematerialise}."
            )
        if self.learner.pretraining and self.pool.dynamic_naive:
            raise ValueError(
                "`learner.pretraining` trains a naive population, but with `dynamic_naive` learners start from the "
                f"agents' parameters: it must be 0 then, but is {self.learner.pretraining}."
            )
        for name in ("network", "width"):
            agents, learners = getattr(self.agent, name), getattr(self.learner, name)
            if self.pool.dynamic_naive and learners != agents:
                raise ValueError(
                    f"`learner.{name}` must be {agents!r} with `dynamic_naive`, as learners start from the agents' "
                    f"parameters, but is {learners!r}."
                )
        trajectories = self.pool.meta_batch * self.pool.batch
        if self.agent.algorithm == "ppo" and trajectories % self.agent.minibatches:
            raise ValueError(
                f"`agent.minibatches` must divide meta_batch · batch = {trajectories}, but is {self.agent.minibatches}."
            )
        if self.learner.algorithm == "ppo" and self.pool.batch % self.learner.minibatches:
            raise ValueError(
                f"`learner.minibatches` must divide batch = {self.pool.batch}, but is {self.learner.minibatches}."
            )
        self.critic.check_batch(self.pool.batch)

    def trainings(self) -> dict[str, tuple["Settings", Pool]]:
        """The settings and the pool of each training, keyed by part.

        **Raises** `ValueError` for settings that do not fit each other.
        """
        raise NotImplementedError

    def watch(self, pool: Pool, state: PoolState) -> Any:
        """Further measurements of one seed at each record: arrays. It is a pure function."""
        return ()

    def plain(self, changes: Mapping[str, Any]) -> "Settings":
        """The settings that all sampled figures share, with changes."""
        groups = {field.name: getattr(self, field.name) for field in dataclasses.fields(Settings)}
        return override(Settings(**groups), changes)

    def contents(self) -> dict[str, Any]:
        """The payoffs of a matrix game, and the checksums of Python files that settings name."""
        game = self.game.make()
        payoffs = {"payoff_table": np.asarray(game.payoffs).tolist()} if isinstance(game, MatrixGame) else {}
        return payoffs | _checksums(self)

    def check(self) -> None:
        """**Raises** `ValueError` if there are too few devices, or if they do not divide the work of a pool."""
        for settings, pool in self.trainings().values():
            layout, meetings = settings.fitting_layout(pool), (pool.num_naive, pool.num_meta)
            layout.check(settings.run.seeds, meetings, smallest_minibatch(pool))

    def fitting_layout(self, pool: Pool) -> Layout:
        """The layout of a pool's training. Sizes that are not set fit the caches of a CPU."""
        ours = self.layout
        layout = Layout(ours.devices or None, ours.chunk or None, ours.group or None)
        return fitting_layout(pool, self.run.seeds, self.agent.width, layout)

    def in_words(self) -> str:
        """The layout of the first pool, in words. The last bits of all results depend on it."""
        _, pool = next(iter(self.trainings().values()))
        steps = self.layout.rematerialise
        return self.fitting_layout(pool).in_words(self.run.seeds) + (f", activations of {steps} steps" if steps else "")

    def init(self, pool: Pool) -> PoolState:
        """The states of all seeds before training."""
        keys = jax.random.split(jax.random.key(self.run.seed), self.run.seeds)
        return eqx.filter_jit(eqx.filter_vmap(pool.init))(keys)

    def training(self, pool: Pool) -> Training:
        """The training of a pool."""
        run = self.run
        return Training(pool, self.init(pool), run.iterations, run.every, self.fitting_layout(pool), self.watch)

    def alone(self, estimator: AbstractEstimator) -> tuple["Settings", Pool]:
        """The settings and the pool of one agent. γ and λ are 1 for an estimator without advantages that lacks them."""
        fitting = self
        if not isinstance(estimator, AbstractScoreFunctionEstimator):
            fitting = override(self, {f"agent.{name}": 1.0 for name in self._lacking(estimator)})
        return fitting, fitting.make_pool((estimator,))

    def make_pool(self, estimators: Sequence[AbstractEstimator]) -> Pool:
        """The pool of agents with these estimators. The settings' γ and λ replace theirs, unless they are 1."""
        game, sizes = self.game.make(), self.pool
        if self.learner.pretraining:
            check_symmetric(game)
        if len(estimators) > 1 and sizes.p_naive == 1:
            raise ValueError(
                f"`p_naive` must be below 1, so that the {len(estimators)} agents of a pool meet each other, but is "
                f"{sizes.p_naive}."
            )
        estimators = [self._discounting(estimator) for estimator in estimators]
        by_advantages = all(isinstance(estimator, AbstractScoreFunctionEstimator) for estimator in estimators)
        looks_ahead = not by_advantages and is_look_ahead(estimators[0])
        algorithm = (
            actor_critic(self.agent, self.run.iterations)
            if by_advantages
            else follow(self.agent, sizes.episodes, looks_ahead=looks_ahead)
        )
        memory = 1 if looks_ahead else self.agent.memory
        seen = self.critic if sizes.p_naive else CriticSettings()  # without learners there is nothing to see
        make = functools.partial(self._network, self.agent, game, 0, sizes.steps * memory or None)
        return Pool(
            game=game,
            agents=tuple(
                Agent(
                    one,
                    algorithm,
                    make,
                    naive_weight=self.naive_weight_of(one) if by_advantages else 1.0,
                    critic=critic,
                )
                for one, critic in (with_critic(estimator, seen) for estimator in estimators)
            ),
            naive=NaiveLearners(
                make_learner(self.learner, looked_through=not by_advantages),
                functools.partial(self._network, self.learner, game, 1, None),
                self.learner.population,
                self.learner.pretraining,
                self.learner.pretraining_batch,
            ),
            batch=sizes.batch,
            episodes=sizes.episodes,
            steps=sizes.steps,
            meta_batch=sizes.meta_batch,
            p_naive=sizes.p_naive,
            dynamic_naive=sizes.dynamic_naive,
        )

    def naive_weight_of(self, estimator: AbstractEstimator) -> float:
        """The weight of an agent's meetings with naive learners."""
        smaller = self.agent.naive_advantages == "printed" and isinstance(estimator, CoalaPG | MFOS)
        return self.agent.naive_weight / (self.pool.batch if smaller else 1)

    def _lacking(self, estimator: AbstractEstimator) -> list[str]:
        """The names, of γ and λ, that are not 1 in the settings and that the estimator does not have."""
        has = {field.name for field in dataclasses.fields(estimator)}
        return [name for name in ("discount", "gae_lambda") if name not in has and getattr(self.agent, name) != 1]

    def _discounting(self, estimator: AbstractEstimator) -> AbstractEstimator:
        for name in self._lacking(estimator):
            kind, value = type(estimator).__name__, getattr(self.agent, name)
            raise ValueError(f"`agent.{name}` must be 1 with {kind}, which has no `{name}`, but is {value}.")
        ours = {"discount": self.agent.discount, "gae_lambda": self.agent.gae_lambda}
        return dataclasses.replace(estimator, **{name: value for name, value in ours.items() if value != 1})

    def _network(
        self,
        kind: AgentSettings | LearnerSettings,
        game: AbstractGame,
        player: int,
        forget_after: int | None,
        key: Key[Array, ""],
    ) -> AbstractPolicy:
        """A network before training, for a player. It forgets everything after `forget_after` steps, unless `None`."""
        seen, done = game.observation_spaces[player], game.action_spaces[player]
        sizes = (  # numbers where these say all
            seen if isinstance(seen, Image) else game.num_observations[player],
            done if isinstance(done, Box) else game.num_actions[player],
        )
        if is_source(kind.network):
            return load_callable(kind.network, AbstractPolicy, "network")(*sizes, key=key)
        changes: dict[str, Any] = {"width": kind.width, "head_scale": 0.0}
        if kind.network != "mlp":
            changes["forget_after"] = forget_after
        if kind.network == "hawk":
            changes |= {"rematerialise": self.layout.rematerialise or None, "heads": HEADS}
        return NETWORKS[kind.network](*sizes, key=key, **changes)


def _checksums(settings: Settings) -> dict[str, Any]:
    values = [one for value in named(settings).values() for one in (value if isinstance(value, tuple) else (value,))]
    files = {Path(value.rpartition(":")[0]) for value in values if isinstance(value, str) and is_source(value)}
    sums = {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.suffix == ".py"}
    return {"source_files": sums} if sums else {}


def parts(settings: Settings, run: Callable[[Settings, str, Pool, Progress], list[Record]]) -> list[Part]:
    """One part for each training. `run` is called with its settings, name, pool and progress."""
    return [
        Part(name, one.run.iterations, functools.partial(run, one, name, pool))
        for name, (one, pool) in settings.trainings().items()
    ]
