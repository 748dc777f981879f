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

from coala_eqx import games
from coala_eqx._checks import check_whole
from coala_eqx.games import AbstractDrawnGame, AbstractGame, Step
from coala_eqx.runs.trees import describe_tree, make_tree
from coala_eqx.version import __version__

FORMAT = 2
"""Version of the files. Version 1 knew two games by their names, and not who plays."""

_FORMER = ("CleanUpLite", "CoinGame")
"""Games of version 1."""

_BROKEN = (
    AttributeError, EOFError, KeyError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""Errors of reading a file that is of another kind, or damaged."""
_MEAN, _GAME = "mean_", "game_"
"""Beginnings of the names of means, and of the game's arrays, in a file."""


@dataclasses.dataclass(frozen=True)
class Cast:
    """The players of a recording."""

    part: str = ""
    """The part of the run."""

    agent: int = 0
    """The agent's number in its pool."""

    estimator: str = ""
    """The name of the agent's estimator."""

    against: str = ""
    """`naive` or `meta`: the kind of the meeting."""

    co_players: tuple[str, ...] = ()
    """For each co-player the name of its learner, or of the estimators of the agents that it was drawn from."""

    players: tuple[int, ...] = (0, 1)
    """Numbers of the players in the game: the agent's, and its co-players'."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """One trajectory of a meta-episode, and what was measured in many. The agent is the first player."""

    game: AbstractGame | None
    """The game; `None` if its class cannot be imported, or could not be written."""

    observations: np.ndarray
    """The agent's observations before each step, `[episodes, steps, *features]`."""

    actions: np.ndarray
    """The actions, `[episodes, steps, players]`, whole numbers, or `[episodes, steps, players, numbers]`."""

    rewards: np.ndarray
    """The rewards, `[episodes, steps, players]`, finite."""

    means: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """Means of what is `measured` over more trajectories, of which this is one; empty if only this one is known."""

    averaged: int = 1
    """The number of trajectories that the means are over."""

    cast: Cast = Cast()
    """Who plays."""

    note: str = ""
    """Why there is no game."""

    def steps(self, episode: int) -> list[Step]:
        """The steps of an inner episode."""
        parts = zip(self.observations[episode], self.actions[episode], self.rewards[episode], strict=True)
        return [Step(np.asarray(seen), actions, rewards, self.cast.players) for seen, actions, rewards in parts]

    def save(self, file: Path) -> None:
        """Write it, the same bytes each time. Of a game that cannot be described the reason is written."""
        about: dict[str, Any] = {"format": FORMAT, "coala_eqx": __version__, "cast": dataclasses.asdict(self.cast)}
        of_the_game: list[np.ndarray] = []
        try:
            about["game"], of_the_game = describe_tree("game", self.game)
        except ValueError as error:
            about |= {"game": None, "note": str(error)}
        arrays: dict[str, Any] = {
            "about": np.array(json.dumps(about)),
            "observations": self.observations,
            "actions": self.actions,
            "rewards": self.rewards,
            "averaged": np.array(self.averaged),
            **{_MEAN + name: values for name, values in self.means.items()},
            **{f"{_GAME}{number}": content for number, content in enumerate(of_the_game)},
        }
        with file.open("wb") as stream:
            np.savez_compressed(stream, **arrays)

    def check(self) -> None:
        """**Raises** `ValueError` unless it is a meta-episode of its game: by its axes, and what its arrays hold."""
        axes, players = self.observations.shape[:2], len(self.cast.players)
        features = self.observations.shape[2:] if self.game is None else self.game.observation_type().shape
        expected = ((*axes, *features), (*axes, players, *self.actions.shape[3:]), (*axes, players))
        found = tuple(part.shape for part in (self.observations, self.actions, self.rewards))
        if found != expected or 0 in expected[0]:
            raise ValueError(f"observations, actions and rewards have the shapes {found}, but should have {expected}")
        self._check_observations()
        _check_finite("rewards", self.rewards)
        self._check_actions()
        if self.means:
            self._check_means(axes[0])

    def _check_observations(self) -> None:
        kind = self.observations.dtype if self.game is None else self.game.observation_type().dtype
        if np.dtype(kind).kind == "b":
            if not np.isin(self.observations, (0, 1)).all():
                raise ValueError("observations must be 0 or 1")
        else:
            _check_finite("observations", self.observations)

    def _check_actions(self) -> None:
        if self.actions.ndim > 3:  # vectors
            _check_finite("actions", self.actions)
            return
        if self.actions.dtype.kind not in "iu":
            raise ValueError(f"actions must be whole numbers, but are of the type {self.actions.dtype}")
        if self.game is not None:
            number = max(self.game.num_actions)
            if not np.isin(self.actions, np.arange(number)).all():
                found = f"from {self.actions.min()} to {self.actions.max()}"
                raise ValueError(f"actions must be whole numbers from 0 to {number - 1}, but go {found}")

    def _check_means(self, episodes: int) -> None:
        names = self.measured()
        if self.game is not None and set(self.means) != set(names):
            raise ValueError(f"there are means of {', '.join(self.means)}, but should be of {', '.join(names)}")
        for name, values in self.means.items():
            if values.shape != (episodes,) or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
                raise ValueError(f"means of {name} must be a finite number for each of {episodes} inner episodes")

    def measured(self) -> dict[str, np.ndarray]:
        """Measures of each inner episode by name, `[episodes]`: `reward` and `other_reward` per step, of the agent and
        the mean of its co-players if there are any, and what the game measures.
        """
        rewards = self.rewards.mean(axis=1)
        found = reward_measures(rewards)
        if isinstance(self.game, AbstractDrawnGame):
            seen = jnp.asarray(self.observations, self.game.observation_type().dtype)
            found |= jax.device_get(jax.vmap(self.game.measures)(seen, jnp.asarray(self.actions, int)))
        return found

    @classmethod
    def load(cls, file: Path) -> "Recording":
        """Read a recording, also one of a former version.

        **Raises** `ValueError` if the file holds none.
        """
        try:
            with file.open("rb") as stream, np.load(stream) as held:
                about = json.loads(str(held["about"]))
                game, note = _game_of(about, held)
                means = {name.removeprefix(_MEAN): held[name] for name in held.files if name.startswith(_MEAN)}
                averaged = held["averaged"].item() if means else 1
                check_whole("averaged", averaged, 1)
                cast: dict[str, Any] = _tuples(about.get("cast", {}))
                shown = held["observations"], held["actions"], held["rewards"]
                recording = cls(game, *shown, means, averaged, Cast(**cast), note)
            recording.check()
            return recording
        except _BROKEN as error:
            raise ValueError(f"{file} holds no meta-episode that can be shown: {error}") from error


def reward_measures(rewards: Any) -> dict[str, Any]:
    """`reward` of the agent, and `other_reward`, the mean of its co-players if there are any, from `[…, players]`."""
    found = {"reward": rewards[..., 0]}
    return found | ({"other_reward": rewards[..., 1:].mean(axis=-1)} if rewards.shape[-1] > 1 else {})


def _game_of(about: dict[str, Any], held: Any) -> tuple[AbstractGame | None, str]:
    """The game, or why there is none."""
    if "format" not in about:
        if about["game"] not in _FORMER:
            raise ValueError(f"there is no game {about['game']!r}")
        return getattr(games, about["game"])(**_tuples(about["arguments"])), ""
    if about["format"] > FORMAT:
        by = about["coala_eqx"]
        raise ValueError(f"it has format {about['format']}, of coala_eqx {by}; this version reads up to {FORMAT}")
    if about["game"] is None:
        return None, f"The game could not be written: {about['note']}"
    try:
        return make_tree(about["game"], lambda number: held[f"{_GAME}{number}"]), ""
    except (ImportError, AttributeError, ValueError) as error:
        return None, f"The game {about['game'].get('module')} cannot be imported here: {error}"


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}


def _check_finite(name: str, values: np.ndarray) -> None:
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite numbers")
