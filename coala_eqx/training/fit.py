"""Checks that the settings of a pool fit each other."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from coala_eqx._checks import check_flag, check_share, check_whole
from coala_eqx.arrays import concrete
from coala_eqx.games import AbstractGame, LinearQuadratic, MatrixGame
from coala_eqx.games.spaces import check_spaces
from coala_eqx.learners import AbstractLearner
from coala_eqx.training.agent import Agent, NaiveLearners
from coala_eqx.training.algorithms import AbstractActorCritic, Follow

if TYPE_CHECKING:
    from coala_eqx.training.pool import Pool


def check_pool(pool: "Pool") -> None:
    """**Raises** `ValueError` for settings of wrong types, and for settings that do not fit each other."""
    check_kinds(pool)
    check_share("p_naive", pool.p_naive)
    check_flag("dynamic_naive", pool.dynamic_naive)
    check_meetings(pool)
    check_seats(pool)
    for agent in pool.agents:
        check_algorithm(pool, agent)


def check_index(pool: "Pool", index: int) -> None:
    """**Raises** `ValueError` unless `index` is the number of an agent of the pool."""
    check_whole("index", index, 0)
    if index >= len(pool.agents):
        raise ValueError(f"`index` must be that of one of {len(pool.agents)} agents, from 0 on, but is {index}.")


def check_kinds(pool: "Pool") -> None:
    """**Raises** `ValueError` unless game, agents and naive learners have the right types."""
    if not isinstance(pool.game, AbstractGame):
        raise ValueError(
            "`game` must be a game (an AbstractGame), such as games.iterated_prisoners_dilemma(), but is "
            f"{pool.game!r}."
        )
    check_spaces(pool.game)
    if not isinstance(pool.agents, tuple):
        raise ValueError(
            f"`agents` must be a tuple, such as (Agent(CoalaPG(), PPO(optimiser)),), but is {pool.agents!r}."
        )
    if not pool.agents:
        raise ValueError("A pool needs agents, but `agents` is empty.")
    for agent in pool.agents:
        if not isinstance(agent, Agent):
            raise ValueError(
                f"`agents` must hold agents, such as Agent(CoalaPG(), PPO(optimiser)), but one entry is {agent!r}."
            )
    if not isinstance(pool.naive, NaiveLearners):
        given = f"a learner: write NaiveLearners({type(pool.naive).__name__}(…))"
        given = given if isinstance(pool.naive, AbstractLearner) else repr(pool.naive)
        raise ValueError(f"`naive` must be naive learners, such as NaiveLearners(PolicyGradient(…)), but is {given}.")
    if isinstance(pool.naive.policy, tuple) and len(pool.naive.policy) != pool.game.num_players:
        raise ValueError(
            f"`policy` of naive learners is a tuple: it must have {pool.game.num_players} entries, one for each seat, "
            f"but has {len(pool.naive.policy)}."
        )


def check_meetings(pool: "Pool") -> None:
    """**Raises** `ValueError` unless there is a whole number of meetings of each kind, and there are others to meet."""
    if abs(pool.p_naive * pool.meta_batch - pool.num_naive) > 1e-9:
        raise ValueError(
            f"p_naive · meta_batch must be a whole number of opponents, but is {pool.p_naive} · {pool.meta_batch}; "
            f"{pool.num_naive / pool.meta_batch:g} would do."
        )
    for number, one in enumerate(pool.classes):
        seats = len(one.learns)
        for count, kind in ((pool.num_naive, "naive learners"), (pool.num_meta, "meta agents")):
            if count % seats:
                raise ValueError(
                    f"Agents with {seats} seats have equally many meetings in each: the {count} meetings with {kind} "
                    f"must be a multiple of {seats}; change `meta_batch` = {pool.meta_batch} or `p_naive` = "
                    f"{pool.p_naive}."
                )
        met = any(filling >= 0 for line_up in pool.line_ups(number) for filling in line_up.fillings)
        if pool.num_meta and not met:
            raise ValueError(
                f"An agent does not play itself: with p_naive = {pool.p_naive} below 1 a pool needs two agents or more."
            )


def check_seats(pool: "Pool") -> None:
    """**Raises** `ValueError` for seats that do not fit the game.

    Agents that learn in one seat and are met in others need a symmetric game. The seats of one agent must have the same
    numbers of observations and actions.
    """
    game = pool.game
    anywhere = any(agent.seats is None for agent in pool.agents)
    if (anywhere and (pool.num_meta or pool.dynamic_naive)) or pool.naive.pretraining:
        check_symmetric(game)
    if game.num_players == 1 and (pool.dynamic_naive or pool.naive.pretraining):
        raise ValueError(
            "A game of one player has no co-players: leave `dynamic_naive` and `pretraining` out, but they are "
            f"{pool.dynamic_naive} and {pool.naive.pretraining}."
        )
    if pool.dynamic_naive and pool.naive.pretraining:
        raise ValueError(
            "`pretraining` trains a naive population, but with `dynamic_naive` learners start from the agents' "
            f"parameters: it must be 0 then, but is {pool.naive.pretraining}."
        )
    if pool.dynamic_naive and not anywhere:
        raise ValueError(
            "With `dynamic_naive` learners in any seat start from the agents' parameters: leave `seats` out."
        )
    for agent in pool.agents:
        kinds = {(game.num_observations[seat], game.num_actions[seat]) for seat in agent.seats or (0,)}
        if len(kinds) > 1:
            raise ValueError(
                f"One network cannot play seats of different sizes: those of `seats` = {agent.seats} have "
                f"(observations, actions) = {' and '.join(map(str, sorted(kinds)))}. Give each seat its own agent."
            )


def check_algorithm(pool: "Pool", agent: Agent) -> None:
    """**Raises** `ValueError` for an algorithm that does not fit the pool's meetings."""
    algorithm, name = agent.algorithm, type(agent.estimator).__name__
    if isinstance(algorithm, AbstractActorCritic) and algorithm.leave_one_out:
        counts = {line_up.meetings for number in range(len(pool.classes)) for line_up in pool.line_ups(number)}
        if 1 in counts:
            raise ValueError(
                "`leave_one_out` needs two or more opponents of a kind, but there are "
                f"{pool.num_naive} naive and {pool.num_meta} meta opponents."
            )
    if isinstance(algorithm, Follow):
        algorithm.length(agent.estimator, pool.episodes)
        if pool.num_meta:
            raise ValueError(
                f"Estimators without advantages, such as {name}, are trained against naive learners: `p_naive` "
                f"must be 1, but is {pool.p_naive}."
            )


def check_symmetric(game: AbstractGame) -> None:
    """**Raises** `ValueError` for a game that is not the same for all of its players, as far as can be seen.

    Numbers of observations and actions are compared, and the payoffs of a `MatrixGame` and the numbers of a
    `LinearQuadratic`.
    """
    alike = len(set(game.num_observations)) == 1 and len(set(game.num_actions)) == 1
    if alike and isinstance(game, MatrixGame) and concrete(game.payoffs):
        payoffs = np.asarray(game.payoffs)
        alike = all(_exchanged(payoffs, player) for player in range(1, game.num_players))
    if alike and isinstance(game, LinearQuadratic) and all(map(concrete, jax.tree.leaves(game))):
        alike = game.is_symmetric()
    if not alike:
        raise ValueError(
            "Agents without `seats` learn as player 0 and are met in any seat, so the game must be symmetric, the same "
            f"seen from every seat, but this {type(game).__name__} is not. Give agents `seats`, number the players' "
            "actions so that it is, or let agents meet naive learners only (p_naive = 1) of a population that has not "
            "learned before."
        )


def _exchanged(payoffs: np.ndarray, player: int) -> bool:
    """Whether payoffs stay the same if player 0 and another one change seats."""
    axes, order = [*range(payoffs.ndim)], [*range(len(payoffs))]
    axes[1], axes[1 + player] = axes[1 + player], axes[1]
    order[0], order[player] = order[player], order[0]
    return np.array_equal(np.transpose(payoffs[order], axes), payoffs)


def static_number(value: Any) -> Any:
    """The number in an array of one number, which can be a static field. Other values are returned unchanged."""
    return value.item() if isinstance(value, jax.Array | np.ndarray) and concrete(value) and value.ndim == 0 else value
