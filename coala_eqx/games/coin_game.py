"""The Coin Game: taking a coin pays, and taking one of the other player's colour costs the other player more."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from coala_eqx._checks import check_choice, check_finite, check_whole
from coala_eqx.arrays import as_setting
from coala_eqx.games.drawn import AbstractDrawnGame
from coala_eqx.games.rendering import Scene, Step
from coala_eqx.games.scenes import coin_scene

MOVES = {"right": (0, 1), "left": (0, -1), "up": (-1, 0), "down": (1, 0), "stay": (0, 0)}
"""All actions, in the order of their numbers, with the rows and columns they move by."""


_MOST_PLACES = 2**24
"""Limit of the numbers by which a new coin's place is drawn."""

_MOST = 1000
"""Limit of the random draws of a step in a table."""


class CoinGameState(eqx.Module):
    """Positions of players and coins. Cells are numbered row by row."""

    cells: Int[Array, "*stacked players"]
    """Cells of the players."""

    coins: Int[Array, "*stacked players"]
    """Cell of the coin of each player's colour; the number of cells if there is none."""


class CoinGameChance(eqx.Module):
    """The random draw of a step."""

    places: Int[Array, "*stacked coins"]
    """Place of each new coin, counted cyclically through the cells that are allowed."""

    colour: Int[Array, "*stacked"]
    """The player whose colour a new coin has, if there is one coin at a time."""


class CoinGame(AbstractDrawnGame):
    """Two players on a small map without borders, and coins of their two colours.

    Both players move. A player that reaches a coin takes it and earns 1; if the coin has the other player's colour, the
    other player loses 2. If both reach it, both take it. A taken coin is replaced at once.

    Players observe four one-hot maps: their own cell, the other player's cell, their own coin, and the other's.

    **Arguments:**

    - `size`: the map has size × size cells.
    - `coins`: `one` at a time, of a colour that is drawn, or `both` colours always.
    - `stay`: whether players may also stay where they are.
    - `new_coins`: place of new coins: a cell `free` of players and of the other coin, or `any` cell.
    - `reward`, `loss`: reward for taking a coin, and loss of a player whose coin the other takes.

    There is no single version of this game. In Foerster et al. (2018) the colour of a single coin alternates; here it
    is drawn. Versions for accelerators mostly have `coins="both"`, `stay=True` and `new_coins="any"`.

    **Raises** `ValueError` for settings that make no game.
    """

    size: int = eqx.field(static=True, default=3)
    coins: str = eqx.field(static=True, default="one")
    stay: bool = eqx.field(static=True, default=False)
    new_coins: str = eqx.field(static=True, default="free")
    reward: float = eqx.field(default=1.0, converter=as_setting)
    loss: float = eqx.field(default=2.0, converter=as_setting)

    def __check_init__(self):
        check_whole("size", self.size, 2, "so that two players and a coin fit")
        check_finite("reward", self.reward)
        check_finite("loss", self.loss)
        check_choice("coins", self.coins, ("one", "both"))
        check_choice("stay", self.stay, (False, True))
        check_choice("new_coins", self.new_coins, ("free", "any"))

    @property
    def num_cells(self) -> int:
        """Number of cells of the map."""
        return self.size**2

    @property
    def num_players(self) -> int:
        return 2

    @property
    def num_actions(self) -> tuple[int, ...]:
        return (4 + self.stay,) * 2

    @property
    def num_observations(self) -> tuple[int, ...]:
        return (4 * self.num_cells,) * 2

    @property
    def _places(self) -> int:
        """Number of values from which a new coin's place is drawn.

        It divides evenly among the free cells, however many there are; on maps of 18 × 18 cells and more, up to 2e-5.
        """
        if self.new_coins == "any":
            return self.num_cells
        return min(math.lcm(*range(self.num_cells - 3, self.num_cells)), _MOST_PLACES)

    def reset(self, key: Key[Array, ""]) -> tuple[CoinGameState, Bool[Array, "players features"]]:
        key_cells, key_coins = jax.random.split(key)
        cells = jax.random.randint(key_cells, (2,), 0, self.num_cells)
        state = CoinGameState(cells, self._replaced(cells, jnp.full(2, self.num_cells), self.draw(None, key_coins)))
        return state, self.observe(state)

    def draw(self, state: CoinGameState | None, key: Key[Array, ""]) -> CoinGameChance:
        bits = jax.random.bits(key, (1 if self.coins == "one" else 2,), jnp.uint32)
        return CoinGameChance(((bits >> 1) % self._places).astype(int), (bits[0] & 1).astype(int))

    def probability(self, state: CoinGameState, chance: CoinGameChance) -> Float[Array, ""]:
        return jnp.asarray(0.5 * float(self._places) ** -len(chance.places))

    def apply(
        self, state: CoinGameState, actions: Int[Array, "players"], chance: CoinGameChance
    ) -> tuple[CoinGameState, Float[Array, "players"]]:
        cells = jnp.asarray(_targets(self.size))[state.cells, actions]
        takes = cells[:, None] == state.coins[None]
        rewards = self.reward * takes.sum(axis=1, dtype=float) - self.loss * jnp.diagonal(takes[::-1]).astype(float)
        left = jnp.where(takes.any(axis=0), self.num_cells, state.coins)
        return CoinGameState(cells, self._replaced(cells, left, chance)), rewards

    def _replaced(
        self, cells: Int[Array, "players"], coins: Int[Array, "players"], chance: CoinGameChance
    ) -> Int[Array, "players"]:
        """The coins, with new ones in place of those that are missing."""

        def place(number: Int[Array, ""], other: Int[Array, ""]) -> Int[Array, ""]:
            if self.new_coins == "any":
                return number
            taken = jnp.stack([*cells, other])
            least, most = taken.min(), taken.max()
            in_turn = least, taken.sum() - least - most, most
            # whether there is something else in a cell that is not counted yet
            counts = True, in_turn[1] > least, (most > in_turn[1]) & (most < self.num_cells)
            cell = number % (self.num_cells - sum(jnp.asarray(count, int) for count in counts))
            for where, count in zip(in_turn, counts, strict=True):
                cell += (count & (cell >= where)).astype(int)
            return cell

        missing = coins == self.num_cells
        if self.coins == "one":
            new = missing.all() & (jnp.arange(2) == chance.colour)
            return jnp.where(new, place(chance.places[0], jnp.asarray(self.num_cells)), coins)
        first = jnp.where(missing[0], place(chance.places[0], coins[1]), coins[0])
        second = jnp.where(missing[1], place(chance.places[1], first), coins[1])
        return jnp.stack([first, second])

    def observe(self, state: CoinGameState) -> Bool[Array, "players features"]:
        own_first = jnp.stack([state.cells, state.coins])
        where = jnp.stack([own_first, own_first[:, ::-1]]).reshape(2, 4)
        return (where[..., None] == jnp.arange(self.num_cells)[None, None]).reshape(2, -1)

    def seen(self, observations: Bool[Array, "*steps features"]) -> CoinGameState:
        """The states that player 0 observes."""
        maps = observations.reshape(*observations.shape[:-1], 4, self.num_cells)
        where = jnp.where(maps.any(axis=-1), maps.argmax(axis=-1), self.num_cells)
        return CoinGameState(where[..., :2], where[..., 2:])

    def measures(
        self, observations: Bool[Array, "steps features"], actions: Int[Array, "steps players"]
    ) -> dict[str, Float[Array, ""]]:
        """Coins taken per step.

        - `own_coins`, `others_coins`: by player 0, of its own colour and of the other's.
        - `other_own_coins`, `other_others_coins`: by the other player, of its own colour and of player 0's.
        """
        state = self.seen(observations)
        cells = jnp.asarray(_targets(self.size))[state.cells, actions]
        takes = (cells[:, :, None] == state.coins[:, None, :]).mean(axis=0, dtype=float)
        return {
            "own_coins": takes[0, 0],
            "others_coins": takes[0, 1],
            "other_own_coins": takes[1, 1],
            "other_others_coins": takes[1, 0],
        }

    def starts(self) -> tuple[CoinGameState, Float[np.ndarray, "starts"]]:
        pairs = np.array(list(itertools.product(range(self.num_cells), repeat=2)))
        chances = self.chances()
        none = jnp.full(2, self.num_cells)
        replace = jax.vmap(jax.vmap(self._replaced, (None, None, 0)), (0, None, None))
        coins = np.asarray(replace(jnp.asarray(pairs), none, chances)).reshape(-1, 2)
        cells = np.repeat(pairs, len(coins) // len(pairs), axis=0)
        return CoinGameState(jnp.asarray(cells), jnp.asarray(coins)), np.full(len(coins), 1 / len(coins))

    def render(self, step: Step) -> Scene:
        """The map before a step."""
        return coin_scene(self, step)

    def chances(self) -> CoinGameChance:
        numbers = 1 if self.coins == "one" else 2
        if (number := 2 * self._places**numbers) > _MOST:
            raise ValueError(f"Chance can decide a step in {number} ways, too many for a table: make the map smaller.")
        all_of_them = np.array(list(itertools.product(*[range(self._places)] * numbers, range(2))))
        return CoinGameChance(jnp.asarray(all_of_them[:, :-1]), jnp.asarray(all_of_them[:, -1]))


def _targets(size: int) -> np.ndarray:
    """The next cell by cell and action, `[cells, actions]`; the map wraps around."""
    row, column = np.divmod(np.arange(size**2)[:, None], size)
    down, right = np.array(list(MOVES.values())).T
    return (row + down) % size * size + (column + right) % size
