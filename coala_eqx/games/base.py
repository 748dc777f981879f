"""The contract of a game: a reset, a step, and the spaces that policies must fit."""

import abc
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, Key, Shaped

from coala_eqx.games import spaces
from coala_eqx.games.spaces import ActionSpace, Derived, ObservationSpace

if TYPE_CHECKING:
    from coala_eqx.games.tabular import TabularGame

State = Any


class AbstractGame(eqx.Module):
    """A simultaneous-move stochastic game of `num_players` players.

    A `ShapingProblem` decides how many steps an inner episode has, so a game has no `done`. Everything is pure and
    works under `jit` and `vmap`.

    A game declares what its players observe and do, either as spaces or as numbers; each follows from the other:

    - `observation_spaces`: `Discrete(n)`, `Vector(n)` or `Image(h, w, c)` for each player; or `num_observations`.
    - `action_spaces`: `Discrete(n)` or `Box(n)` for each player; or `num_actions`, which are discrete.

    The observations of all players are rows of one array, and so are their actions. Their spaces must therefore be of
    one kind and shape; only numbers of discrete observations and actions may differ.

    A game may have a method `render(step)`, by which `coala-eqx show` draws what agents do
    (`coala_eqx.games.rendering`).
    """

    if TYPE_CHECKING:  # or checkers of types would ask for these whenever a game is made
        num_players: int = eqx.field(init=False)
        num_actions: tuple[int, ...] = eqx.field(init=False)
        num_observations: tuple[int, ...] = eqx.field(init=False)
        action_spaces: tuple[ActionSpace, ...] = eqx.field(init=False)
        observation_spaces: tuple[ObservationSpace, ...] = eqx.field(init=False)
    else:
        num_players: eqx.AbstractVar[int]
        """Number of players; player 0 is the ego agent."""

        num_actions = Derived(spaces.sizes("action"))
        """For each player, the number of actions, or the length of an action that is a vector."""

        num_observations = Derived(spaces.sizes("observation"))
        """For each player, the number of distinct observations if they are integers, or their length if
        they are vectors; 1 if they are single numbers that are no integers."""

        action_spaces = Derived(spaces.action_spaces)
        """For each player, the space of its actions."""

        observation_spaces = Derived(spaces.observation_spaces)
        """For each player, the space of its observations."""

    @abc.abstractmethod
    def reset(self, key: Key[Array, ""]) -> tuple[State, Shaped[Array, "players *features"]]:
        """Draw an initial state.

        **Returns** the state, and the observations, one row per player.
        """

    @abc.abstractmethod
    def step(
        self, state: State, actions: Shaped[Array, "players *action"], key: Key[Array, ""]
    ) -> tuple[State, Shaped[Array, "players *features"], Float[Array, " players"]]:
        """Play one simultaneous move. Actions are integers, or one vector for each player.

        **Returns** the next state, the observations made there, and the rewards of the move.
        """

    def observation_type(self) -> jax.ShapeDtypeStruct:
        """Shape and type of one player's observation; nothing is drawn or computed."""
        _, observations = jax.eval_shape(self.reset, jax.random.key(0))
        return jax.ShapeDtypeStruct(observations.shape[1:], observations.dtype)


class AbstractEnumerableGame(AbstractGame):
    """A game that can be written as a table, so that `coala_eqx.exact` can enumerate its outcomes."""

    @abc.abstractmethod
    def table(self) -> "TabularGame":
        """The game as a `TabularGame`, with the same observations, rewards and distribution of outcomes."""
