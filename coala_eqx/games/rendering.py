"""A step of a game as a scene to be painted, or in words.

A game may have a method `render`, from a `Step` to a `Scene` or to text. `coala-eqx show` draws recordings by it. Steps
of games without one are listed: observations, actions and rewards.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import numpy as np

PLAYERS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of players: the agent, and its co-players."""

_MOST = 24
"""Numbers of an observation that are listed."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of an inner episode, seen by an agent. The agent is the first of all players."""

    observation: np.ndarray
    """The agent's observation before the step, `[*features]`."""

    actions: np.ndarray
    """The actions, `[players]`, or `[players, numbers]` if they are vectors."""

    rewards: np.ndarray
    """The rewards, `[players]`."""

    players: tuple[int, ...] = (0, 1)
    """Their numbers in the game, the agent's first."""


@dataclasses.dataclass(frozen=True)
class Thing:
    """A small thing in a cell."""

    cell: int
    shape: str
    """`disc` or `square`."""
    colour: str


@dataclasses.dataclass(frozen=True)
class Figure:
    """A player, as a disc in the player's colour."""

    cell: int
    grey: bool = False
    """Whether the disc is grey, with a rim in the player's colour."""
    mark: str | None = None
    """Colour of a dot on the disc."""
    towards: int | None = None
    """Number of another player, to whom a line in the colour of the mark leads."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """A map of cells, which are numbered row by row, and what is on it."""

    rows: int
    columns: int
    things: tuple[Thing, ...]
    figures: tuple[Figure, ...]
    """The players, the agent first."""
    ground: dict[int, str] = dataclasses.field(default_factory=dict)
    """Colours of columns."""
    legend: tuple[tuple[str, str], ...] = ()
    """Colours, and what they stand for."""


@runtime_checkable
class Rendered(Protocol):
    """A game that can be drawn."""

    def render(self, step: Step) -> Scene | str:
        """A scene, or text of one or more lines."""
        ...


def render(game: Any, step: Step) -> Scene | str:
    """A step as the game draws it, or listed if the game does not draw."""
    return game.render(step) if isinstance(game, Rendered) else listing(step)


def listing(step: Step) -> str:
    """A line for each player: observation of the agent, actions and rewards."""
    lines = []
    for place, (player, action, reward) in enumerate(zip(step.players, step.actions, step.rewards, strict=True)):
        who = "agent" if place == 0 else "co-player" if len(step.players) == 2 else f"co-player {place}"
        sees = f"sees {_numbers(step.observation)}, " if place == 0 else ""
        lines.append(f"{who} (player {player}) {sees}acts {_numbers(action)}, earns {reward:g}")
    return "\n".join(lines)


def _numbers(values: Any) -> str:
    numbers = np.asarray(values)
    numbers = numbers.astype(int) if numbers.dtype == bool else numbers
    words = [f"{number:g}" for number in numbers.ravel()[:_MOST].tolist()]
    return " ".join(words) + (" …" if numbers.size > _MOST else "")
