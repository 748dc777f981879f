"""A naive population that has learned before the agents do."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import learn_independently
from coala_eqx.training import Pool
from coala_eqx.training.pool import members, number_of


def learned_in_pairs(
    pool: Pool, naive: AbstractPolicy, batch: int, updates: int, key: Key[Array, ""]
) -> AbstractPolicy:
    """Naive policies, leaves `[naive, …]`, after so many updates on `batch` games each, two and two of them together.

    Of an odd number the last one has a copy of the first for a partner.
    """
    number = number_of(naive)
    firsts = jnp.arange(0, number, 2)

    @eqx.filter_vmap
    def learn(one: AbstractPolicy, other: AbstractPolicy, key: Key[Array, ""]) -> tuple[AbstractPolicy, ...]:
        sizes = {"batch": batch, "steps": pool.steps, "updates": updates}
        return learn_independently(pool.game, (one, other), pool.learner, **sizes, key=key)[0]

    one, other = learn(
        members(naive, firsts), members(naive, (firsts + 1) % number), jax.random.split(key, len(firsts))
    )

    def in_turn(one: Array, other: Array) -> Array:
        both = jnp.stack([one, other], axis=1)
        return both.reshape(-1, *one.shape[1:])[:number]

    arrays = jax.tree.map(in_turn, *(eqx.filter(policies, eqx.is_array) for policies in (one, other)))
    return eqx.combine(arrays, naive)
