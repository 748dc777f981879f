"""The state of a pool before the first iteration."""

import functools
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from coala_eqx.learners import init_rule
from coala_eqx.streams import stream
from coala_eqx.training.groups import take
from coala_eqx.training.pretraining import learned_in_pairs
from coala_eqx.training.state import PoolState, stack

if TYPE_CHECKING:
    from coala_eqx.training.pool import Pool


def initial_state(pool: "Pool", key: Key[Array, ""]) -> PoolState:
    """The state before the first iteration.

    **Raises** `ValueError` if a function returns no policy.
    """
    key_learn = key
    if pool.naive.pretraining:
        key, key_learn = jax.random.split(key)
    key_agents, key_naive, key = jax.random.split(key, 3)
    keys = jax.random.split(key_agents, len(pool.agents))
    agents = tuple(stack("policy", pool.agents[group[0]].make(pool.game), take(keys, group)) for group in pool.groups)
    seats = {number: seat for seat, number in reversed(pool.populations.items())}
    naive = tuple(
        stack(
            "policy",
            pool.naive.make(pool.game, seats[number]),
            jax.random.split(jax.random.fold_in(key_naive, number) if number else key_naive, pool.naive.population),
        )
        for number in range(len(seats))
    )
    if pool.naive.pretraining:
        naive = (learned_in_pairs(pool.game, pool.naive, naive[0], pool.steps, key_learn),)
    keys = jax.random.split(stream(key, "algorithms"), len(pool.agents))
    return PoolState(
        groups=agents,
        algorithms=tuple(
            eqx.filter_vmap(functools.partial(init_rule, pool.agents[group[0]].algorithm))(made, take(keys, group))
            for group, made in zip(pool.groups, agents, strict=True)
        ),
        populations=naive,
        key=key,
        iteration=jnp.zeros((), int),
    )
