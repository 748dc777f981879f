"""Groups of settings of what is sampled: pool, run, layout, agents and naive learners; the paper's for the dilemma.

Source: Meulemans et al. (2025), App. B (Tables 5 to 8 of the iterated prisoner's dilemma), unless marked.
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

from coala_eqx.foreign.loading import is_source, load_callable
from coala_eqx.policies import GRU, MLP, AbstractPolicy, Hawk
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
    """Sizes of a pool's meetings."""

    batch: int = 16
    """B, parallel trajectories of each meeting."""

    episodes: int = 20
    """M, inner episodes of a meta-episode."""

    steps: int = 10
    """T, steps of an inner episode."""

    meta_batch: int = 128
    """B̄, meetings of each agent in an iteration."""

    p_naive: float = 1.0
    """Share of meetings with naive learners."""

    dynamic_naive: bool = False
    """Whether naive learners start from the parameters of the agents, and not from a population of their own. They
    have the same network then."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "batch", "episodes", "steps", "meta_batch")
        check_share(self, "p_naive")


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """Length and seeds of training."""

    iterations: int = 3000
    """Iterations of meta-training."""

    every: int = 10
    """Iterations between records, which are means over them."""

    seeds: int = 5
    """Number of pools, all trained in one program."""

    seed: int = 0
    """Source of all random numbers."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "iterations", "every", "seeds")
        check_seed(self)
        check_periods(self)


@dataclasses.dataclass(frozen=True)
class LayoutSettings:
    """Devices and sizes of the pieces of work. They change results only in the last bits."""

    LAYOUT: ClassVar[bool] = True

    devices: int = 0
    """Number of devices; 0 takes all accelerators, or as many cores of a CPU as divide the seeds."""

    chunk: int = 0
    """Trajectories whose gradient is computed at a time, at most a minibatch; 0 takes a minibatch on an accelerator,
    and as many as fit its cache on a CPU."""

    group: int = 0
    """Co-players that are met at a time on each device; 0 takes all on an accelerator, and as many as fit its cache on
    a CPU."""

    rematerialise: int = 0
    """Steps whose activations a gradient through a `hawk` keeps at a time. It computes them twice, in memory that does
    not grow with M; 0 keeps all."""

    def __post_init__(self) -> None:
        check_at_least(self, 0, "devices", "chunk", "group", "rematerialise")


@dataclasses.dataclass(frozen=True)
class AgentSettings:
    """The meta agents: network, and the algorithm that trains it."""

    PREFIX: ClassVar[str] = "agent."

    network: str = "hawk"
    """`hawk`, `gru`, `mlp` (which remembers nothing), or FILE.py:NAME of a class or function (observations, actions,
    key=…) → policy."""

    width: int = 32
    """Width of all parts of the network."""

    memory: int = 0
    """Inner episodes after which the agents forget everything; 0 for never."""

    algorithm: str = "ppo"
    """`ppo`, or `a2c`, which has no epochs, minibatches and clip."""

    optimiser: str = "adam"
    """`adam` or `sgd`."""

    rate: float = 3e-4
    """Learning rate."""

    norm: float = 1.0
    """Global norm to which gradients are clipped."""

    epochs: int = 4
    """Epochs of PPO."""

    minibatches: int = 2
    """Minibatches of each epoch."""

    clip: float = 0.2
    """PPO's clip of probability ratios, and of the change of values."""

    discount: float = 1.0
    """γ per step, of advantages and critic. LOLA-DiCE has neither."""

    gae_lambda: float = 1.0
    """λ of the advantages."""

    td_lambda: float = 1.0
    """λ of the critic's targets."""

    value_coefficient: float = 0.5
    """Weight of the critic's loss."""

    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus at first. It falls to 0 linearly over `agent.entropy-until` of the iterations."""

    entropy_until: float = 0.5
    """Share of the iterations that have an entropy bonus."""

    reward_scale: float = 0.05
    """Factor of the rewards in the losses."""

    leave_one_out: bool = False
    """Whether the mean advantage of the other meta-episodes, at the same step, is subtracted; needs
    `agent.no-centre`. Not in the paper. LOLA-DiCE has no advantages."""

    centre: bool = False
    """Whether the mean advantage over everything is subtracted."""

    naive_weight: float = 1.0
    """Weight of meetings with naive learners, beside those with meta agents."""

    naive_advantages: str = "gradient"
    """`gradient`: estimates of the gradient of the mean return, as in Section 5; `printed`: as in Algorithm 1, which is
    the same for batch-unaware, and B times smaller for COALA-PG and M-FOS."""

    look_aheads: int = 1
    """Look-aheads of LOLA-DiCE. The paper gives none of LOLA's settings."""

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
            raise ValueError(f"`agent.memory` must be 0 with {self.network}, whose memory is its own.")


@dataclasses.dataclass(frozen=True)
class LearnerSettings:
    """The naive learners: network, where they start, and how they learn between inner episodes."""

    PREFIX: ClassVar[str] = "learner."

    network: str = "hawk"
    """As of the agents."""

    width: int = 32
    """Width of all parts of the network."""

    algorithm: str = "policy-gradient"
    """`policy-gradient` (the paper's A2C), `ppo`, or FILE.py:NAME of a learner (an AbstractLearner), which uses none of
    the settings from `learner.optimiser` to `learner.smoothing`."""

    optimiser: str = "adam"
    """`adam` or `sgd`."""

    rate: float = 5e-3
    """Learning rate."""

    norm: float = 1.0
    """Global norm to which gradients are clipped."""

    reward_scale: float = 0.05
    """Factor of the rewards in the loss."""

    discount: float = 0.99
    """γ per step, of the advantages."""

    epochs: int = 4
    """Epochs of PPO."""

    minibatches: int = 2
    """Minibatches of each epoch. They are drawn at random."""

    clip: float = 0.2
    """PPO's clip of probability ratios, and of the change of values."""

    smoothing: float = 1e-6
    """Added under the root of the learners' Adam where LOLA-DiCE differentiates through it, as a root has no derivative
    at 0. Not said in the paper."""

    population: int = 10
    """Number of fixed policies that learners start from. Their read-outs are zero, so that all act uniformly at
    first."""

    pretraining: int = 0
    """Updates that the population makes in pairs before training, by the learners' rule. Learners then start from
    there."""

    pretraining_batch: int = 32
    """Games of a pair between two of these updates."""

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
            f"`{settings.PREFIX}width` must be a multiple of {HEADS} with `hawk`, whose gates have as many heads, but "
            f"is {settings.width}."
        )
