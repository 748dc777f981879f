"""What every game offers: a reset, a step, and the sizes a policy must fit."""

import abc
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, Key, Shaped

if TYPE_CHECKING:
    from coala_eqx.games.tabular import TabularGame

State = Any


class AbstractGame(eqx.Module):
    """A simultaneous-move stochastic game of `num_players` players.

    The horizon is not the game's: a `ShapingProblem` decides how many steps an inner episode has, so
    there is no `done`. Everything is pure and works under `jit` and `vmap`.

    A game may have a method `render(step)`, by which `coala-eqx show` draws what agents do
    (`coala_eqx.games.rendering`).
    """

    if TYPE_CHECKING:  # or checkers of types would ask for these whenever a game is made
        num_players: int = eqx.field(init=False)
        num_actions: tuple[int, ...] = eqx.field(init=False)
        num_observations: tuple[int, ...] = eqx.field(init=False)
    else:
        num_players: eqx.AbstractVar[int]
        """Number of players; player 0 is the ego agent."""

        num_actions: eqx.AbstractVar[tuple[int, ...]]
        """Number of actions of each player."""

        num_observations: eqx.AbstractVar[tuple[int, ...]]
        """For each player, the number of distinct observations if they are integers, or their length if
        they are vectors; 1 if they are single numbers that are no integers."""

    @abc.abstractmethod
    def reset(self, key: Key[Array, ""]) -> tuple[State, Shaped[Array, "players *features"]]:
        """Draw an initial state.

        **Returns** the state, and the observations, one row per player.
        """

    @abc.abstractmethod
    def step(
        self, state: State, actions: Int[Array, " players"], key: Key[Array, ""]
    ) -> tuple[State, Shaped[Array, "players *features"], Float[Array, " players"]]:
        """Play one simultaneous move.

        **Returns** the next state, the observations made there, and the rewards of the move.
        """

    def observation_type(self) -> jax.ShapeDtypeStruct:
        """Shape and type of what one player observes; nothing is drawn or computed."""
        _, observations = jax.eval_shape(self.reset, jax.random.key(0))
        return jax.ShapeDtypeStruct(observations.shape[1:], observations.dtype)


class AbstractEnumerableGame(AbstractGame):
    """A game that can be written as a table, so that `coala_eqx.exact` can enumerate its outcomes."""

    @abc.abstractmethod
    def table(self) -> "TabularGame":
        """The same game as a `TabularGame`: same observations, rewards and distribution of outcomes."""
