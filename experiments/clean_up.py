"""CleanUp-lite figures: settings of game and training that they share.

Source: Meulemans et al. (2025), Section 5 and App. B (Tables 5 to 8, CleanUp-lite).
"""

import dataclasses
from typing import Annotated, Any

import coala_eqx as ce
from coala_eqx.games.clean_up_lite import MOVES
from experiments import sampled
from experiments.groups import AgentSettings, LearnerSettings, PoolSettings
from experiments.settings import ALONE


@dataclasses.dataclass(frozen=True)
class GameSettings:
    """CleanUp-lite."""

    rows: int = 5
    """Number of rows of the map. The paper calls it 5×4."""

    columns: int = 4
    """Number of columns of the map."""

    actions: tuple[str, ...] = tuple(MOVES)
    """Available actions, out of `right`, `left`, `up`, `down`, `zap` and `nothing`."""

    dirt_probability: float = 0.35
    """Probability of a new dirt patch in each step."""

    dirt_capacity: float = 3.0
    """Number of dirt patches at and above which no apple grows."""

    initial_dirt: int = 3
    """Number of dirt patches at the start."""

    zap_probability: float = 0.9
    """Probability that a zap succeeds."""

    zap_distance: int = 2
    """Reach of a zap, in cells."""

    metric: str = "manhattan"
    """Metric of `zap-distance`: `manhattan` or `chebyshev`. The paper does not say."""

    freeze_steps: int = 5
    """Number of steps for which a zapped agent is frozen."""

    zap_step_counts: bool = False
    """Whether the step of the zap is one of the `freeze-steps`. The paper does not say."""

    collisions: str = "share"
    """Rule for two agents on one cell: `share` or `block`. The paper does not say."""

    def __post_init__(self) -> None:
        self.make()  # raises

    def make(self) -> ce.games.CleanUpLite:
        """The game. **Raises** `ValueError` for settings that describe no game."""
        return ce.games.CleanUpLite(**vars(self))


@dataclasses.dataclass(frozen=True)
class Settings(sampled.Settings):
    """Settings of training in CleanUp-lite, as in the paper's Tables 5 to 8 for shaping, unless marked."""

    game: Annotated[GameSettings, ALONE] = GameSettings()
    pool: Annotated[PoolSettings, ALONE] = PoolSettings(batch=32, episodes=100, steps=64, meta_batch=512)
    agent: AgentSettings = AgentSettings(rate=1e-3, reward_scale=0.1, centre=True)
    learner: LearnerSettings = LearnerSettings(reward_scale=0.1)


PAPER: dict[str, Any] = {"chunk": 1024, "rematerialise": 64}
"""Layout of the preset `paper`: activations of whole minibatches would not fit an accelerator."""

PATIENT: dict[str, Any] = {
    "rows": 3,
    "columns": 3,
    "zap_distance": 1,
    "batch": 16,
    "episodes": 80,
    "steps": 48,
    "learner.network": "mlp",
    "learner.rate": 3e-2,
    "learner.population": 4,
}
"""A map and learners for which waiting until they have learned to clean pays more in the end (`scripted`)."""

SMALL: dict[str, Any] = {
    "rows": 1,
    "columns": 2,
    "actions": ("right", "left", "zap"),
    "dirt_capacity": 1.0,
    "initial_dirt": 1,
    "zap_distance": 1,
    "freeze_steps": 3,
    "batch": 8,
    "episodes": 40,
    "steps": 10,
    "meta_batch": 32,
    "iterations": 300,
    "every": 10,
    "agent.rate": 1e-3,
    "agent.minibatches": 4,
    "agent.value_coefficient": 0.05,
    "agent.entropy_coefficient": 0.01,
    "agent.entropy_until": 0.3,
    "agent.reward_scale": 0.05,
    "agent.leave_one_out": True,
    "agent.centre": False,
    "learner.network": "mlp",
    "learner.rate": 2e-2,
    "learner.reward_scale": 0.05,
    "learner.population": 4,
    "seeds": 3,
}
"""Settings of small runs: the smallest possible map, with one river cell and one orchard cell, and learners that change
much within a meta-episode. The agents' settings reduce the noise of gradients with λ = 1 (`docs/small_size.md`).
"""
