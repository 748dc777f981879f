"""Groups of settings of the sampled figures: pool, run, layout, agents, naive learners and critics.

The defaults are the paper's for the iterated prisoner's dilemma.

Source: Meulemans et al. (2025), App. B (Tables 5 to 8 of the iterated prisoner's dilemma), unless marked.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar

from coala_eqx.foreign.loading import is_source, load_callable
from coala_eqx.policies import GRU, MLP, AbstractPolicy, Hawk
from coala_eqx.shaping import probe_game
from coala_eqx.training import CriticTraining
from experiments.settings import (
    check_at_least,
    check_choice,
    check_periods,
    check_positive,
    check_seed,
    check_share,
)

NETWORKS: dict[str, Callable[..., AbstractPolicy]] = {"hawk": Hawk, "gru": GRU, "mlp": MLP}
"""The networks of the package, by name."""

HEADS = 2
"""Heads of a Hawk's gates."""

OPTIMISERS = ("adam", "sgd")


@dataclasses.dataclass(frozen=True)
class PoolSettings:
    """Sizes of a pool's meetings, and who is met."""

    batch: int = 16
    """B: number of parallel trajectories in a meeting."""

    episodes: int = 20
    """M: number of inner episodes in a meta-episode."""

    steps: int = 10
    """T: number of steps in an inner episode."""

    meta_batch: int = 128
    """B̄: number of meetings of each agent in an iteration."""

    p_naive: float = 1.0
    """Share of meetings with naive learners, from 0 to 1. `p-naive` · `meta-batch` must be a whole number."""

    dynamic_naive: bool = False
    """Whether naive learners start from the agents' parameters instead of a population of their own.
    They must then have the agents' network."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "batch", "episodes", "steps", "meta_batch")
        check_share(self, "p_naive")


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """Length and seeds of training."""

    iterations: int = 3000
    """Number of iterations of meta-training."""

    every: int = 10
    """Number of iterations between records. It must divide `iterations`. Records are means over these iterations."""

    seeds: int = 5
    """Number of seeds. Each has a pool of its own, and all pools are trained in one program."""

    seed: int = 0
    """Seed of all random numbers, from 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "iterations", "every", "seeds")
        check_seed(self)
        check_periods(self)


@dataclasses.dataclass(frozen=True)
class LayoutSettings:
    """Devices and sizes of the pieces of work. They change results only in the last bits."""

    LAYOUT: ClassVar[bool] = True

    devices: int = 0
    """Number of devices; 0 takes all accelerators, or as many CPU cores as divide the number of seeds."""

    chunk: int = 0
    """Number of trajectories whose gradient is computed at a time, at most a minibatch.
    0 takes a minibatch on an accelerator, and as many as fit the cache on a CPU."""

    group: int = 0
    """Number of opponents that each device plays at a time.
    0 takes all on an accelerator, and as many as fit the cache on a CPU."""

    rematerialise: int = 0
    """Number of steps whose activations a gradient through a `hawk` keeps at a time; 0 keeps all.
    Otherwise activations are computed twice, and their memory does not grow with M."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "devices", "chunk", "group", "rematerialise")


@dataclasses.dataclass(frozen=True)
class AgentSettings:
    """The meta agents: their network and the algorithm that trains it."""

    PREFIX: ClassVar[str] = "agent."

    network: str = "hawk"
    """Network: `hawk`, `gru`, `mlp` (without memory), or FILE.py:NAME.
    NAME is a class or a function (observations, actions, key=…) → policy."""

    width: int = 32
    """Width of all parts of the network."""

    memory: int = 0
    """Number of inner episodes after which the agents forget everything; 0 for never."""

    algorithm: str = "ppo"
    """Algorithm: `ppo` or `a2c`. `a2c` ignores `agent.epochs`, `agent.minibatches` and `agent.clip`.
    LOLA-DiCE, which has no advantages, uses neither."""

    optimiser: str = "adam"
    """Optimiser: `adam` or `sgd`."""

    rate: float = 3e-4
    """Learning rate."""

    norm: float = 1.0
    """Global norm to which gradients are clipped."""

    epochs: int = 4
    """Number of PPO's epochs in an iteration."""

    minibatches: int = 2
    """Number of PPO's minibatches in an epoch. It must divide `meta-batch` · `batch`."""

    clip: float = 0.2
    """PPO's clip range of probability ratios, and of the change of values."""

    discount: float = 1.0
    """Discount factor γ per step, of advantages and critic. LOLA-DiCE has neither."""

    gae_lambda: float = 1.0
    """λ of the advantages, from 0 to 1."""

    td_lambda: float = 1.0
    """λ of the critic's targets, from 0 to 1."""

    value_coefficient: float = 0.5
    """Weight of the critic's loss."""

    entropy_coefficient: float = 0.0
    """Initial weight of the entropy bonus.
    It falls to 0 linearly over the share `agent.entropy-until` of the iterations."""

    entropy_until: float = 0.5
    """Share of the iterations that have an entropy bonus, from 0 to 1."""

    reward_scale: float = 0.05
    """Factor of the rewards in the losses."""

    leave_one_out: bool = False
    """Whether the mean advantage of the other meta-episodes at the same step is subtracted.
    It needs `--agent.no-centre`. The paper does not use it. LOLA-DiCE has no advantages and ignores it."""

    centre: bool = False
    """Whether the mean of all advantages is subtracted from each. LOLA-DiCE has no advantages and ignores it."""

    naive_weight: float = 1.0
    """Weight of meetings with naive learners. Meetings with meta agents have weight 1."""

    naive_advantages: str = "gradient"
    """Scale of advantages against naive learners: `gradient` or `printed`.
    `gradient`: they give the gradient of the mean return, as in Section 5.
    `printed`: as in Algorithm 1; B times smaller for COALA-PG and M-FOS, and the same for batch-unaware."""

    look_aheads: int = 1
    """Number of look-aheads of LOLA-DiCE. The paper gives none of LOLA's settings."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "width", "epochs", "minibatches", "look_aheads")
        check_at_least(self, 0, "memory", "rate", "clip", "reward_scale")
        check_at_least(self, 0, "value_coefficient", "entropy_coefficient", "naive_weight")
        check_positive(self, "norm", "reward_scale")
        check_share(self, "discount", "gae_lambda", "td_lambda", "entropy_until")
        check_choice(self, "algorithm", ("ppo", "a2c"))
        check_choice(self, "optimiser", OPTIMISERS)
        check_choice(self, "naive_advantages", ("gradient", "printed"))
        check_network(self)
        if self.memory and is_source(self.network):
            raise ValueError(
                f"`agent.memory` must be 0 with {self.network}, which has its own memory, but is {self.memory}."
            )


@dataclasses.dataclass(frozen=True)
class LearnerSettings:
    """The naive learners: their network, initial policies and learning rule between inner episodes."""

    PREFIX: ClassVar[str] = "learner."

    network: str = "hawk"
    """Network, with the same choices as `agent.network`."""

    width: int = 32
    """Width of all parts of the network."""

    algorithm: str = "policy-gradient"
    """Learning rule: `policy-gradient` (the paper's A2C), `ppo`, or FILE.py:NAME of a learner (an AbstractLearner).
    A learner from a file ignores the settings from `learner.optimiser` to `learner.smoothing`."""

    optimiser: str = "adam"
    """Optimiser: `adam` or `sgd`."""

    rate: float = 5e-3
    """Learning rate."""

    norm: float = 1.0
    """Global norm to which gradients are clipped."""

    reward_scale: float = 0.05
    """Factor of the rewards in the loss."""

    discount: float = 0.99
    """Discount factor γ per step, of the advantages."""

    epochs: int = 4
    """Number of PPO's epochs in an update."""

    minibatches: int = 2
    """Number of PPO's minibatches in an epoch, drawn at random. It must divide `batch`."""

    clip: float = 0.2
    """PPO's clip of probability ratios, and of the change of values."""

    smoothing: float = 1e-6
    """Number added under the root of the learners' Adam where LOLA-DiCE differentiates through it.
    A root has no derivative at 0. The paper does not say."""

    population: int = 10
    """Number of fixed policies that learners start from.
    Their read-outs are zero, so that all act uniformly at first."""

    pretraining: int = 0
    """Number of updates that the population makes in pairs before training, by the learners' rule.
    Learners start from the result."""

    pretraining_batch: int = 32
    """Number of games that a pair plays for each of these updates."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "width", "population", "pretraining_batch", "epochs", "minibatches")
        check_at_least(self, 0, "rate", "pretraining", "smoothing", "reward_scale", "clip")
        check_positive(self, "norm", "reward_scale")
        check_share(self, "discount")
        check_choice(self, "optimiser", OPTIMISERS)
        check_network(self)
        if not is_source(self.algorithm):
            check_choice(self, "algorithm", ("policy-gradient", "ppo"))


def check_network(settings: AgentSettings | LearnerSettings) -> None:
    """**Raises** `ValueError` for a network that is unknown, or whose width does not fit."""
    if is_source(settings.network):
        load_callable(settings.network, AbstractPolicy, "network")
        return
    check_choice(settings, "network", NETWORKS)
    if settings.width % HEADS and settings.network == "hawk":
        raise ValueError(
            f"`{settings.PREFIX}width` must be a multiple of {HEADS} with `hawk`, whose gates have {HEADS} heads, but "
            f"is {settings.width}."
        )


@dataclasses.dataclass(frozen=True)
class CriticSettings:
    """The critic that sees what naive learners have learned."""

    PREFIX: ClassVar[str] = "critic."

    use: bool = False
    """Whether agents have one. Otherwise all other settings of `critic` are ignored."""

    kappa: float = 1.0
    """κ of TD over inner episodes, from 0 (predicted) to 1 (sampled).
    COALA-PG is unbiased at 1, and below if the critic is exact."""

    groups: int = 4
    """Number of groups of trajectories that are left out of the learners' updates, one after the other.
    It must divide `batch`; 0 leaves out each trajectory alone."""

    width: int = 64
    """Width of its network."""

    depth: int = 2
    """Number of hidden layers of its network."""

    rate: float = 3e-3
    """Learning rate of its Adam."""

    steps: int = 40
    """Number of gradient steps in an iteration."""

    minibatch: int = 16
    """Number of meta-episodes in each step."""

    replay: int = 24
    """Number of recent iterations that it learns from."""

    momentum: bool = True
    """Whether it sees what the learners' momentum will do."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "groups")
        check_at_least(self, 1, "width", "depth", "steps", "minibatch", "replay")
        check_positive(self, "rate")
        check_share(self, "kappa")
        if self.kappa != 1 and not self.use:
            raise ValueError(f"`critic.kappa` must be 1 without `critic.use`, but is {self.kappa}.")

    def check_batch(self, batch: int) -> None:
        """**Raises** `ValueError` unless the groups divide the trajectories."""
        if self.use and batch % (self.groups or batch):
            raise ValueError(f"`critic.groups` must divide batch = {batch}, but is {self.groups}.")

    def make(self) -> CriticTraining:
        """The critic, and how it is trained."""
        return CriticTraining(
            functools.partial(probe_game, groups=self.groups or None, momentum=self.momentum),
            self.width,
            self.depth,
            self.rate,
            self.steps,
            self.minibatch,
            self.replay,
        )
