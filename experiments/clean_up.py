"""What the figures of CleanUp-lite share: the settings of game and training.

Source: Meulemans et al. (2025), Section 5 and App. B (Tables 5 to 8, CleanUp-lite).
"""

import dataclasses
from typing import Any

import coala_eqx as ce
from coala_eqx.games.clean_up_lite import MOVES
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

    actions: tuple[str, ...] = tuple(MOVES)
    """Those that there are, of `right`, `left`, `up`, `down`, `zap` and `nothing`."""

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


PAPER: dict[str, Any] = {"chunk": 1024, "rematerialise": 64}
"""Of the preset `paper`, how it is computed: activations of whole minibatches would not fit an accelerator."""

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
"""Of small runs: the smallest map there is, a cell of the river and one of the orchard, and learners that change much
in a meta-episode. The agents' settings make gradients with λ = 1 less noisy, as `docs/small_size.md` says.
"""
