"""Games whose next state is a function of actions and of random draws, and their tables."""

import abc
import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Shaped

from coala_eqx.arrays import in_words
from coala_eqx.games.base import AbstractEnumerableGame, State
from coala_eqx.games.moves import MOST_PROBABILITIES
from coala_eqx.games.tabular import TabularGame

LIMIT = 1024
"""Limit of the states of a table, which holds a probability for each pair of them and each joint action."""


class AbstractDrawnGame(AbstractEnumerableGame):
    """A game whose next state is a function of the joint action and of a random draw.

    A step draws at random; a table holds every possible draw. Both follow the same rules.
    """

    @abc.abstractmethod
    def starts(self) -> tuple[State, Float[np.ndarray, " starts"]]:
        """All states that `reset` can draw, stacked, and their probabilities. A state may occur more than once."""

    @abc.abstractmethod
    def chances(self) -> Any:
        """All random draws of a step that are possible, stacked."""

    @abc.abstractmethod
    def draw(self, state: State, key: Key[Array, ""]) -> Any:
        """Draw at random for the step after a state."""

    @abc.abstractmethod
    def probability(self, state: State, chance: Any) -> Float[Array, ""]:
        """The probability that `draw` returns `chance`."""

    @abc.abstractmethod
    def apply(
        self, state: State, actions: Int[Array, " players"], chance: Any
    ) -> tuple[State, Float[Array, " players"]]:
        """The next state, and the rewards, given the random draw."""

    @abc.abstractmethod
    def observe(self, state: State) -> Shaped[Array, "players *features"]:
        """The observations of all players."""

    @abc.abstractmethod
    def measures(
        self, observations: Shaped[Array, "steps *features"], actions: Int[Array, "steps players"]
    ) -> dict[str, Float[Array, ""]]:
        """Measures of an inner episode beside rewards, by name; the dictionary may be empty.

        **Arguments:** the observations of player 0 before each step, and the actions of all players in it.
        """

    def step(
        self, state: State, actions: Int[Array, " players"], key: Key[Array, ""]
    ) -> tuple[State, Shaped[Array, "players *features"], Float[Array, " players"]]:
        state, rewards = self.apply(state, actions, self.draw(state, key))
        return state, self.observe(state), rewards

    def table(self) -> TabularGame:
        """The table of all states that can be reached.

        Where rewards depend on the random draw, a state of the table is a state of the game together with the draw,
        which nobody observes. Observations are numbered, for each player, in the order in which they are met.

        **Raises** `ValueError` if there are more than `LIMIT` states, or if it would hold more probabilities than
        `MOST_PROBABILITIES`. (Where nothing is left to chance it holds next states instead.)
        """
        return _table_of(self, *self.starts(), self.chances())


@dataclasses.dataclass
class _Outcome:
    """All random draws after a state that lead to the same rewards of each joint action."""

    rewards: Float[np.ndarray, "joint_actions players"]
    probability: float = 0.0
    after: list[tuple[float, Int[np.ndarray, " joint_actions"]]] = dataclasses.field(default_factory=list)
    """Numbers of the next states by joint action, with their shares of the probability."""

    @property
    def is_certain(self) -> bool:
        """Whether it is the only outcome, and each joint action leads to one state."""
        return self.probability == 1 and all((numbers == self.after[0][1]).all() for _, numbers in self.after)


def _table_of(
    game: AbstractDrawnGame, starts: State, probabilities: Float[np.ndarray, " starts"], chances: Any
) -> TabularGame:
    states = _States(starts)
    first = [states.number(leaves) for leaves in states.unstack(starts)]
    outcomes = list(_expand(game, states, chances))
    offsets = np.cumsum([0, *map(len, outcomes)])
    size, joint = int(offsets[-1]), math.prod(game.num_actions)
    _check_size(size)

    def add(row: np.ndarray, number: int, weight: float) -> None:
        """Add a state of the game, with its weight, to a distribution over the table's states."""
        row[offsets[number] : offsets[number + 1]] += [weight * outcome.probability for outcome in outcomes[number]]

    initial = np.zeros(size)
    for number, probability in zip(first, probabilities, strict=True):
        add(initial, number, probability)
    if all(len(one) == 1 and one[0].is_certain for one in outcomes):
        transition = np.stack([one[0].after[0][1] for one in outcomes]).reshape(size, *game.num_actions)
    else:
        _check_dense(size, joint)
        transition = np.zeros((size, joint, size))
        for row, outcome in enumerate(itertools.chain.from_iterable(outcomes)):
            for weight, numbers in outcome.after:
                for action, number in enumerate(numbers.tolist()):
                    add(transition[row, action], number, weight / outcome.probability)
        transition = transition.reshape(size, *game.num_actions, size)
    rewards = np.stack([outcome.rewards for outcome in itertools.chain.from_iterable(outcomes)])
    seen = np.repeat(_observations(game, states), np.diff(offsets), axis=1)
    return TabularGame(
        initial=initial,
        transition=transition,
        rewards=np.moveaxis(rewards, 2, 0).reshape(-1, size, *game.num_actions),
        observations=seen,
    )


class _States:
    """The states that have been met, numbered, as tuples of arrays."""

    def __init__(self, like: Any):
        leaves, self.structure = jax.tree.flatten(like)
        self.types = [np.asarray(leaf).dtype for leaf in leaves]
        self.found: list[tuple[np.ndarray, ...]] = []
        self._numbers: dict[bytes, int] = {}

    def unstack(self, stacked: Any) -> Iterator[tuple[np.ndarray, ...]]:
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(stacked)]
        types = [leaf.dtype for leaf in leaves]
        if types != self.types:
            raise ValueError(
                f"`starts` must give states with the dtypes of those that follow, {', '.join(map(str, types))}, but "
                f"its have {', '.join(map(str, self.types))}."
            )
        return zip(*leaves, strict=True)

    def as_state(self, leaves: Sequence[Any]) -> Any:
        return self.structure.unflatten(map(jnp.asarray, leaves))

    def number(self, state: tuple[np.ndarray, ...]) -> int:
        """The number of a state, which may be new."""
        name = b"".join(leaf.tobytes() for leaf in state)
        if name not in self._numbers:
            self._numbers[name] = len(self.found)
            self.found.append(state)
            _check_size(len(self.found))
        return self._numbers[name]


def _check_size(size: int) -> None:
    if size > LIMIT:
        raise ValueError(
            f"The game has more than {LIMIT} states that can be reached, too many for a table. Make it smaller: fewer "
            "cells or actions or, of a game that has them, a fixed start and probabilities of 0 or 1."
        )


def _check_dense(size: int, joint: int) -> None:
    if (numbers := size * joint * size) > MOST_PROBABILITIES:
        raise ValueError(
            f"The game has {size:,} states that can be reached and {joint:,} joint actions: its table would hold "
            f"{in_words(numbers)} probabilities (limit {MOST_PROBABILITIES:,}). Make it smaller: fewer cells or "
            "actions."
        )


def _expand(game: AbstractDrawnGame, states: _States, chances: Any) -> Iterator[list[_Outcome]]:
    """Yield the outcomes of one state after the other, while new states are found."""
    joint = jnp.asarray(np.indices(game.num_actions).reshape(len(game.num_actions), -1).T)

    @jax.jit
    def follow(state: Any) -> tuple[Any, Array, Array]:
        """Next states and rewards, `[chances, joint actions]`; probabilities, `[chances]`."""
        by_action = jax.vmap(game.apply, (None, 0, None))
        after, rewards = jax.vmap(by_action, (None, None, 0))(state, joint, chances)
        return after, rewards, jax.vmap(game.probability, (None, 0))(state, chances)

    for state in states.found:  # which grows meanwhile
        after, rewards, weights = jax.tree.map(np.asarray, follow(states.as_state(state)))
        outcomes: dict[bytes, _Outcome] = {}
        for chance in np.flatnonzero(weights):
            leaves = states.unstack(jax.tree.map(lambda leaf, c=chance: leaf[c], after))
            outcome = outcomes.setdefault(rewards[chance].tobytes(), _Outcome(rewards[chance]))
            outcome.probability += float(weights[chance])
            outcome.after.append((float(weights[chance]), np.array([states.number(one) for one in leaves])))
        yield list(outcomes.values())


def _observations(game: AbstractDrawnGame, states: _States) -> Int[np.ndarray, "players states"]:
    seen = np.asarray(
        jax.vmap(game.observe)(states.as_state([np.stack(leaf) for leaf in zip(*states.found, strict=True)]))
    )
    numbered = []
    for player in range(seen.shape[1]):
        numbers: dict[bytes, int] = {}
        numbered.append([numbers.setdefault(row.tobytes(), len(numbers)) for row in seen[:, player]])
    return np.array(numbered)
