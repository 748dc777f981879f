"""Pretraining: the naive population learns before the agents do."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from coala_eqx.games import AbstractGame
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import learn_independently
from coala_eqx.training.agent import NaiveLearners


def learned_in_pairs(
    game: AbstractGame, naive: NaiveLearners, policies: AbstractPolicy, steps: int, key: Key[Array, ""]
) -> AbstractPolicy:
    """Naive policies, leaves `[population, …]`, after `naive.pretraining` updates among themselves.

    Each game is played by members that follow each other. If the players of a game do not divide the population, the
    first members also play in the last game, but only as partners: this does not change them.
    """
    number, players = naive.population, game.num_players
    firsts = jnp.arange(0, number, players)

    @eqx.filter_vmap
    def learn(policies: tuple[AbstractPolicy, ...], key: Key[Array, ""]) -> tuple[AbstractPolicy, ...]:
        sizes = {"batch": naive.pretraining_batch, "steps": steps, "updates": naive.pretraining}
        return learn_independently(game, policies, naive.learner, **sizes, key=key)[0]

    def take(offset: int) -> AbstractPolicy:
        places = (firsts + offset) % number
        return jax.tree.map(lambda leaf: leaf[places] if eqx.is_array(leaf) else leaf, policies)

    learned = learn(tuple(map(take, range(players))), jax.random.split(key, len(firsts)))

    def in_turn(*leaves: Array) -> Array:
        return jnp.stack(leaves, axis=1).reshape(-1, *leaves[0].shape[1:])[:number]

    arrays = jax.tree.map(in_turn, *(eqx.filter(one, eqx.is_array) for one in learned))
    return eqx.combine(arrays, policies)
