"""Checks that policies fit a game."""

import math

import jax.numpy as jnp

from coala_eqx.games import AbstractGame
from coala_eqx.policies import AbstractMemoryOne, AbstractPolicy, FullHistory


def check_observations(policy: AbstractPolicy, player: int, game: AbstractGame) -> None:
    """**Raises** `ValueError` unless a policy can take a player's observations.

    A policy that is made for a space needs that very space. A policy that is made for a number needs integers below
    it, or vectors of that length.
    """
    made = policy.observation_space
    if made is not None and made != (needed := game.observation_spaces[player]):
        raise ValueError(
            f"The policy of player {player}, a {type(policy).__name__}, is made for observations of {made}, but the "
            f"game has {needed} for this player; make the policy with observations={needed}."
        )
    name, declared, seen = type(policy).__name__, game.num_observations[player], game.observation_type()
    is_integer = not seen.shape and not jnp.issubdtype(seen.dtype, jnp.floating)
    if not is_integer and isinstance(policy, AbstractMemoryOne | FullHistory):
        raise ValueError(
            f"The policy of player {player}, a {name}, has a row for each observation, which must be an integer, but "
            f"{type(game).__name__} shows {seen.dtype}{list(seen.shape)}; use a network, such as a GRU."
        )
    is_vector = not is_integer and len(seen.shape) < 2
    if is_vector and declared != math.prod(seen.shape):
        raise ValueError(
            f"{type(game).__name__} says that player {player} observes vectors of length {declared}, but shows "
            f"{seen.dtype}{list(seen.shape)}; its `num_observations` must be {math.prod(seen.shape)} (or observations "
            f"integers)."
        )
    if policy.num_observations < declared or (is_vector and policy.num_observations > declared):
        vectors = f"vectors of length {declared}" if is_vector else declared
        raise ValueError(
            f"The policy of player {player}, a {name}, is made for {policy.num_observations} observations, but the "
            f"game has {vectors} for this player; make the policy with observations={declared}."
        )
