"""CleanUp-lite figures: settings of game and training that they share.

Source: Meulemans et al. (2025), Section 5 and App. B (Tables 5 to 8, CleanUp-lite).
"""

import dataclasses
from typing import Any

import coala_eqx as ce
from coala_eqx.games.clean_up_lite import MOVES
from experiments import sampled


@dataclasses.dataclass(frozen=True)
class Settings(sampled.Settings):
    """Settings of training in CleanUp-lite. Unless marked, they are those of the paper's Tables 5 to 8 for shaping."""

    batch: int = 32
    episodes: int = 100
    steps: int = 64
    meta_batch: int = 512
    rate: float = 1e-3
    reward_scale: float = 0.1
    centre: bool = True
    naive_reward_scale: float = 0.1

    rows: int = 5
    """Rows of the map. The paper calls it 5×4."""

    columns: int = 4
    """Columns of the map."""

    actions: tuple[str, ...] = tuple(MOVES)
    """Available actions, out of `right`, `left`, `up`, `down`, `zap` and `nothing`."""

    dirt_probability: float = 0.35
    """Probability of a new dirt patch in each step."""

    dirt_capacity: float = 3.0
    """Number of dirt patches from which no apple grows."""

    initial_dirt: int = 3
    """Number of dirt patches at the start."""

    zap_probability: float = 0.9
    """Probability that a zap succeeds."""

    zap_distance: int = 2
    """Reach of a zap, in cells."""

    metric: str = "manhattan"
    """Metric of that distance: `manhattan` or `chebyshev`. Not given in the paper."""

    freeze_steps: int = 5
    """Number of steps for which a zapped agent is frozen."""

    zap_step_counts: bool = False
    """Whether the step of the zap is one of them. Not given in the paper."""

    collisions: str = "share"
    """Two agents on one cell: `share` or `block`. Not given in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.game()  # raises

    def game(self) -> ce.games.CleanUpLite:
        return sampled.game_by(ce.games.CleanUpLite, self)


PAPER: dict[str, Any] = {"chunk": 1024, "rematerialise": 64}
"""Computation of the preset `paper`. Activations of whole minibatches would not fit on an accelerator."""

PATIENT: dict[str, Any] = {
    "rows": 3,
    "columns": 3,
    "zap_distance": 1,
    "batch": 16,
    "episodes": 80,
    "steps": 48,
    "naive_network": "mlp",
    "naive_rate": 3e-2,
    "naive_population": 4,
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
    "rate": 1e-3,
    "minibatches": 4,
    "value_coefficient": 0.05,
    "entropy_coefficient": 0.01,
    "entropy_until": 0.3,
    "reward_scale": 0.05,
    "leave_one_out": True,
    "centre": False,
    "naive_network": "mlp",
    "naive_rate": 2e-2,
    "naive_reward_scale": 0.05,
    "naive_population": 4,
    "seeds": 3,
}
"""Settings of small runs: the smallest possible map, with one river cell and one orchard cell, and learners that change
much within a meta-episode. The agents' settings reduce the noise of gradients with λ = 1 (`docs/small_size.md`).
"""
