"""CleanUp-lite: a river that must be cleaned so that apples grow, which whoever is there may eat."""

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
"""Steps: integers of 32 bits count as far, and more."""


class CleanUpState(eqx.Module):
    """Where everything is. Cells are numbered row by row."""

    cells: Int[Array, "*stacked players"]
    """Of the players."""

    apples: Bool[Array, "*stacked rows"]
    """In the left column."""

    dirt: Bool[Array, "*stacked rows"]
    """In the right column."""

    frozen: Int[Array, "*stacked players"]
    """Whole steps that each player is still frozen for."""


class CleanUpChance(eqx.Module):
    """What chance decides in a step."""

    dirt: Int[Array, "*stacked"]
    """The row of the new patch, or the number of rows if there is none."""

    apple: Int[Array, "*stacked"]
    """Of the new apple, likewise."""

    hits: Bool[Array, "*stacked players"]
    """Whether a player's zap works, if it zaps one who is in reach."""

    eater: Int[Array, "*stacked"]
    """Who eats if both players are at an apple."""


def _pair(cells: Any) -> Any:
    if cells is None:
        return None
    entries = np.ravel(np.asarray(cells, object)).tolist()
    return tuple(int(cell) if isinstance(cell, np.integer) else cell for cell in entries)


def _names(actions: Any) -> tuple[Any, ...]:
    return tuple(actions) if isinstance(actions, Iterable) else (actions,)


class CleanUpLite(AbstractDrawnGame):
    """Two players, a river at the right of a small map, an orchard at its left.

    A step has this order: (1) a patch of dirt may appear in the river, (2) an apple in the orchard, the less likely the
    more dirt there is; (3) players at an apple eat it and earn 1, (4) players at dirt remove it, (5) players who zap
    may freeze the other one, (6) players move. Who is frozen does none of this.

    Players see everything: `[5 · cells + 2]` booleans, with cells row by row. The first `cells` are one-hot for their
    own cell, as many for the other's; then there are three for each cell, apple, dirt, or neither; at last whether they
    are frozen, and the other one.

    **Arguments:**

    - `rows`, `columns`: of the map. The paper says 5×4, and not which is which: 5 rows here.
    - `actions`: of `right`, `left`, `up`, `down`, `zap`, `nothing`, in the order of their numbers.
    - `dirt_probability`: of (1), on a free cell of the river that is drawn uniformly.
    - `dirt_capacity`: of dirt, with which no apple grows: the probability of (2) is 1 − min(1, dirt / capacity).
    - `initial_dirt`: patches at the start, in rows that are drawn uniformly.
    - `zap_probability`: that a zap works on one in reach who is not frozen.
    - `zap_distance`, `metric`: what is in reach, by `manhattan` or `chebyshev` distance. Not said which.
    - `freeze_steps`: whole steps for which one is frozen, after the rest of the step in which one is zapped.
    - `zap_step_counts`: whether that step is the first of them. Not said.
    - `collisions`: of players who move, `share` lets them be on one cell; with `block` nobody enters a cell that the
      other one is on, and if both want to enter one neither does. Not said.
    - `start`: the cells of both players at the start; drawn uniformly unless given, different ones with `block`.

    Where both players are at an apple, one who is drawn eats it; players can zap each other in the same step. The paper
    says neither.

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
        """Of the map."""
        return self.rows * self.columns

    @property
    def in_reach(self) -> Bool[np.ndarray, "cells cells"]:
        """Which cells a zap reaches from each cell."""
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
        """Of a new apple."""
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
        """The states that player 0 sees, with `frozen` 1 for any number of steps."""
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
        """Means over an inner episode, of both players unless said.

        - `cleaning_discrepancy`: |difference of| the shares of steps that the two spend in the river, not frozen.
        - `cleaning`, `other_cleaning`: these shares, of player 0 and of the other.
        - `zaps`, `other_zaps`: shares of steps in which one who is not frozen zaps, of player 0 and of the other.
        - `pollution`: patches of dirt, `apples`: apples that are there.
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
    """One so small that all that can happen is enumerated, by the same rules: a cell of the river and one of the
    orchard, with a player each at first, a patch of dirt that stays until it is removed, and two actions: left, and
    zap, which always works and freezes for one step.
    """
    small = CleanUpLite(
        rows=1, columns=2, actions=("left", "zap"), dirt_probability=0.0, dirt_capacity=1.0, initial_dirt=1,
        zap_probability=1.0, freeze_steps=1, start=(1, 0),
    )  # fmt: skip
    return small.table()


def _with(column: Bool[Array, "rows"], row: Int[Array, ""]) -> Bool[Array, "rows"]:
    return column | (jnp.arange(len(column)) == row)


def _drawn_row(free: Bool[Array, "rows"], probability: Any, uniform: Float[Array, ""]) -> Int[Array, ""]:
    """With this probability one of the free rows, all alike; otherwise, or if none is free, the number of rows."""
    number = free.sum()
    nth = jnp.minimum(
        (uniform / jnp.maximum(probability, 1e-30) * number.astype(uniform.dtype)).astype(int), number - 1
    )
    row = jnp.argmax(jnp.cumsum(free) > nth)
    return jnp.where((uniform < probability) & (number > 0), row, len(free))


def _probability(free: Bool[Array, "rows"], probability: Any, row: Int[Array, ""]) -> Float[Array, ""]:
    """That `_drawn_row` draws this row."""
    number = free.sum(dtype=float)
    some = jnp.where(number > 0, probability, 0.0)
    one = jnp.append(free, False)[row].astype(float) * some / jnp.maximum(1, number)
    return jnp.where(row == len(free), 1 - some, one)


def _targets(rows: int, columns: int, actions: tuple[str, ...]) -> np.ndarray:
    """`[cells, actions]`: where one comes from a cell; nobody leaves the map."""
    row, column = np.divmod(np.arange(rows * columns)[:, None], columns)
    down, right = np.array([MOVES[action] for action in actions]).T
    return np.clip(row + down, 0, rows - 1) * columns + np.clip(column + right, 0, columns - 1)
