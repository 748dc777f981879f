"""The state of a pool before the first iteration."""

import dataclasses
import functools
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from coala_eqx.learners import init_rule
from coala_eqx.streams import stream
from coala_eqx.training.critics import CriticState
from coala_eqx.training.groups import take
from coala_eqx.training.play import starts
from coala_eqx.training.pretraining import learned_in_pairs
from coala_eqx.training.state import PoolState, members, stack

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
    state = PoolState(
        groups=agents,
        algorithms=tuple(
            eqx.filter_vmap(functools.partial(init_rule, pool.agents[group[0]].algorithm))(made, take(keys, group))
            for group, made in zip(pool.groups, agents, strict=True)
        ),
        populations=naive,
        key=key,
        iteration=jnp.zeros((), int),
    )
    return dataclasses.replace(state, critics=_critics(pool, state))


def _critics(pool: "Pool", state: PoolState) -> tuple[CriticState | None, ...]:
    """The critics of each group before the first update."""
    keys = jax.random.split(stream(state.key, "critics"), len(pool.agents))
    return tuple(_critic(pool, state, group, take(keys, group)) for group in pool.groups)


def _critic(pool: "Pool", state: PoolState, group: tuple[int, ...], keys: Key[Array, " agents"]) -> CriticState | None:
    training = pool.agents[group[0]].critic
    if training is None or not pool.num_naive:
        return None
    line_up = pool.line_ups(pool.class_of(group[0]))[0]
    co_players = tuple(members(starts(pool, state, seat), 0) for seat in pool.other_seats(line_up))
    problem = pool.problem(line_up, co_players, pool.episodes)
    policy = pool.agent(state, group[0])
    return eqx.filter_vmap(lambda key: training.init(problem, policy, pool.num_naive, key))(keys)
