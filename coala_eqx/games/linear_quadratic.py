"""Continuous linear-quadratic games."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from coala_eqx._checks import check_not_negative, check_positive, check_whole
from coala_eqx.arrays import Frozen, concrete, floating, numbers
from coala_eqx.games.base import AbstractGame
from coala_eqx.games.spaces import Box, Vector


class LinearQuadratic(AbstractGame):
    """A game with vectors as actions, quadratic rewards, and linear dynamics.

    Let u be the joint action, the vectors of all players one after the other, and z the vector whose products are paid.
    Player i earns r_i = ½ zᵀ H_i z + g_iᵀ z.

    - Without `dynamics`, the same game is played again and again, and z = u. Players observe the last joint action,
      their own part first, then the others' in the order of players; zeros at the start.
    - With `dynamics` D, the game has a state x. Then z = (x, u), and the next state is D z + noise · ε with standard
      normal ε. All players observe x.

    **Arguments:**

    - `quadratic` `[players, entries, entries]`: H. Only the symmetric part of each matrix matters, and is kept.
    - `linear` `[players, entries]`: g; 0 unless given.
    - `dynamics` `[states, entries]`: D; entries are those of x, then those of u.
    - `start` `[states]`: x at the start of an inner episode; 0 unless given.
    - `noise`: standard deviation of what is added to each entry of the next state.

    **Raises** `ValueError` for other shapes, entries that are not finite numbers, fewer than two players, a joint
    action that does not divide evenly among the players, a negative `noise`, or `start` or `noise` without `dynamics`.
    """

    quadratic: Float[Array, "players entries entries"]
    linear: Float[Array, "players entries"]
    dynamics: Float[Array, "states entries"] | None
    start: Float[Array, " states"]
    noise: float | Float[Array, ""]

    def __init__(
        self, quadratic: Any, linear: Any = None, *, dynamics: Any = None, start: Any = None, noise: Any = 0.0
    ):
        quadratic = numbers("quadratic", quadratic)
        if quadratic.ndim != 3 or quadratic.shape[0] < 2 or quadratic.shape[1] != quadratic.shape[2]:
            raise ValueError(
                f"`quadratic` must have shape [players, entries, entries], for two players or more, but has "
                f"{quadratic.shape}."
            )
        players, entries = quadratic.shape[:2]
        linear = numbers("linear", np.zeros((players, entries)) if linear is None else linear)
        if linear.shape != (players, entries):
            raise ValueError(
                f"`linear` must have shape [players, entries] = {(players, entries)}, but has {linear.shape}."
            )
        check_not_negative("noise", noise)
        if dynamics is None and (start is not None or not concrete(noise) or noise):
            raise ValueError("`start` and `noise` belong to a state: give `dynamics`, too, or leave them out.")
        states = 0
        if dynamics is not None:
            dynamics = numbers("dynamics", dynamics)
            if dynamics.ndim != 2 or dynamics.shape[0] < 1 or dynamics.shape[1] != entries:
                raise ValueError(
                    f"`dynamics` must have shape [states, entries] with {entries} entries, but has {dynamics.shape}."
                )
            states = len(dynamics)
        if entries <= states or (entries - states) % players:
            raise ValueError(
                f"The joint action has {entries} entries less {states} of the state, which must be a positive multiple "
                f"of the {players} players."
            )
        start = numbers("start", np.zeros(states or entries) if start is None else start)
        if start.shape != (states or entries,):
            raise ValueError(f"`start` must have shape [states] = {(states,)}, but has {start.shape}.")
        self.quadratic = (floating(quadratic) + floating(quadratic).swapaxes(1, 2)) / 2
        self.linear = floating(linear)
        self.dynamics = None if dynamics is None else floating(dynamics)
        self.start = floating(start)
        self.noise = noise

    @property
    def num_players(self) -> int:
        return self.quadratic.shape[0]

    @property
    def action_spaces(self) -> tuple[Box, ...]:
        states = 0 if self.dynamics is None else len(self.start)
        return (Box((self.quadratic.shape[1] - states) // self.num_players),) * self.num_players

    @property
    def observation_spaces(self) -> tuple[Vector, ...]:
        return (Vector(len(self.start)),) * self.num_players

    def reset(self, key: Key[Array, ""]) -> tuple[Array, Float[Array, "players states"]]:
        del key
        return self.start, self.observe(self.start)

    def step(
        self, state: Float[Array, " states"], actions: Float[Array, "players components"], key: Key[Array, ""]
    ) -> tuple[Array, Float[Array, "players states"], Float[Array, " players"]]:
        paid = actions.astype(state.dtype).ravel()
        after = paid
        if self.dynamics is not None:
            paid = jnp.concatenate([state, paid])
            noise = jnp.asarray(self.noise, state.dtype) * jax.random.normal(key, state.shape, state.dtype)
            after = self.dynamics @ paid + noise
        return after, self.observe(after), self.pay(paid)

    def pay(self, paid: Float[Array, " entries"]) -> Float[Array, " players"]:
        """The rewards of all players for one vector z."""
        return jnp.einsum("pij,i,j->p", self.quadratic, paid, paid) / 2 + self.linear @ paid

    def observe(self, state: Float[Array, " states"]) -> Float[Array, "players states"]:
        """The observations of all players in a state."""
        if self.dynamics is not None:
            return jnp.broadcast_to(state, (self.num_players, *state.shape))
        return state[self._own_first().array]

    def _own_first(self) -> Frozen:
        """Indices of the joint action for each player, with its own components at the front."""
        players, components = self.num_players, self.action_spaces[0].n
        blocks = np.arange(players * components).reshape(players, components)
        orders = [[player, *(one for one in range(players) if one != player)] for player in range(players)]
        return Frozen(blocks[np.asarray(orders)].reshape(players, -1))

    def is_symmetric(self) -> bool:
        """Whether the game stays the same if any two players change seats. All arrays must be known, not traced."""
        players, components = self.num_players, self.action_spaces[0].n
        states = self.quadratic.shape[1] - players * components
        blocks = states + np.arange(players * components).reshape(players, components)
        quadratic, linear = np.asarray(self.quadratic), np.asarray(self.linear)
        for player in range(1, players):
            order = np.arange(players)
            order[[0, player]] = player, 0
            places = np.concatenate([np.arange(states), blocks[order].ravel()])
            same = np.array_equal(quadratic[order][:, places][:, :, places], quadratic)
            same &= np.array_equal(linear[order][:, places], linear)
            if self.dynamics is not None:
                same &= np.array_equal(np.asarray(self.dynamics)[:, places], np.asarray(self.dynamics))
            if not same:
                return False
        return True


def cournot_competition(players: int = 2, demand: float = 3.0) -> LinearQuadratic:
    """Cournot competition: each firm chooses a quantity a_i, and all sell at the price demand − Σ_j a_j, above costs.

    Firm i earns a_i (demand − Σ_j a_j). In equilibrium all produce demand/(players + 1). Of two firms, one that commits
    to demand/2 before the other learns its best response earns more: it shapes the other.

    **Arguments:**

    - `players`: at least 2.
    - `demand`: price at which nothing is sold; positive.

    **Raises** `ValueError` outside these ranges.
    """
    check_whole("players", players, 2)
    check_positive("demand", demand)
    own = np.eye(players)
    quadratic = -(own[:, :, None] + own[:, None, :])
    return LinearQuadratic(quadratic, demand * own)
