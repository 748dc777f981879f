"""Games given by tables: finite states, stochastic transitions, partial observations."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from coala_eqx.arrays import Frozen, concrete, floating, numbers
from coala_eqx.games.base import AbstractEnumerableGame
from coala_eqx.games.moves import AbstractMoves, CertainMoves, RandomMoves

_SUM_TOLERANCE = 1e-6
"""Rows may be given in float32, where k rounded entries sum to one up to k · 6e-8."""


class TabularGame(AbstractEnumerableGame):
    """A stochastic game with finitely many states, given by its tables.

    Any number of players, of actions per player and of states; observations may be partial, shared or
    different for each player; rewards may be asymmetric.

    **Arguments**, with S states, players p = 0..P−1 and A_p actions of player p:

    - `initial` `[S]`: the distribution of the first state.
    - `transition` `[S, A_0, …, A_{P−1}, S]`: the distribution of the next state. A deterministic game may give
      `[S, A_0, …, A_{P−1}]`, the number of the next state, which needs no array of S² · ΠA_p probabilities.
    - `rewards` `[P, S, A_0, …, A_{P−1}]`: rewards of each player for a joint action in a state.
    - `observations` `[P, S]`: the integer that each player observes in a state.
    - `num_observations`: number of observations of each player; one more than the largest in its row of
      `observations` unless given.

    Where the state does not matter, the axis of states may have length 1, in `rewards` and in numbers of next states.

    **Raises** `ValueError` where shapes disagree, an entry is not a finite number, a distribution has a
    negative entry or does not sum to one (the row and its sum are named), a next state is none, or an observation is
    not an integer ≥ 0.
    """

    initial: Float[Array, " states"]
    moves: AbstractMoves
    paid: Float[Array, "players states_or_one *actions"]
    """`rewards`, as given."""

    num_observations: tuple[int, ...] = eqx.field(static=True)
    seen: Frozen = eqx.field(static=True)
    starts: Frozen = eqx.field(static=True)

    def __init__(
        self,
        initial: Any,
        transition: Any,
        rewards: Any,
        observations: Any,
        num_observations: tuple[int, ...] | None = None,
    ):
        initial, transition = numbers("initial", initial), numbers("transition", transition)
        rewards, observations = numbers("rewards", rewards), numbers("observations", observations)
        _check_shapes(initial.shape, transition.shape, rewards.shape, observations.shape)
        _check_distributions("initial", initial)
        self.num_observations = _count_observations(observations, num_observations)
        self.moves = _moves(transition, rewards.ndim, len(initial))
        # Static, so that enumeration knows what to enumerate even where the probabilities are traced.
        self.starts = Frozen(np.asarray(initial) > 0 if concrete(initial) else np.ones(initial.shape, dtype=bool))
        self.initial = floating(initial)
        self.paid = floating(rewards)
        self.seen = Frozen(np.asarray(observations).astype(int))

    @property
    def transition(self) -> Float[Array, "states *actions states"]:
        """The distribution of the next state. For a deterministic game it is computed now, and may be large."""
        return self.moves.probabilities()

    @property
    def rewards(self) -> Float[Array, "players states *actions"]:
        """Rewards of all players for each joint action in each state."""
        players, states, *actions = self.paid.shape
        if states == self.num_states:
            return self.paid
        return jnp.broadcast_to(self.paid, (players, self.num_states, *actions))

    @property
    def observations(self) -> Int[Array, "players states"]:
        """The integer that each player observes in each state."""
        return jnp.asarray(self.seen.array)

    @property
    def num_states(self) -> int:
        """Number of states."""
        return self.seen.array.shape[1]

    @property
    def num_players(self) -> int:
        return self.paid.shape[0]

    @property
    def num_actions(self) -> tuple[int, ...]:
        return tuple(self.paid.shape[2:])

    def reset(self, key: Key[Array, ""]) -> tuple[Int[Array, ""], Int[Array, " players"]]:
        state = jax.random.categorical(key, jnp.log(self.initial))
        return state, self.observations[:, state]

    def step(
        self, state: Int[Array, ""], actions: Int[Array, " players"], key: Key[Array, ""]
    ) -> tuple[Int[Array, ""], Int[Array, " players"], Float[Array, " players"]]:
        rewards = jnp.asarray(self.earned(state, actions))
        state = self.moves.draw(state, actions, key)
        return state, self.observations[:, state], rewards

    def earned(self, states: Any, actions: Any) -> Float[Array | np.ndarray, "players *states"]:
        """Rewards of all players in some states, for joint actions `[*states, players]`."""
        place = states if self.paid.shape[1] > 1 else states * 0
        return self.paid[(slice(None), place, *(actions[..., player] for player in range(self.num_players)))]

    def table(self) -> "TabularGame":
        # Rows given in float32 sum to one only up to its rounding, which would show in exact results.
        normalised = (self.initial / self.initial.sum(), self.moves.normalised())
        return eqx.tree_at(lambda game: (game.initial, game.moves), self, normalised)

    @property
    def possible_starts(self) -> np.ndarray:
        """Whether an episode can start in each state, `[S]`."""
        return self.starts.array

    @property
    def possible_moves(self) -> np.ndarray:
        """Whether each state can follow, `[S, A_0, …, A_{P−1}, S]`; as large as a dense `transition`."""
        return self.moves.possible()


def _moves(transition: Any, axes: int, states: int) -> AbstractMoves:
    if transition.ndim == axes:
        _check_distributions("transition", transition)
        return RandomMoves(transition)
    if not concrete(transition):
        raise ValueError(
            "`transition` as numbers of next states must be known beforehand, but is traced by `jit`, `vmap` or `grad`."
        )
    wrong = (transition != np.floor(transition)) | (transition < 0) | (transition >= states)
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"`transition` without a last axis of states holds the numbers of next states, integers from 0 to "
            f"{states - 1}, but entry {list(where)} is {transition[where]:g}."
        )
    return CertainMoves(transition, states)


def _check_shapes(initial: tuple, transition: tuple, rewards: tuple, observations: tuple) -> None:
    if len(initial) != 1 or initial[0] < 1:
        raise ValueError(f"`initial` must have shape [states] with states ≥ 1, but has {initial}.")
    states = initial[0]
    if len(rewards) < 3 or rewards[1] not in (1, states) or rewards[0] != len(rewards) - 2 or 0 in rewards:
        raise ValueError(
            f"`rewards` must have shape [players, states, actions of player 0, …], one axis of actions per "
            f"player, with states = {states} as in `initial`, but has {rewards}."
        )
    expected = (states, *rewards[2:], states)
    if transition not in (expected, expected[:-1], (1, *expected[1:-1])):
        raise ValueError(
            f"`transition` must have shape [states, actions of each player, states] = {expected} to agree "
            f"with `initial` and `rewards` (or {expected[:-1]} with the number of the next state), but has "
            f"{transition}."
        )
    if observations != (rewards[0], states):
        raise ValueError(
            f"`observations` must have shape [players, states] = {(rewards[0], states)}, but has {observations}."
        )


def _check_distributions(name: str, array: Any) -> None:
    """**Raises** `ValueError` unless every row along the last axis is a distribution; skipped where it is traced."""
    if not concrete(array):
        return
    rows = np.asarray(array, dtype=np.float64)
    if (rows < 0).any():
        where = tuple(int(i) for i in np.argwhere(rows < 0)[0])
        raise ValueError(
            f"`{name}` holds probabilities, but entry {list(where)} is {rows[where]:g}; make it at least 0."
        )
    sums = rows.sum(axis=-1)
    bad = np.argwhere(np.abs(sums - 1) > _SUM_TOLERANCE)
    if len(bad):
        row = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"`{name}`{list(row) if row else ''} must sum to one over the states, but sums to {sums[row]:.9g}; "
            f"divide the row by its sum, or correct it."
        )


def _count_observations(observations: Any, given: tuple[int, ...] | None) -> tuple[int, ...]:
    if not concrete(observations):
        raise ValueError("`observations` must be known beforehand, but is traced by `jit`, `vmap` or `grad`.")
    table = np.asarray(observations)
    if (table != np.floor(table)).any() or (table < 0).any():
        wrong = table[(table != np.floor(table)) | (table < 0)][0]
        raise ValueError(f"`observations` must be integers ≥ 0 (they number what is seen), but one is {wrong:g}.")
    smallest = tuple(int(row.max()) + 1 for row in table)
    if given is None:
        return smallest
    if len(given) != len(smallest) or any(g < s for g, s in zip(given, smallest, strict=True)):
        raise ValueError(f"`num_observations` is {given}, but `observations` needs at least {smallest}.")
    return tuple(given)
