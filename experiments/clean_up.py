"""What the figures of CleanUp-lite share: the settings of game and training.

Source: Meulemans et al. (2025), Section 5 and App. B (Tables 5 to 8, CleanUp-lite).
"""

import dataclasses
from typing import Any

import coala_eqx as ce
from experiments import sampled


@dataclasses.dataclass(frozen=True)
class Settings(sampled.Settings):
    """Of training in CleanUp-lite, as in the paper's Tables 5 to 8 for shaping, unless marked."""

    batch: int = 32
    episodes: int = 100
    steps: int = 64
    meta_batch: int = 512
    rate: float = 1e-3
    reward_scale: float = 0.1
    centre: bool = True
    naive_reward_scale: float = 0.1

    rows: int = 5
    """Of the map, which the paper calls 5×4."""

    columns: int = 4
    """Of the map."""

    dirt_probability: float = 0.35
    """Of a new patch, in each step."""

    dirt_capacity: float = 3.0
    """Of patches, with which no apple grows."""

    initial_dirt: int = 3
    """Patches at the start."""

    zap_probability: float = 0.9
    """That a zap works."""

    zap_distance: int = 2
    """In cells."""

    metric: str = "manhattan"
    """Of that distance: `manhattan` or `chebyshev`. Not said."""

    freeze_steps: int = 5
    """For which one who was zapped is frozen."""

    zap_step_counts: bool = False
    """Whether the step of the zap is one of them. Not said."""

    collisions: str = "share"
    """`share` or `block`. Not said."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.game()  # raises

    def game(self) -> ce.games.CleanUpLite:
        return sampled.game_by(ce.games.CleanUpLite, self)


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
"""A map, and learners, by which one who waits for them to learn to clean earns more in the end (`scripted`)."""

SMALL: dict[str, Any] = {
    "rows": 2,
    "columns": 2,
    "dirt_probability": 0.7,
    "dirt_capacity": 2.0,
    "initial_dirt": 2,
    "batch": 4,
    "steps": 16,
    "rate": 1e-3,
    "minibatches": 8,
    "discount": 0.999,
    "gae_lambda": 0.98,
    "td_lambda": 0.98,
    "entropy_coefficient": 0.01,
    "naive_rate": 3e-2,
    "seeds": 3,
}
"""Of small runs: the smallest map with river and orchard, where agents learn what pays in a few hundred iterations."""
