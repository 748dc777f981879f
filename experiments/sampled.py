"""What the figures of Section 5 share: settings, and training of all seeds at once on what is sampled.

Source: Meulemans et al. (2025), Section 5 and App. B (Tables 5 to 8 of the iterated prisoner's dilemma).
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import Array, Key

import coala_eqx as ce
from coala_eqx._checks import check_choice
from coala_eqx.estimators import (
    MFOS,
    AbstractEstimator,
    AbstractScoreFunctionEstimator,
    BatchUnaware,
    CoalaPG,
    LolaDice,
)
from coala_eqx.learners import PolicyGradient, clip_by_global_norm
from coala_eqx.policies import GRU, MLP, AbstractPolicy, Hawk
from coala_eqx.runs.directory import Part, Record
from coala_eqx.runs.progress import Progress
from coala_eqx.training import A2C, PPO, Agent, Follow, Layout, NaiveLearners, Pool, PoolState, check_symmetric
from coala_eqx.training.algorithms import AbstractActorCritic
from coala_eqx.training.algorithms.follow import is_look_ahead
from experiments.analytic import check_at_least, check_seed, check_share, load_two_player
from experiments.claims import DILEMMA

AT_ONCE = 1_000_000
"""Steps of the game in a piece of work, at most, unless an iteration has more."""

NETWORKS: dict[str, Callable[..., AbstractPolicy]] = {"hawk": Hawk, "gru": GRU, "mlp": MLP}
"""By name."""

HEADS = 2
"""Of a Hawk's gates."""

UPDATES = ("ppo", "a2c")

OPTIMISERS = ("adam", "sgd")

NAIVE_ADVANTAGES = ("gradient", "printed")


ESTIMATORS: dict[str, AbstractEstimator] = {
    "CoalaPG": CoalaPG(),
    "MFOS": MFOS(),
    "BatchUnaware": BatchUnaware(),
    "LolaDice": LolaDice(),
}
"""By name."""


SMOKE: dict[str, Any] = {
    "batch": 4,
    "episodes": 3,
    "steps": 3,
    "meta_batch": 4,
    "iterations": 4,
    "every": 2,
    "naive_population": 2,
    "width": 4,
    "seeds": 2,
}
"""Of the preset `smoke`."""

SMOKE_ON_GRIDS: dict[str, Any] = SMOKE | {"steps": 8}
"""Where it takes some steps to come to each other."""

Game = TypeVar("Game", bound=ce.games.AbstractGame)


@dataclasses.dataclass(frozen=True)
class Settings:
    """As in the paper for the iterated prisoner's dilemma, unless marked: one agent that shapes naive learners.

    A class that derives from it has the `game`, and what is to be known of it.
    """

    LAYOUT: ClassVar[tuple[str, ...]] = ("devices", "chunk", "group", "rematerialise")
    """Settings of how it is computed, which change the last bits only: a run may go on with others."""

    batch: int = 16
    """B."""

    episodes: int = 20
    """M."""

    steps: int = 10
    """T."""

    meta_batch: int = 128
    """B̄."""

    iterations: int = 3000
    """Of meta-training."""

    every: int = 10
    """Iterations between records, which are means over them."""

    p_naive: float = 1.0
    """Share of naive opponents."""

    naive_weight: float = 1.0
    """Of what `naive_advantages` says against naive opponents, beside the gradients against meta agents."""

    naive_advantages: str = "gradient"
    """`gradient`: those of an estimate of the gradient of the mean return, as Section 5 reads; `printed`: those of
    Algorithm 1, which are that for batch-unaware, but B times smaller for COALA-PG and M-FOS."""

    naive_population: int = 10
    """How many fixed policies naive learners start from; with read-outs of zero, so that all act uniformly at first."""

    naive_pretraining: int = 0
    """Updates that the naive population makes in pairs before training, by its learner; then it starts from there."""

    pretraining_batch: int = 32
    """Games of a pair between two of them."""

    dynamic_naive: bool = False
    """Whether naive learners start from what the agents are, and not from that population; they have the same network
    then."""

    network: str = "hawk"
    """Of the agents: `hawk`, `gru`, or `mlp`, which remembers nothing."""

    naive_network: str = "hawk"
    """Of the naive learners."""

    width: int = 32
    """Of all parts of all networks."""

    memory: int = 0
    """Inner episodes after which the agents forget everything; 0 for never."""

    update: str = "ppo"
    """Of the agents: `ppo`, or `a2c`, to which epochs, minibatches and clip do not apply."""

    optimiser: str = "adam"
    """Of the agents: `adam` or `sgd`."""

    rate: float = 3e-4
    """Its learning rate."""

    epochs: int = 4
    """Of PPO."""

    minibatches: int = 2
    """Of each epoch."""

    clip: float = 0.2
    """Of probability ratios, and of how far values move from what they were."""

    discount: float = 1.0
    """γ per step, of the agents' advantages and critics; LOLA-DiCE has neither."""

    gae_lambda: float = 1.0
    """λ of the advantages."""

    td_lambda: float = 1.0
    """λ of the critics' targets."""

    value_coefficient: float = 0.5
    """Weight of the critic's loss."""

    entropy_coefficient: float = 0.0
    """Of the agents' losses, at first; it falls to 0 linearly over `entropy_until` of the iterations."""

    entropy_until: float = 0.5
    """A share of the iterations."""

    reward_scale: float = 0.05
    """Of the agents' losses."""

    leave_one_out: bool = False
    """Whether advantages are taken less their mean at the same step in the other meta-episodes; `centre` must be False
    then. Not the paper's. LOLA-DiCE has no advantages, and heeds neither."""

    centre: bool = False
    """Whether their advantages are centred."""

    naive_optimiser: str = "adam"
    """Of the learners: `adam` or `sgd`."""

    naive_rate: float = 5e-3
    """Its learning rate."""

    naive_reward_scale: float = 0.05
    """Of the learners' losses."""

    naive_discount: float = 0.99
    """γ per step, of the learners' advantages."""

    norm: float = 1.0
    """Gradients of both are clipped to it."""

    look_aheads: int = 1
    """Of LOLA-DiCE. Not said, as all of LOLA's settings."""

    lola_smoothing: float = 1e-6
    """Added under the root of the learners' Adam where LOLA-DiCE differentiates through it, as a root has no derivative
    at 0. Not said."""

    seeds: int = 5
    """How many pools are trained, all in one program."""

    seed: int = 0
    """Draws all random numbers."""

    devices: int = 0
    """How many to use; 0 takes all accelerators, or as many cores of a CPU as divide the seeds."""

    chunk: int = 0
    """Trajectories of which a gradient is computed at a time, at most a minibatch; to rounding the same. 0 takes a
    minibatch on an accelerator, and as many as fit its cache on a CPU."""

    group: int = 0
    """Opponents that are met at a time on each device, to rounding the same; 0 takes all on an accelerator, and as many
    as fit its cache on a CPU."""

    rematerialise: int = 0
    """Steps of which a gradient through a network keeps activations at a time, and computes them twice: to
    rounding the same, with memory for them that does not grow with M; 0 keeps all. Of `hawk` only."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "batch", "episodes", "steps", "meta_batch", "iterations", "every", "seeds")
        check_at_least(self, 1, "naive_population", "width", "epochs", "minibatches", "look_aheads")
        check_at_least(
            self, 0, "memory", "devices", "chunk", "group", "rematerialise", "rate", "naive_rate", "value_coefficient"
        )
        check_at_least(self, 0, "clip", "entropy_coefficient", "lola_smoothing", "naive_weight", "naive_pretraining")
        check_at_least(self, 1, "pretraining_batch")
        check_seed(self)
        check_at_least(self, 0, "reward_scale", "naive_reward_scale")
        for name in ("norm", "reward_scale", "naive_reward_scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive, but is {getattr(self, name)}.")
        for name in ("p_naive", "entropy_until", "discount", "gae_lambda", "td_lambda", "naive_discount"):
            check_share(self, name)
        for name, known in (
            ("network", NETWORKS),
            ("naive_network", NETWORKS),
            ("update", UPDATES),
            ("optimiser", OPTIMISERS),
            ("naive_optimiser", OPTIMISERS),
            ("naive_advantages", NAIVE_ADVANTAGES),
        ):
            check_choice(name, getattr(self, name), known)
        if self.width % HEADS and "hawk" in {self.network, self.naive_network}:
            raise ValueError(
                f"`width` must be a multiple of {HEADS} with `hawk`, whose gates have as many heads, but is "
                f"{self.width}."
            )
        if self.rematerialise and self.network != "hawk":
            raise ValueError(
                f"`rematerialise` is for `hawk`, and must be 0 with `{self.network}`, but is {self.rematerialise}."
            )
        if self.naive_pretraining and self.dynamic_naive:
            raise ValueError(
                "`naive_pretraining` is of a naive population, but with `dynamic_naive` learners start from what the "
                f"agents are: it must be 0 then, but is {self.naive_pretraining}."
            )
        if self.dynamic_naive and self.naive_network != self.network:
            raise ValueError(
                f"`naive_network` must be `{self.network}` with `dynamic_naive`, as learners start from what the "
                f"agents are, but is `{self.naive_network}`."
            )
        if self.iterations % self.every:
            raise ValueError(
                f"`iterations` must be a multiple of `every`, but {self.iterations} is none of {self.every}."
            )
        if self.update == "ppo" and self.meta_batch * self.batch % self.minibatches:
            raise ValueError(
                f"`minibatches` must divide meta_batch · batch = {self.meta_batch * self.batch}, but is "
                f"{self.minibatches}."
            )

    def trainings(self) -> dict[str, tuple["Settings", Pool]]:
        """All pools that are trained, by the names of their parts, with the settings they are trained with.

        **Raises** `ValueError` for settings that do not fit each other.
        """
        raise NotImplementedError

    def watch(self, pool: Pool, state: PoolState) -> Any:
        """What else is measured of one seed whenever there is a record: arrays, by a pure function."""
        return ()

    def check(self) -> None:
        """**Raises** `ValueError` if there are too few devices, or they do not divide the work of the pools."""
        for settings, pool in self.trainings().values():
            settings.layout(pool).check(settings.seeds, (pool.num_naive, pool.num_meta), settings.minibatch(pool))

    def in_words(self) -> str:
        """The layout of the first pool, on which the last bits of all numbers depend."""
        _, pool = next(iter(self.trainings().values()))
        kept = f", activations of {self.rematerialise} steps" if self.rematerialise else ""
        return self.layout(pool).in_words(self.seeds) + kept

    def layout(self, pool: Pool) -> Layout:
        """The devices that a pool is trained on, with pieces of work that fit their caches."""
        layout = Layout(self.devices or None, self.chunk or None, self.group or None)
        agents = len(pool.agents)
        numbers = self.episodes * self.steps * self.width * agents * self.seeds
        return layout.fitting_caches(self.seeds, self.minibatch(pool), self.batch * agents, numbers)

    def minibatch(self, pool: Pool) -> int:
        """Trajectories of one step of the agents' optimiser."""
        trajectories, algorithm = self.meta_batch * self.batch, pool.agents[0].algorithm
        return algorithm.minibatch(trajectories) if isinstance(algorithm, AbstractActorCritic) else trajectories

    def common(self, **changes: Any) -> "Settings":
        """The settings that all figures of its game have, with changes."""
        of_the_game = next(kind for kind in type(self).__mro__ if "game" in vars(kind))
        same: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(of_the_game)}
        return of_the_game(**same | changes)

    def iterations_at_once(self, agents: int) -> int:
        """Of a pool of so many agents, in one piece of work, after which a run may be stopped: it divides `every`."""
        most = max(1, AT_ONCE // self.steps_per_iteration(agents))
        return max(number for number in range(1, self.every + 1) if number <= most and self.every % number == 0)

    def steps_per_iteration(self, agents: int) -> int:
        """Of the game, in all seeds."""
        return self.seeds * agents * self.meta_batch * self.batch * self.episodes * self.steps

    def game(self) -> ce.games.AbstractGame:
        """What is played; **raises** `ValueError` for settings that make no game."""
        raise NotImplementedError

    def pool(self, estimators: Sequence[AbstractEstimator]) -> Pool:
        """The pool of agents with these estimators, which discount and average as the settings say."""
        if self.naive_pretraining:
            check_symmetric(self.game())
        if len(estimators) > 1 and self.p_naive == 1:
            raise ValueError(
                f"`p_naive` must be below 1, so that the {len(estimators)} agents of a pool meet each other, but is "
                f"{self.p_naive}."
            )
        estimators = [self._discounting(estimator) for estimator in estimators]
        by_advantages = all(isinstance(estimator, AbstractScoreFunctionEstimator) for estimator in estimators)
        looks_ahead = not by_advantages and is_look_ahead(estimators[0])
        if looks_ahead and self.look_aheads >= self.episodes:
            raise ValueError(
                f"`look_aheads` must be below episodes = {self.episodes}, to see what they do, but is "
                f"{self.look_aheads}."
            )
        algorithm = (
            self._algorithm()
            if by_advantages
            else Follow(self._optimiser(self.optimiser, self.rate), self.look_aheads + 1 if looks_ahead else None)
        )
        make = functools.partial(self.make_policy, self.network, 1 if looks_ahead else self.memory)
        return Pool(
            game=self.game(),
            agents=tuple(
                Agent(
                    estimator,
                    algorithm,
                    make,
                    naive_weight=self.naive_weight_of(estimator) if by_advantages else 1.0,
                )
                for estimator in estimators
            ),
            naive=NaiveLearners(
                PolicyGradient(
                    optimiser=self._optimiser(
                        self.naive_optimiser, self.naive_rate, 0.0 if by_advantages else self.lola_smoothing
                    ),
                    discount=self.naive_discount,
                    baseline="critic",
                    normalise_advantages=True,
                    reward_scale=self.naive_reward_scale,
                ),
                functools.partial(self.make_policy, self.naive_network, 0, player=1),
                self.naive_population,
                self.naive_pretraining,
                self.pretraining_batch,
            ),
            batch=self.batch,
            episodes=self.episodes,
            steps=self.steps,
            meta_batch=self.meta_batch,
            p_naive=self.p_naive,
            dynamic_naive=self.dynamic_naive,
        )

    def naive_weight_of(self, estimator: AbstractEstimator) -> float:
        """What multiplies its estimates of the gradient against naive opponents."""
        smaller = self.naive_advantages == "printed" and isinstance(estimator, CoalaPG | MFOS)
        return self.naive_weight / (self.batch if smaller else 1)

    def alone(self, estimator: AbstractEstimator) -> tuple["Settings", Pool]:
        """The pool of one agent with it, and its settings: γ and λ are 1 for an estimator that has no advantages."""
        fitting = self
        if not isinstance(estimator, AbstractScoreFunctionEstimator):
            fitting = dataclasses.replace(self, **self._lacking(estimator))
        return fitting, fitting.pool((estimator,))

    def _lacking(self, estimator: AbstractEstimator) -> dict[str, Any]:
        """Those settings of advantages that it has none of, though they are not 1 here; with the value 1."""
        has = {field.name for field in dataclasses.fields(estimator)}
        return {name: 1.0 for name in ("discount", "gae_lambda") if name not in has and getattr(self, name) != 1}

    def _discounting(self, estimator: AbstractEstimator) -> AbstractEstimator:
        """It with those of our settings that it has, unless they are left at 1."""
        for name in self._lacking(estimator):
            kind = type(estimator).__name__
            raise ValueError(f"`{name}` must be 1 with {kind}, which has none, but is {getattr(self, name)}.")
        ours = {"discount": self.discount, "gae_lambda": self.gae_lambda}
        return dataclasses.replace(estimator, **{name: value for name, value in ours.items() if value != 1})

    def _algorithm(self) -> AbstractActorCritic:
        optimiser = self._optimiser(self.optimiser, self.rate)
        entropy: Any = self.entropy_coefficient
        if entropy:
            entropy = optax.linear_schedule(entropy, 0.0, max(1, round(self.entropy_until * self.iterations)))
        shared: dict[str, Any] = {
            "value_coefficient": self.value_coefficient,
            "entropy_coefficient": entropy,
            "reward_scale": self.reward_scale,
            "td_lambda": self.td_lambda,
            "leave_one_out": self.leave_one_out,
            "centre": self.centre,
        }
        if self.update == "a2c":
            return A2C(optimiser, **shared)
        return PPO(optimiser, epochs=self.epochs, minibatches=self.minibatches, clip=self.clip, **shared)

    def _optimiser(self, name: str, rate: float, smoothing: float = 0.0) -> optax.GradientTransformation:
        step = optax.adam(rate, eps=1e-5, eps_root=smoothing) if name == "adam" else optax.sgd(rate)
        return optax.chain(clip_by_global_norm(self.norm), step)

    def make_policy(self, network: str, memory: int, key: Key[Array, ""], player: int = 0) -> AbstractPolicy:
        """One network before training, that remembers so many inner episodes, or everything if 0."""
        game = self.game()
        sizes = game.num_observations[player], game.num_actions[player]
        changes: dict[str, Any] = {"width": self.width, "head_scale": 0.0}
        if network != "mlp":
            changes["forget_after"] = self.steps * memory or None
        if network == "hawk":
            changes |= {"rematerialise": self.rematerialise or None, "heads": HEADS}
        return NETWORKS[network](*sizes, key=key, **changes)

    def init(self, pool: Pool) -> PoolState:
        """The states of all seeds before training."""
        return eqx.filter_jit(eqx.filter_vmap(pool.init))(jax.random.split(jax.random.key(self.seed), self.seeds))


@dataclasses.dataclass(frozen=True)
class MatrixSettings(Settings):
    """Of an iterated matrix game."""

    payoffs: str = DILEMMA
    """A game by name or file, of two players with any number of actions."""

    def contents(self) -> dict[str, Any]:
        """Of the file that `payoffs` may name: those of both players, as nested lists."""
        return {"payoff_table": np.asarray(self.game().payoffs).tolist()}

    def game(self) -> ce.games.MatrixGame:
        return load_two_player(self.payoffs)


def parts(settings: Settings, run: Callable[[Settings, str, Pool, Progress], list[Record]]) -> list[Part]:
    """One for each training: `run` is given its settings, its name, and its pool."""
    return [
        Part(name, one.iterations, functools.partial(run, one, name, pool))
        for name, (one, pool) in settings.trainings().items()
    ]


def game_by(kind: type[Game], settings: Settings) -> Game:
    """A game of this kind, whose arguments are the settings of the same names."""
    ours = {field.name for field in dataclasses.fields(settings)}
    names = (field.name for field in dataclasses.fields(kind))
    return kind(**{name: getattr(settings, name) for name in names if name in ours})
