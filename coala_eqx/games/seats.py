"""Games with their players renumbered."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Shaped

from coala_eqx.games.base import AbstractGame, State
from coala_eqx.games.matrix import MatrixGame
from coala_eqx.games.spaces import ActionSpace
from coala_eqx.games.tabular import TabularGame


class Reseated(AbstractGame):
    """A game with its players renumbered.

    **Arguments:**

    - `game`: any game.
    - `order`: for each new player, its number in `game`.
    """

    game: AbstractGame
    order: tuple[int, ...] = eqx.field(static=True)

    @property
    def num_players(self) -> int:
        return self.game.num_players

    @property
    def num_actions(self) -> tuple[int, ...]:
        return tuple(self.game.num_actions[player] for player in self.order)

    @property
    def num_observations(self) -> tuple[int, ...]:
        return tuple(self.game.num_observations[player] for player in self.order)

    @property
    def action_spaces(self) -> tuple[ActionSpace, ...]:
        return tuple(self.game.action_spaces[player] for player in self.order)

    def reset(self, key: Key[Array, ""]) -> tuple[State, Shaped[Array, "players *features"]]:
        state, observations = self.game.reset(key)
        return state, observations[np.asarray(self.order)]

    def step(
        self, state: State, actions: Shaped[Array, "players *action"], key: Key[Array, ""]
    ) -> tuple[State, Shaped[Array, "players *features"], Float[Array, " players"]]:
        places = np.argsort(self.order)
        state, observations, rewards = self.game.step(state, actions[places], key)
        order = np.asarray(self.order)
        return state, observations[order], rewards[order]


def seen_from(game: AbstractGame, seat: int) -> AbstractGame:
    """A game with the player of one seat as player 0; the others keep their order.

    Matrix games and tables keep their classes, so that they can be enumerated.

    **Raises** `ValueError` if there is no such seat.
    """
    if not 0 <= seat < game.num_players:
        raise ValueError(f"`seat` must be one of the game's {game.num_players} seats, from 0 on, but is {seat}.")
    if seat == 0:
        return game
    order = (seat, *(player for player in range(game.num_players) if player != seat))
    axes = [1 + player for player in order]
    if isinstance(game, MatrixGame):
        return MatrixGame(jnp.transpose(game.payoffs[np.asarray(order)], (0, *axes)))
    if isinstance(game, TabularGame):
        return TabularGame(
            initial=game.initial,
            transition=game.moves.reordered(order),
            rewards=jnp.transpose(game.paid[np.asarray(order)], (0, 1, *(1 + axis for axis in axes))),
            observations=game.seen.array[np.asarray(order)],
            num_observations=tuple(game.num_observations[player] for player in order),
        )
    return Reseated(game, order)
