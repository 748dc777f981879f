"""Recordings: meta-episodes that a run keeps, to be shown."""

import dataclasses
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from coala_eqx._checks import check_whole
from coala_eqx.games import AbstractDrawnGame, CleanUpLite, CoinGame

GAMES: dict[str, type[Any]] = {"CleanUpLite": CleanUpLite, "CoinGame": CoinGame}
"""Games that can be shown."""

_BROKEN = (
    AttributeError, EOFError, KeyError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What reading a file can end with that is of another kind, or damaged."""
_MEAN = "mean_"
"""How names of means begin in a file."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """One trajectory of a meta-episode of two players, and what was measured in many."""

    game: AbstractDrawnGame
    observations: np.ndarray
    """`[episodes, steps, features]`, what player 0 saw before each step, 0 or 1."""

    actions: np.ndarray
    """`[episodes, steps, players]`, whole numbers."""

    rewards: np.ndarray
    """`[episodes, steps, players]`, finite."""

    means: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """What is `measured`, but means over more trajectories, of which this is one; nothing if only this one is known."""

    averaged: int = 1
    """How many trajectories the means are over."""

    def save(self, file: Path) -> None:
        """Write it, the same bytes each time."""
        fields = {field.name: getattr(self.game, field.name) for field in dataclasses.fields(self.game)}
        about = json.dumps({"game": type(self.game).__name__, "arguments": fields}, default=lambda value: value.item())
        arrays: dict[str, Any] = {
            "about": np.array(about),
            "observations": self.observations,
            "actions": self.actions,
            "rewards": self.rewards,
            "averaged": np.array(self.averaged),
            **{_MEAN + name: values for name, values in self.means.items()},
        }
        with file.open("wb") as stream:
            np.savez_compressed(stream, **arrays)

    def check(self) -> None:
        """**Raises** `ValueError` unless it is a meta-episode of its game: by its axes, and what its arrays hold."""
        episodes, steps, *_ = (*self.observations.shape, 0, 0)
        features, actions = self.game.num_observations[0], self.game.num_actions[0]
        expected = ((episodes, steps, features), (episodes, steps, 2), (episodes, steps, 2))
        found = tuple(part.shape for part in (self.observations, self.actions, self.rewards))
        if found != expected or 0 in expected[0]:
            raise ValueError(f"observations, actions and rewards have the shapes {found}, but should have {expected}")
        if not np.isin(self.observations, (0, 1)).all():
            raise ValueError("observations must be 0 or 1")
        if self.rewards.dtype.kind not in "iuf" or not np.isfinite(self.rewards).all():
            raise ValueError("rewards must be finite numbers")
        if self.actions.dtype.kind not in "iu":
            raise ValueError(f"actions must be whole numbers, but are of the type {self.actions.dtype}")
        if not np.isin(self.actions, np.arange(actions)).all():
            found = f"from {self.actions.min()} to {self.actions.max()}"
            raise ValueError(f"actions must be whole numbers from 0 to {actions - 1}, but go {found}")
        if self.means:
            self._check_means(episodes)

    def _check_means(self, episodes: int) -> None:
        names = self.measured()
        if set(self.means) != set(names):
            raise ValueError(f"there are means of {', '.join(self.means)}, but should be of {', '.join(names)}")
        for name, values in self.means.items():
            if values.shape != (episodes,) or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
                raise ValueError(f"means of {name} must be a finite number for each of {episodes} inner episodes")

    def measured(self) -> dict[str, np.ndarray]:
        """By name, of each inner episode, `[episodes]`: `reward` and `other_reward`, of player 0 and of the other, per
        step, and what the game measures.
        """
        measure = jax.vmap(self.game.measures)
        by_game = measure(jnp.asarray(self.observations, bool), jnp.asarray(self.actions, int))
        mine, others = self.rewards.mean(axis=1).T
        return {"reward": mine, "other_reward": others, **jax.device_get(by_game)}

    @classmethod
    def load(cls, file: Path) -> "Recording":
        """Read one.

        **Raises** `ValueError` if the file holds none.
        """
        try:
            with file.open("rb") as stream, np.load(stream) as held:
                about = json.loads(str(held["about"]))
                arguments = {name: tuple(v) if isinstance(v, list) else v for name, v in about["arguments"].items()}
                game = GAMES[about["game"]](**arguments)
                means = {name.removeprefix(_MEAN): held[name] for name in held.files if name.startswith(_MEAN)}
                averaged = held["averaged"].item() if means else 1
                check_whole("averaged", averaged, 1)
                recording = cls(game, held["observations"], held["actions"], held["rewards"], means, averaged)
            recording.check()
            return recording
        except _BROKEN as error:
            raise ValueError(f"{file} holds no meta-episode that can be shown: {error}") from error
