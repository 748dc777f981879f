"""Iterated matrix games, of any number of players and actions, and the well-known 2×2 ones."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from coala_eqx._checks import check_whole
from coala_eqx.arrays import floating, in_words, numbers
from coala_eqx.games.base import AbstractEnumerableGame
from coala_eqx.games.tabular import TabularGame

_MOST_PAYOFFS = 2**24
"""Limit of the payoffs of a game that is made here; 128 MB in float64."""


class MatrixGame(AbstractEnumerableGame):
    """A matrix game that is played again and again.

    A player observes 0 at the start, and afterwards 1 + the index of the last joint action, read from
    its own side: its own action is the most significant digit, then the others in the order of players.
    With two players and two actions that is 1 + 2·own + other.

    **Arguments:**

    - `payoffs` `[P, A_0, …, A_{P−1}]`: rewards of each player for each joint action; for two players
      `payoffs[0]` is the row player's matrix and `payoffs[1]` the column player's, both indexed
      `[row action, column action]`.

    **Raises** `ValueError` if `payoffs` has another shape, or an entry that is not a finite number.
    """

    payoffs: Float[Array, "players *actions"]

    def __init__(self, payoffs: Any):
        payoffs = numbers("payoffs", payoffs)
        if payoffs.ndim < 2 or payoffs.shape[0] != payoffs.ndim - 1 or 0 in payoffs.shape:
            raise ValueError(
                f"`payoffs` must have shape [players, actions of player 0, actions of player 1, …], one axis of "
                f"actions per player (two players with two actions each: [2, 2, 2]), but has {payoffs.shape}."
            )
        self.payoffs = floating(payoffs)

    @property
    def num_players(self) -> int:
        return self.payoffs.shape[0]

    @property
    def num_actions(self) -> tuple[int, ...]:
        return tuple(self.payoffs.shape[1:])

    @property
    def num_observations(self) -> tuple[int, ...]:
        return (1 + math.prod(self.num_actions),) * self.num_players

    def reset(self, key: Key[Array, ""]) -> tuple[None, Int[Array, " players"]]:
        del key
        return None, jnp.zeros(self.num_players, dtype=int)

    def step(
        self, state: None, actions: Int[Array, " players"], key: Key[Array, ""]
    ) -> tuple[None, Int[Array, " players"], Float[Array, " players"]]:
        del state, key
        rewards = self.payoffs[(slice(None), *actions)]
        return None, 1 + jnp.asarray(self._place_values()) @ actions.astype(int), rewards

    def table(self) -> TabularGame:
        """State 0 is the start, state 1 + k follows the k-th joint action (player 0's action first)."""
        joint_actions = math.prod(self.num_actions)
        states = 1 + joint_actions
        observations = np.zeros((self.num_players, states), dtype=int)
        observations[:, 1:] = 1 + self._place_values() @ np.indices(self.num_actions).reshape(self.num_players, -1)
        return TabularGame(
            initial=np.arange(states) == 0,
            transition=1 + np.arange(joint_actions).reshape(1, *self.num_actions),
            rewards=self.payoffs[:, None],
            observations=observations,
            num_observations=self.num_observations,
        )

    def _place_values(self) -> np.ndarray:
        """`[players, players]`: the weight of each action in each player's number for the joint action."""
        weights = np.zeros((self.num_players, self.num_players), dtype=int)
        for player in range(self.num_players):
            order = [player, *(other for other in range(self.num_players) if other != player)]
            weight = 1
            for digit in reversed(order):
                weights[player, digit] = weight
                weight *= self.num_actions[digit]
        return weights


def _symmetric(rows: list[list[float]]) -> MatrixGame:
    """A symmetric two-player game from the row player's matrix."""
    row = np.asarray(rows, dtype=float)
    return MatrixGame(np.stack([row, row.T]))


def iterated_prisoners_dilemma() -> MatrixGame:
    """The iterated prisoner's dilemma with the paper's payoffs: R, S, T, P = 1, −1, 2, 0.

    Action 0 cooperates, 1 defects. Source: Meulemans et al. (2025), Section 4.
    """
    return _symmetric([[1.0, -1.0], [2.0, 0.0]])


def chicken() -> MatrixGame:
    """Chicken: action 0 swerves, 1 drives on; a crash is the worst. R, S, T, P = 1, 0, 2, −1."""
    return _symmetric([[1.0, 0.0], [2.0, -1.0]])


def stag_hunt() -> MatrixGame:
    """Stag hunt: action 0 hunts the stag, 1 the hare. R, S, T, P = 1, −1, 0.5, 0.

    Both (stag, stag) and (hare, hare) are equilibria; hare is risk-dominant.
    """
    return _symmetric([[1.0, -1.0], [0.5, 0.0]])


def matching_pennies() -> MatrixGame:
    """Matching pennies, zero-sum: player 0 earns 1 where the actions match, player 1 where they differ."""
    match = np.array([[1.0, -1.0], [-1.0, 1.0]])
    return MatrixGame(np.stack([match, -match]))


def battle_of_the_sexes() -> MatrixGame:
    """Battle of the sexes: both want the same action, player 0 rather action 0, player 1 rather action 1."""
    return MatrixGame([[[2, 0], [0, 1]], [[1, 0], [0, 2]]])


def public_goods(players: int = 3, multiplier: float = 1.8) -> MatrixGame:
    """A linear public-goods game: action 0 contributes 1, action 1 keeps it.

    Contributions are multiplied and shared by all. All players together earn most if everybody contributes; each
    earns more by keeping its own.

    **Arguments:**

    - `players`: at least 2.
    - `multiplier`: strictly between 1 and `players`, or there is no dilemma.

    **Raises** `ValueError` outside these ranges.
    """
    check_whole("players", players, 2)
    if not 1 < multiplier < players:
        raise ValueError(f"`multiplier` must lie strictly between 1 and players = {players}, but is {multiplier}.")
    if (size := players * 2**players) > _MOST_PAYOFFS:
        raise ValueError(
            f"`players` = {players} would need {in_words(size)} payoffs, one per player and joint action (limit "
            f"{_MOST_PAYOFFS:,}); take fewer players."
        )
    contributes = 1.0 - np.indices((2,) * players)
    return MatrixGame(multiplier / players * contributes.sum(axis=0) - contributes)


def ultimatum(pie: int = 4) -> MatrixGame:
    """The ultimatum game: player 0 offers a part of a pie, and player 1 says beforehand which offers it accepts.

    Action a of player 0 offers a + 1, so that it has pie − 1 actions and keeps pie − a − 1. Action k of player 1
    accepts offers of k + 1 or more; its pie-th and last action accepts none. Both earn 0 where the offer is refused.

    **Arguments:**

    - `pie`: a whole number, at least 3.

    **Raises** `ValueError` outside this range.

    Source: Güth, Schmittberger & Schwarze (1982), with the responder's decisions by the strategy method.
    """
    check_whole("pie", pie, 3, "so that there are two offers or more")
    if (size := 2 * pie**2) > _MOST_PAYOFFS:
        raise ValueError(
            f"`pie` = {pie} would need some {in_words(size)} payoffs (limit {_MOST_PAYOFFS:,}); take less."
        )
    offers, least = np.arange(1.0, pie)[:, None], np.arange(1.0, pie + 1)[None]
    return MatrixGame(np.where(offers >= least, np.stack([pie - offers, offers]), 0.0))
