"""A pool of meta agents that learn from playing naive learners and each other."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from coala_eqx._checks import whole
from coala_eqx.games import AbstractGame, seen_from
from coala_eqx.learners import Static, update_rule
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import ShapingProblem
from coala_eqx.training.agent import Agent, NaiveLearners
from coala_eqx.training.algorithms.base import AlgorithmState
from coala_eqx.training.beginning import initial_state
from coala_eqx.training.critics import CriticState
from coala_eqx.training.data import data_of, learn_critic
from coala_eqx.training.deprecated import members_of, with_policies
from coala_eqx.training.fit import check_pool, static_number
from coala_eqx.training.groups import groups_of, take
from coala_eqx.training.info import PoolInfo, all_finite, in_order, info_of
from coala_eqx.training.layout import Layout
from coala_eqx.training.meetings import NAIVE, Class, LineUp, classes_of, line_ups
from coala_eqx.training.play import meet, played_only, starts
from coala_eqx.training.state import PoolState, members


class Pool(eqx.Module):
    """Who meets whom, and the game that they play.

    In each iteration every agent has `meta_batch` meetings, of `batch` games each. In a share `p_naive` of them, all
    co-players are naive learners. In the rest, other meta agents fill the seats that they have. They are drawn
    uniformly, and none fills two seats of a meeting. Naive learners fill the seats that are left. Meta agents do not
    learn within a meeting.

    **Arguments:**

    - `game`: the game, of any number of players.
    - `agents`: the meta agents.
    - `naive`: the naive learners. They are not needed in a game of one player, in which agents play alone.
    - `batch`, `episodes`, `steps`, `meta_batch`: B, M, T and B̄.
    - `p_naive`: share of meetings with naive learners only. p_naive · meta_batch must be a whole number.
    - `dynamic_naive`: whether naive learners start from the parameters of a uniformly drawn meta agent, instead of
      those of the naive population.

    **Raises** `ValueError` for settings that do not fit each other.

    Source: Meulemans et al. (2025), Section 5 and App. A and B.
    """

    game: AbstractGame
    agents: tuple[Agent, ...]
    naive: NaiveLearners
    batch: int = eqx.field(static=True)
    episodes: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    meta_batch: int = eqx.field(static=True)
    p_naive: float = eqx.field(static=True)
    dynamic_naive: bool = eqx.field(static=True)

    def __init__(
        self,
        game: AbstractGame,
        agents: Any = None,
        naive: Any = None,
        *,
        batch: Any,
        episodes: Any,
        steps: Any,
        meta_batch: Any,
        p_naive: Any = 1.0,
        dynamic_naive: Any = False,
        **former: Any,
    ):
        if former:
            agents, naive = members_of(**former)
        self.game = game
        self.agents = agents
        self.naive = _nobody_if_alone(game, naive)
        self.batch = whole("batch", batch)
        self.episodes = whole("episodes", episodes)
        self.steps = whole("steps", steps)
        self.meta_batch = whole("meta_batch", meta_batch)
        self.p_naive = static_number(p_naive)
        self.dynamic_naive = dynamic_naive

    def __check_init__(self):
        check_pool(self)

    @property
    def num_naive(self) -> int:
        """Number of an agent's meetings with naive learners only."""
        return round(self.p_naive * self.meta_batch)

    @property
    def num_meta(self) -> int:
        """Number of an agent's meetings with other agents."""
        return self.meta_batch - self.num_naive

    @property
    def classes(self) -> tuple[Class, ...]:
        """The classes of agents. Agents of a class have the same seats."""
        return classes_of(self.agents, self.game.num_players)

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of the agents in each group. A group has one class, network and algorithm, and is vectorised."""
        return groups_of(self.agents)

    def class_of(self, agent: int) -> int:
        """The number of an agent's class."""
        return next(number for number, one in enumerate(self.classes) if agent in one.members)

    @property
    def populations(self) -> dict[int, int]:
        """The number of each seat's naive population. Seats with the same sizes share one."""
        kinds: dict[Any, int] = {}
        learns = {seat for one in self.classes for seat in one.learns}
        seats = [seat for seat in range(self.game.num_players) if learns - {seat}]  # seats in which somebody is met
        for seat in seats:
            kinds.setdefault(self._kind(seat), len(kinds))
        return {seat: kinds[self._kind(seat)] for seat in seats}

    def _kind(self, seat: int) -> Any:
        own = self.naive.policy[seat] if isinstance(self.naive.policy, tuple) else None
        return self.game.num_observations[seat], self.game.action_spaces[seat], own

    def other_seats(self, line_up: LineUp) -> tuple[int, ...]:
        """The seats of the co-players."""
        return tuple(seat for seat in range(self.game.num_players) if seat != line_up.seat)

    def problem(self, line_up: LineUp, co_players: tuple[AbstractPolicy, ...], episodes: int) -> ShapingProblem:
        """The shaping problem of a meeting. Naive learners learn. Meta agents remember and do not learn."""
        remembering = tuple(filling != NAIVE for filling in line_up.fillings)
        return ShapingProblem(
            game=seen_from(self.game, line_up.seat),
            co_players=co_players,
            learner=tuple(Static() if remembers else self.naive.learner for remembers in remembering),
            batch=self.batch,
            episodes=episodes,
            steps=self.steps,
            co_players_remember=remembering,
        )

    def line_ups(self, own: int) -> tuple[LineUp, ...]:
        """The kinds of meetings of the agents of a class."""
        return line_ups(self.classes, own, self.game.num_players, self.num_naive, self.num_meta)

    def init(self, key: Any, *former: Any) -> PoolState:
        """The state before the first iteration.

        **Raises** `ValueError` if a function returns no policy.
        """
        if former:
            agents, naive = with_policies(self.agents, self.naive, key, *former[:-1])
            return dataclasses.replace(self, agents=agents, naive=naive).init(former[-1])
        return initial_state(self, key)

    def agent(self, state: PoolState, number: int) -> AbstractPolicy:
        """The policy of one agent."""
        group, place = next((g, group.index(number)) for g, group in enumerate(self.groups) if number in group)
        return members(state.groups[group], place)

    def iterate(self, state: PoolState, layout: Layout = Layout()) -> tuple[PoolState, PoolInfo]:
        """One iteration of all agents, which update simultaneously. It is pure, and can be used in `jit` and `vmap`.

        **Raises** `Inapplicable`, a `ValueError`, if an estimator needs what the game or the learner lacks.
        """
        self.check_problem(state)
        keys = jax.random.split(jax.random.fold_in(state.key, state.iteration), len(self.agents))
        critics = state.critics or (None,) * len(self.groups)
        befores = zip(state.groups, state.algorithms, critics, strict=True)
        of_critics = jax.random.split(state.critics_key(), len(self.agents))
        moved = [
            self._iterate_group(state, group, *before, (take(keys, group), take(of_critics, group)), layout)
            for group, before in zip(self.groups, befores, strict=True)
        ]
        agents, algorithms, critics, infos = zip(*moved, strict=True)
        state = PoolState(agents, algorithms, state.populations, state.key, state.iteration + 1, critics)
        return state, in_order(infos, self.groups)

    def _iterate_group(
        self,
        state: PoolState,
        group: tuple[int, ...],
        agents: AbstractPolicy,
        algorithms: AlgorithmState,
        critics: CriticState | None,
        keys: tuple[Key[Array, " agents"], Key[Array, " agents"]],
        layout: Layout,
    ) -> tuple[AbstractPolicy, AlgorithmState, CriticState | None, PoolInfo]:
        """One iteration of agents with leaves `[agents, …]`."""
        own = self.class_of(group[0])
        places = jnp.asarray([self.classes[own].members.index(number) for number in group])
        algorithm = self.agents[group[0]].algorithm

        def one(agent: AbstractPolicy, before: Any, learning: Any, place: Array, index: Array, keys: Any) -> Any:
            (key_play, key_update), key_critic = jax.random.split(keys[0]), keys[1]
            critic = None if learning is None else learning.critic
            met = meet(self, state, agent, own, place, key_play, layout, None if critic is None else critic.probe)
            data = data_of(self, group, index, agent, met, layout, critic=critic, updates=before.updates)
            agent, after, info = update_rule(algorithm, agent, before, data, key_update)
            learned = learn_critic(self.agents[group[0]], learning, met, key_critic)
            return agent, after, learned, ([played_only(one.episodes) for one in met], info)

        moved, algorithms, critics, (played, update) = eqx.filter_vmap(one)(
            agents, algorithms, critics, places, jnp.arange(len(group)), keys
        )
        kinds = self.line_ups(own)
        played_naive, played_meta = (
            [one for line_up, one in zip(kinds, played, strict=True) if line_up.kind == kind]
            for kind in ("naive", "meta")
        )
        seats = kinds[0].seat, *self.other_seats(kinds[0])[:1]
        actions = tuple(self.game.action_spaces[seat] for seat in seats)
        finite = all_finite(moved, agents)
        return moved, algorithms, critics, info_of(self.game, played_naive, played_meta, actions, update, finite)

    def check_problem(self, state: PoolState) -> None:
        """**Raises** `Inapplicable`, a `ValueError`, if an estimator needs what the game or the learner lacks."""
        for number, agent in enumerate(self.agents):
            line_up = self.line_ups(self.class_of(number))[0]
            co_players = tuple(members(starts(self, state, seat), 0) for seat in self.other_seats(line_up))
            agent.estimator.check_problem(self.problem(line_up, co_players, 1))


def _nobody_if_alone(game: Any, naive: Any) -> Any:
    """The naive learners. In a game of one player the default is a stand-in that is never met."""
    alone = isinstance(game, AbstractGame) and game.num_players == 1
    return NaiveLearners(Static()) if alone and naive is None else naive
