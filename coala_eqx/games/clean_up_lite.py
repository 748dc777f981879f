"""CleanUp-lite: players clean a river so that apples grow, and anybody may eat them."""

import itertools
from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from coala_eqx._checks import check_choice, check_share, check_whole
from coala_eqx.arrays import as_setting, concrete, is_number
from coala_eqx.games.drawn import AbstractDrawnGame
from coala_eqx.games.rendering import Scene, Step
from coala_eqx.games.scenes import clean_up_scene
from coala_eqx.games.tabular import TabularGame

MOVES = {"right": (0, 1), "left": (0, -1), "up": (-1, 0), "down": (1, 0), "zap": (0, 0), "nothing": (0, 0)}
"""All actions, in the order of their numbers, with the rows and columns they move by."""

MOST_FROZEN = 1_000_000_000
"""Limit of the steps that a player is frozen for; well below the largest integer of 32 bits."""


class CleanUpState(eqx.Module):
    """Positions of players, apples and dirt. Cells are numbered row by row."""

    cells: Int[Array, "*stacked players"]
    """Cells of the players."""

    apples: Bool[Array, "*stacked rows"]
    """Whether there is an apple in each row of the left column."""

    dirt: Bool[Array, "*stacked rows"]
    """Whether there is dirt in each row of the right column."""

    frozen: Int[Array, "*stacked players"]
    """Number of steps that each player is still frozen for."""


class CleanUpChance(eqx.Module):
    """The random draw of a step."""

    dirt: Int[Array, "*stacked"]
    """Row of the new patch of dirt, or the number of rows if there is none."""

    apple: Int[Array, "*stacked"]
    """Row of the new apple, or the number of rows if there is none."""

    hits: Bool[Array, "*stacked players"]
    """Whether a player's zap works, if it zaps a player in reach."""

    eater: Int[Array, "*stacked"]
    """The player that eats if both are at an apple."""


def _pair(cells: Any) -> Any:
    if cells is None:
        return None
    entries = np.ravel(np.asarray(cells, object)).tolist()
    return tuple(int(cell) if isinstance(cell, np.integer) else cell for cell in entries)


def _names(actions: Any) -> tuple[Any, ...]:
    return tuple(actions) if isinstance(actions, Iterable) else (actions,)


class CleanUpLite(AbstractDrawnGame):
    """Two players, a river at the right of a small map, an orchard at its left.

    A step has this order: (1) a patch of dirt may appear in the river. (2) An apple may appear in the orchard; the more
    dirt there is, the less likely it is. (3) Players at an apple eat it and earn 1. (4) Players at dirt remove it.
    (5) Players who zap may freeze the other player. (6) Players move. A frozen player does nothing in (3) to (6).

    Players observe everything, as `[5 · cells + 2]` booleans, with cells row by row: their own cell, one-hot; the other
    player's cell, one-hot; three for each cell, apple, dirt, or neither; whether they are frozen; and whether the other
    player is.

    **Arguments:**

    - `rows`, `columns`: size of the map. The paper says 5×4 and leaves open which is which; here there are 5 rows.
    - `actions`: some of `right`, `left`, `up`, `down`, `zap`, `nothing`, in the order of their numbers.
    - `dirt_probability`: probability of (1). The cell is drawn uniformly from the free cells of the river.
    - `dirt_capacity`: number of patches at which no apple grows; the probability of (2) is 1 − min(1, dirt / capacity).
    - `initial_dirt`: number of patches at the start, in rows that are drawn uniformly.
    - `zap_probability`: probability that a zap works on a player in reach who is not frozen.
    - `zap_distance`, `metric`: reach of a zap, and its measure, `manhattan` or `chebyshev`. The paper leaves it open.
    - `freeze_steps`: number of steps that a player is frozen for, after the rest of the step in which it is zapped.
    - `zap_step_counts`: whether that step is the first of them. The paper leaves it open.
    - `collisions`: with `share` players may be on one cell. With `block` nobody enters the cell of the other player,
      and neither moves if both want to enter the same cell. The paper leaves it open.
    - `start`: cells of both players at the start; drawn uniformly unless given, and different with `block`.

    If both players are at an apple, one of them, drawn at random, eats it. Players can zap each other in the same step.
    The paper leaves both open.

    **Raises** `ValueError` for settings that make no game.

    Source: Meulemans et al. (2025), Section 5 and App. B.
    """

    rows: int = eqx.field(static=True, default=5)
    columns: int = eqx.field(static=True, default=4)
    actions: tuple[str, ...] = eqx.field(static=True, default=tuple(MOVES), converter=_names)
    dirt_probability: float = eqx.field(default=0.35, converter=as_setting)
    dirt_capacity: float = eqx.field(default=3.0, converter=as_setting)
    initial_dirt: int = eqx.field(static=True, default=3)
    zap_probability: float = eqx.field(default=0.9, converter=as_setting)
    zap_distance: int = eqx.field(static=True, default=2)
    metric: str = eqx.field(static=True, default="manhattan")
    freeze_steps: int = eqx.field(static=True, default=5)
    zap_step_counts: bool = eqx.field(static=True, default=False)
    collisions: str = eqx.field(static=True, default="share")
    start: tuple[int, int] | None = eqx.field(static=True, default=None, converter=_pair)

    def __check_init__(self):
        self._check_map()
        for name in ("dirt_probability", "zap_probability"):
            check_share(name, getattr(self, name))
        capacity = self.dirt_capacity
        if concrete(capacity) and not (is_number(capacity) and capacity > 0):
            raise ValueError(f"`dirt_capacity` must be positive, but is {capacity!r}.")
        for name in ("zap_distance", "freeze_steps"):
            check_whole(name, getattr(self, name), 0)
        if self.freeze_steps > MOST_FROZEN:
            raise ValueError(f"`freeze_steps` must be at most {MOST_FROZEN}, but is {self.freeze_steps}.")
        check_choice("metric", self.metric, ("manhattan", "chebyshev"))
        check_choice("collisions", self.collisions, ("share", "block"))
        check_choice("zap_step_counts", self.zap_step_counts, (False, True))
        known = all(action in [*MOVES] for action in self.actions)
        if not self.actions or not known or len(set(self.actions)) < len(self.actions):
            raise ValueError(f"`actions` must be different ones of {', '.join(MOVES)}, but are {self.actions}.")

    def _check_map(self) -> None:
        check_whole("rows", self.rows, 1)
        check_whole("columns", self.columns, 2, "for the river and the orchard")
        check_whole("initial_dirt", self.initial_dirt, 0)
        if self.initial_dirt > self.rows:
            raise ValueError(
                f"`initial_dirt` must lie between 0 and rows = {self.rows}, as the river has so many cells, but is "
                f"{self.initial_dirt}."
            )
        if self.start is not None:
            whole = all(isinstance(cell, int) and cell in range(self.num_cells) for cell in self.start)
            if len(self.start) != 2 or not whole:
                last = self.num_cells - 1
                raise ValueError(f"`start` must be two cells, numbered from 0 to {last}, but is {self.start}.")
            if self.collisions == "block" and self.start[0] == self.start[1]:
                raise ValueError(f"`start` must be two different cells with collisions = 'block', but is {self.start}.")

    @property
    def num_cells(self) -> int:
        """Number of cells of the map."""
        return self.rows * self.columns

    @property
    def in_reach(self) -> Bool[np.ndarray, "cells cells"]:
        """Whether a zap from one cell reaches another."""
        places = np.stack(np.divmod(np.arange(self.num_cells), self.columns), axis=1)
        steps = np.abs(places[:, None] - places[None])
        return (steps.sum(axis=2) if self.metric == "manhattan" else steps.max(axis=2)) <= self.zap_distance

    @property
    def num_players(self) -> int:
        return 2

    @property
    def num_actions(self) -> tuple[int, ...]:
        return (len(self.actions),) * 2

    @property
    def num_observations(self) -> tuple[int, ...]:
        return (5 * self.num_cells + 2,) * 2

    def reset(self, key: Key[Array, ""]) -> tuple[CleanUpState, Bool[Array, "players features"]]:
        key_cells, key_dirt = jax.random.split(key)
        if self.start is not None:
            cells = jnp.asarray(self.start)
        elif self.collisions == "share":
            cells = jax.random.randint(key_cells, (2,), 0, self.num_cells)
        else:
            cells = jax.random.choice(key_cells, self.num_cells, (2,), replace=False)
        dirt = jax.random.permutation(key_dirt, jnp.arange(self.rows) < self.initial_dirt)
        state = CleanUpState(cells, jnp.zeros(self.rows, bool), dirt, jnp.zeros(2, int))
        return state, self.observe(state)

    def draw(self, state: CleanUpState, key: Key[Array, ""]) -> CleanUpChance:
        uniform = jax.random.uniform(key, (5,))
        dirt = _drawn_row(~state.dirt, self.dirt_probability, uniform[0])
        grows = self.apple_probability(_with(state.dirt, dirt))
        apple = _drawn_row(~state.apples, grows, uniform[1])
        return CleanUpChance(dirt, apple, uniform[2:4] < self.zap_probability, (uniform[4] < 0.5).astype(int))

    def apple_probability(self, dirt: Bool[Array, "rows"]) -> Float[Array, ""]:
        """The probability that an apple appears."""
        return 1 - jnp.minimum(1, dirt.sum(dtype=float) / self.dirt_capacity)

    def probability(self, state: CleanUpState, chance: CleanUpChance) -> Float[Array, ""]:
        grows = self.apple_probability(_with(state.dirt, chance.dirt))
        of_hits = jnp.where(chance.hits, self.zap_probability, 1 - self.zap_probability).prod()
        return (
            _probability(~state.dirt, self.dirt_probability, chance.dirt)
            * _probability(~state.apples, grows, chance.apple)
            * of_hits
            * 0.5
        )

    def apply(
        self, state: CleanUpState, actions: Int[Array, "players"], chance: CleanUpChance
    ) -> tuple[CleanUpState, Float[Array, "players"]]:
        moves = jnp.asarray(_targets(self.rows, self.columns, self.actions))
        reach = jnp.asarray(self.in_reach)
        is_zap = jnp.asarray([action == "zap" for action in self.actions])
        free = state.frozen == 0
        row, column = state.cells // self.columns, state.cells % self.columns

        dirt, apples = _with(state.dirt, chance.dirt), _with(state.apples, chance.apple)
        at_apple = free & (column == 0) & apples[row]
        both = at_apple.all() & (row[0] == row[1])
        eats = at_apple & (~both | (jnp.arange(2) == chance.eater))
        here = row[:, None] == jnp.arange(self.rows)[None]
        apples &= ~(here & at_apple[:, None]).any(axis=0)
        cleans = free & (column == self.columns - 1)
        dirt &= ~(here & cleans[:, None]).any(axis=0)

        zaps = free & is_zap[actions] & chance.hits & reach[state.cells[0], state.cells[1]]
        zapped = zaps[::-1] & free
        left = jnp.maximum(0, state.frozen - 1)
        frozen = jnp.where(zapped, self.freeze_steps - self.zap_step_counts, left)
        cells = jnp.where(free & ~zapped, moves[state.cells, actions], state.cells)
        if self.collisions == "block":
            entered = (cells == state.cells[::-1]) | (cells == cells[::-1])
            cells = jnp.where(entered, state.cells, cells)
        return CleanUpState(cells, apples, dirt, jnp.maximum(0, frozen)), eats.astype(float)

    def observe(self, state: CleanUpState) -> Bool[Array, "players features"]:
        cells = jax.nn.one_hot(state.cells, self.num_cells, dtype=bool)
        column = jnp.arange(self.columns)
        apples = (state.apples[:, None] & (column == 0)[None]).ravel()
        dirt = (state.dirt[:, None] & (column == self.columns - 1)[None]).ravel()
        grid = jnp.stack([apples, dirt, ~(apples | dirt)], axis=1).ravel()
        flags = state.frozen > 0
        sides = [jnp.concatenate([cells[me], cells[1 - me], grid, flags[jnp.array([me, 1 - me])]]) for me in range(2)]
        return jnp.stack(sides)

    def seen(self, observations: Bool[Array, "*steps features"]) -> CleanUpState:
        """The states that player 0 observes; `frozen` is 1 for any number of steps."""
        cells, apples_and_dirt, flags = jnp.split(observations, [2 * self.num_cells, 5 * self.num_cells], axis=-1)
        cells = cells.reshape(*cells.shape[:-1], 2, self.num_cells)
        maps = apples_and_dirt.reshape(*apples_and_dirt.shape[:-1], self.rows, self.columns, 3)
        return CleanUpState(
            cells=cells.argmax(axis=-1),
            apples=maps[..., 0, 0],
            dirt=maps[..., -1, 1],
            frozen=flags.astype(int),
        )

    def measures(
        self, observations: Bool[Array, "steps features"], actions: Int[Array, "steps players"]
    ) -> dict[str, Float[Array, ""]]:
        """Means over an inner episode.

        - `cleaning`, `other_cleaning`: shares of steps in the river, not frozen, of player 0 and of the other.
        - `cleaning_discrepancy`: absolute difference of these two shares.
        - `zaps`, `other_zaps`: shares of steps in which a player who is not frozen zaps, of player 0 and of the other.
        - `pollution`: number of patches of dirt.
        - `apples`: number of apples.
        """
        state = self.seen(observations)
        free = state.frozen == 0
        cleaning = (free & (state.cells % self.columns == self.columns - 1)).mean(axis=0, dtype=float)
        is_zap = jnp.asarray([action == "zap" for action in self.actions])
        zaps = (free & is_zap[actions]).mean(axis=0, dtype=float)
        return {
            "cleaning_discrepancy": jnp.abs(cleaning[0] - cleaning[1]),
            "cleaning": cleaning[0],
            "other_cleaning": cleaning[1],
            "zaps": zaps[0],
            "other_zaps": zaps[1],
            "pollution": state.dirt.sum(axis=-1).mean(dtype=float),
            "apples": state.apples.sum(axis=-1).mean(dtype=float),
        }

    def starts(self) -> tuple[CleanUpState, Float[np.ndarray, "starts"]]:
        pairs = list(itertools.product(range(self.num_cells), repeat=2)) if self.start is None else [self.start]
        if self.collisions == "block":
            pairs = [pair for pair in pairs if pair[0] != pair[1]]
        rows = range(self.rows)
        patches = [np.isin(rows, chosen) for chosen in itertools.combinations(rows, self.initial_dirt)]
        number = len(pairs) * len(patches)
        states = CleanUpState(
            cells=jnp.repeat(jnp.asarray(pairs), len(patches), axis=0),
            apples=jnp.zeros((number, self.rows), bool),
            dirt=jnp.tile(jnp.asarray(np.stack(patches)), (len(pairs), 1)),
            frozen=jnp.zeros((number, 2), int),
        )
        return states, np.full(number, 1 / number)

    def render(self, step: Step) -> Scene:
        """The map before a step, and who zaps in it."""
        return clean_up_scene(self, step)

    def chances(self) -> CleanUpChance:
        some = range(self.rows + 1)
        all_of_them = itertools.product(some, some, (False, True), (False, True), range(2))
        dirt, apple, *hits, eater = (jnp.asarray(column) for column in zip(*all_of_them, strict=True))
        return CleanUpChance(dirt, apple, jnp.stack(hits, axis=1), eater)


def small_clean_up() -> TabularGame:
    """A game of the same rules that is small enough to be enumerated.

    It has one cell of the river and one of the orchard, with a player on each at first, and a patch of dirt that stays
    until it is removed. The two actions are left, and zap, which always works and freezes for one step.
    """
    return CleanUpLite(
        rows=1, columns=2, actions=("left", "zap"), dirt_probability=0.0, dirt_capacity=1.0, initial_dirt=1,
        zap_probability=1.0, freeze_steps=1, start=(1, 0),
    ).table()  # fmt: skip


def _with(column: Bool[Array, "rows"], row: Int[Array, ""]) -> Bool[Array, "rows"]:
    return column | (jnp.arange(len(column)) == row)


def _drawn_row(free: Bool[Array, "rows"], probability: Any, uniform: Float[Array, ""]) -> Int[Array, ""]:
    """One of the free rows with this probability, drawn uniformly; else, or if none is free, the number of rows."""
    number = free.sum()
    nth = jnp.minimum(
        (uniform / jnp.maximum(probability, 1e-30) * number.astype(uniform.dtype)).astype(int), number - 1
    )
    row = jnp.argmax(jnp.cumsum(free) > nth)
    return jnp.where((uniform < probability) & (number > 0), row, len(free))


def _probability(free: Bool[Array, "rows"], probability: Any, row: Int[Array, ""]) -> Float[Array, ""]:
    """The probability that `_drawn_row` returns this row."""
    number = free.sum(dtype=float)
    some = jnp.where(number > 0, probability, 0.0)
    one = jnp.append(free, False)[row].astype(float) * some / jnp.maximum(1, number)
    return jnp.where(row == len(free), 1 - some, one)


def _targets(rows: int, columns: int, actions: tuple[str, ...]) -> np.ndarray:
    """The next cell by cell and action, `[cells, actions]`; nobody leaves the map."""
    row, column = np.divmod(np.arange(rows * columns)[:, None], columns)
    down, right = np.array([MOVES[action] for action in actions]).T
    return np.clip(row + down, 0, rows - 1) * columns + np.clip(column + right, 0, columns - 1)
