"""Games given by tables: finite states, stochastic transitions, partial observations."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from coala_eqx.arrays import Frozen, concrete, numbers
from coala_eqx.games.base import AbstractEnumerableGame

_SUM_TOLERANCE = 1e-6
"""Rows may be given in float32, where k rounded entries sum to one up to k · 6e-8."""


class TabularGame(AbstractEnumerableGame):
    """A stochastic game with finitely many states, given by its tables.

    Any number of players, of actions per player and of states; observations may be partial, shared or
    different for each player; rewards may be asymmetric.

    **Arguments**, with S states, players p = 0..P−1 and A_p actions of player p:

    - `initial` `[S]`: the distribution of the first state.
    - `transition` `[S, A_0, …, A_{P−1}, S]`: the distribution of the next state.
    - `rewards` `[P, S, A_0, …, A_{P−1}]`: what each player earns for a joint action in a state.
    - `observations` `[P, S]`: the integer that each player sees in a state.
    - `num_observations`: for each player, how many observations there are; one more than the largest
      in its row of `observations` unless given.

    **Raises** `ValueError` where shapes disagree, an entry is not a finite number, a distribution has a
    negative entry or does not sum to one (the row and its sum are named), or an observation is not an
    integer ≥ 0.
    """

    initial: Float[Array, " states"]
    transition: Float[Array, "states *actions states"]
    rewards: Float[Array, "players states *actions"]
    num_observations: tuple[int, ...] = eqx.field(static=True)
    seen: Frozen = eqx.field(static=True)
    support: Frozen = eqx.field(static=True)

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
        _check_distributions("transition", transition)
        self.num_observations = _count_observations(observations, num_observations)
        self.support = _support(initial, transition)
        self.initial = _floating(initial)
        self.transition = _floating(transition)
        self.rewards = _floating(rewards)
        self.seen = Frozen(np.asarray(observations).astype(int))

    @property
    def observations(self) -> Int[Array, "players states"]:
        """The integer that each player sees in a state."""
        return jnp.asarray(self.seen.array)

    @property
    def num_players(self) -> int:
        return self.rewards.shape[0]

    @property
    def num_actions(self) -> tuple[int, ...]:
        return tuple(self.rewards.shape[2:])

    def reset(self, key: Key[Array, ""]) -> tuple[Int[Array, ""], Int[Array, " players"]]:
        state = jax.random.categorical(key, jnp.log(self.initial))
        return state, self.observations[:, state]

    def step(
        self, state: Int[Array, ""], actions: Int[Array, " players"], key: Key[Array, ""]
    ) -> tuple[Int[Array, ""], Int[Array, " players"], Float[Array, " players"]]:
        joint = tuple(actions)
        rewards = self.rewards[(slice(None), state, *joint)]
        state = jax.random.categorical(key, jnp.log(self.transition[(state, *joint)]))
        return state, self.observations[:, state], rewards

    def table(self) -> "TabularGame":
        # Rows given in float32 sum to one only up to its rounding, which would show in exact results.
        normalised = (self.initial / self.initial.sum(), self.transition / self.transition.sum(axis=-1, keepdims=True))
        return eqx.tree_at(lambda game: (game.initial, game.transition), self, normalised)

    @property
    def possible_starts(self) -> np.ndarray:
        """`[S]`: which states an episode can start in."""
        return self.support.array[0]

    @property
    def possible_moves(self) -> np.ndarray:
        """`[S, A_0, …, A_{P−1}, S]`: which states can follow."""
        return self.support.array[1:].reshape(self.transition.shape)


def _floating(array: Any) -> Array:
    return jnp.asarray(array).astype(jnp.result_type(float))


def _check_shapes(initial: tuple, transition: tuple, rewards: tuple, observations: tuple) -> None:
    if len(initial) != 1 or initial[0] < 1:
        raise ValueError(f"`initial` must have shape [states] with states ≥ 1, but has {initial}.")
    states = initial[0]
    if len(rewards) < 3 or rewards[1] != states or rewards[0] != len(rewards) - 2 or 0 in rewards:
        raise ValueError(
            f"`rewards` must have shape [players, states, actions of player 0, …], one axis of actions per "
            f"player, with states = {states} as in `initial`, but has {rewards}."
        )
    expected = (states, *rewards[2:], states)
    if transition != expected:
        raise ValueError(
            f"`transition` must have shape [states, actions of each player, states] = {expected} to agree "
            f"with `initial` and `rewards`, but has {transition}."
        )
    if observations != (rewards[0], states):
        raise ValueError(
            f"`observations` must have shape [players, states] = {(rewards[0], states)}, but has {observations}."
        )


def _check_distributions(name: str, array: Any) -> None:
    """Every row along the last axis must be a distribution; skipped where values are traced."""
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


def _support(initial: Any, transition: Any) -> Frozen:
    """Which starts and moves are possible: a boolean `[1 + S·ΠA, S]`, all true where probabilities are traced.

    It is static, so that enumeration knows what to enumerate even when the probabilities are traced.
    """
    states = initial.shape[0]

    def possible(array: Any) -> np.ndarray:
        return np.asarray(array) > 0 if concrete(array) else np.ones(array.shape, dtype=bool)

    return Frozen(np.concatenate([possible(initial)[None], possible(transition).reshape(-1, states)]))
