"""Transitions of a tabular game: probabilities of all next states, or the number of the one that follows."""

import abc
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from coala_eqx.arrays import Frozen, concrete, floating, in_words

MOST_PROBABILITIES = 100_000_000
"""Limit of the numbers in a dense table of transitions that was not given as one: 800 MB in float64."""


class AbstractMoves(eqx.Module):
    """The next states of a game with S states and P players, given a state and a joint action.

    The states that can follow are always known. They do not depend on arrays that may be traced.
    """

    @abc.abstractmethod
    def probabilities(self) -> Float[Array, "states *actions states"]:
        """The distribution of the next state, as a dense table."""

    @abc.abstractmethod
    def possible(self) -> Bool[np.ndarray, "states *actions states"]:
        """Whether each state can follow, as a dense table."""

    @abc.abstractmethod
    def reordered(self, order: tuple[int, ...]) -> Array | np.ndarray:
        """The table as given, with players renumbered; `order` has the old number of each new player."""

    @abc.abstractmethod
    def normalised(self) -> "AbstractMoves":
        """The same transitions, with rows that sum to one to rounding."""

    @abc.abstractmethod
    def draw(self, state: Int[Array, ""], actions: Int[Array, " players"], key: Key[Array, ""]) -> Int[Array, ""]:
        """Draw the next state."""

    @abc.abstractmethod
    def successors(
        self, states: Int[np.ndarray, " n"], actions: Int[np.ndarray, "n players"]
    ) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """All states that can follow n pairs of a state and a joint action.

        **Returns** the number of the pair and the next state, by pairs and then by states.
        """

    @abc.abstractmethod
    def count_successors(self, states: Int[np.ndarray, " n"], actions: Int[np.ndarray, "n players"]) -> int:
        """Number of states that `successors` would return."""

    @abc.abstractmethod
    def chance(
        self, states: Int[np.ndarray, " n"], actions: Int[np.ndarray, "n players"], successors: Int[np.ndarray, " n"]
    ) -> Float[Array | np.ndarray, " n"]:
        """The probabilities of next states that can follow."""

    @abc.abstractmethod
    def spread(self) -> Callable[[np.ndarray], np.ndarray]:
        """A function from the number of paths `[S]` that end in each state to their number one step later.

        Numbers are Python's integers, in arrays of objects, as there can be many paths.
        """

    @abc.abstractmethod
    def following(self, player: int) -> Bool[np.ndarray, "actions states"]:
        """Whether each state can follow an action of one player, in any state and for any actions of the others."""


class RandomMoves(AbstractMoves):
    """A dense table of probabilities.

    `support` says which of them can be positive: those that are, or all of them if they are traced.
    """

    table: Float[Array, "states *actions states"]
    support: Frozen = eqx.field(static=True)

    def __init__(self, table: Any):
        self.table = floating(table)
        self.support = Frozen(np.asarray(table) > 0 if concrete(table) else np.ones(table.shape, dtype=bool))

    def probabilities(self) -> Float[Array, "states *actions states"]:
        return self.table

    def possible(self) -> Bool[np.ndarray, "states *actions states"]:
        return self.support.array

    def reordered(self, order: tuple[int, ...]) -> Array | np.ndarray:
        return jnp.transpose(self.table, (0, *(1 + player for player in order), 1 + len(order)))

    def normalised(self) -> "RandomMoves":
        return eqx.tree_at(lambda moves: moves.table, self, self.table / self.table.sum(axis=-1, keepdims=True))

    def draw(self, state: Int[Array, ""], actions: Int[Array, " players"], key: Key[Array, ""]) -> Int[Array, ""]:
        return jax.random.categorical(key, jnp.log(self.table[(state, *actions)]))

    def successors(
        self, states: Int[np.ndarray, " n"], actions: Int[np.ndarray, "n players"]
    ) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        # What is possible is listed once, row by row of the table; then each pair takes its row's part of the list.
        follows = np.nonzero(self._rows())[1]
        numbers = self._rows().sum(axis=1)
        rows = self._row(states, actions)
        each = numbers[rows]
        pair = np.repeat(np.arange(len(rows)), each)
        place = np.arange(len(pair)) - np.repeat(np.cumsum(each) - each, each)
        return pair, follows[(np.cumsum(numbers) - numbers)[rows[pair]] + place]

    def count_successors(self, states: Int[np.ndarray, " n"], actions: Int[np.ndarray, "n players"]) -> int:
        return int(self._rows().sum(axis=1)[self._row(states, actions)].sum())

    def chance(
        self, states: Int[np.ndarray, " n"], actions: Int[np.ndarray, "n players"], successors: Int[np.ndarray, " n"]
    ) -> Float[Array | np.ndarray, " n"]:
        return self.table[(states, *actions.T, successors)]

    def spread(self) -> Callable[[np.ndarray], np.ndarray]:
        states = self.table.shape[0]
        ways = self.support.array.reshape(states, -1, states).sum(axis=1).astype(object)
        return lambda paths: paths @ ways

    def following(self, player: int) -> Bool[np.ndarray, "actions states"]:
        moves = np.moveaxis(self.support.array, 1 + player, 0)
        return np.asarray(moves.reshape(len(moves), -1, moves.shape[-1]).any(axis=1))

    def _rows(self) -> np.ndarray:
        return self.support.array.reshape(-1, self.table.shape[-1])

    def _row(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        return np.ravel_multi_index((states, *actions.T), self.table.shape[:-1])


class CertainMoves(AbstractMoves):
    """The number of the one state that follows.

    An axis of states of length 1 stands for a game in which the state does not matter.
    """

    table: Frozen = eqx.field(static=True)
    states: int = eqx.field(static=True)

    def __init__(self, table: np.ndarray, states: int):
        self.table = Frozen(np.asarray(table).astype(np.int32))
        self.states = states

    def probabilities(self) -> Float[Array, "states *actions states"]:
        self._check_dense()
        return jax.nn.one_hot(self._whole(), self.states, dtype=jnp.result_type(float))

    def possible(self) -> Bool[np.ndarray, "states *actions states"]:
        self._check_dense()
        return self._whole()[..., None] == np.arange(self.states)

    def reordered(self, order: tuple[int, ...]) -> Array | np.ndarray:
        return np.transpose(self.table.array, (0, *(1 + player for player in order)))

    def normalised(self) -> "CertainMoves":
        return self

    def draw(self, state: Int[Array, ""], actions: Int[Array, " players"], key: Key[Array, ""]) -> Int[Array, ""]:
        del key
        return jnp.asarray(self.table.array)[(self._place(state), *actions)].astype(int)

    def successors(
        self, states: Int[np.ndarray, " n"], actions: Int[np.ndarray, "n players"]
    ) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        return np.arange(len(states)), self.table.array[(self._place(states), *actions.T)].astype(int)

    def count_successors(self, states: Int[np.ndarray, " n"], actions: Int[np.ndarray, "n players"]) -> int:
        return len(states)

    def chance(
        self, states: Int[np.ndarray, " n"], actions: Int[np.ndarray, "n players"], successors: Int[np.ndarray, " n"]
    ) -> Float[Array | np.ndarray, " n"]:
        return jnp.ones(len(successors), jnp.result_type(float))

    def spread(self) -> Callable[[np.ndarray], np.ndarray]:
        table = self.table.array.reshape(len(self.table.array), -1)
        if len(table) == 1:
            ways = np.bincount(table[0], minlength=self.states).astype(object)
            return lambda paths: paths.sum() * ways
        before = np.repeat(np.arange(self.states), table.shape[1])
        pairs, ways = np.unique(before * self.states + table.ravel(), return_counts=True)
        before, after = np.divmod(pairs, self.states)
        ways = ways.astype(object)

        def count(paths: np.ndarray) -> np.ndarray:
            later = np.zeros(self.states, dtype=object)
            np.add.at(later, after, paths[before] * ways)
            return later

        return count

    def following(self, player: int) -> Bool[np.ndarray, "actions states"]:
        moves = np.moveaxis(self.table.array, 1 + player, 0)
        follows = np.zeros((len(moves), self.states), dtype=bool)
        follows[np.arange(len(moves))[:, None], moves.reshape(len(moves), -1)] = True
        return follows

    def _place(self, states: Any) -> Any:
        return states if len(self.table.array) > 1 else states * 0

    def _whole(self) -> np.ndarray:
        return np.broadcast_to(self.table.array, (self.states, *self.table.array.shape[1:]))

    def _check_dense(self) -> None:
        size = self.states**2 * math.prod(self.table.array.shape[1:])
        if size > MOST_PROBABILITIES:
            raise ValueError(
                f"A dense `transition` of this game would hold {in_words(size)} numbers, {self.states:,} for each "
                f"state and joint action (limit {MOST_PROBABILITIES:,}); use `game.moves`, which holds one."
            )
