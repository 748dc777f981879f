"""Playing of meetings: opponents are drawn, and meta-episodes are sampled."""

import dataclasses
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from coala_eqx.estimators import LearnerCritic
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import AbstractProbe, MetaEpisode
from coala_eqx.training.layout import Layout
from coala_eqx.training.meetings import NAIVE, LineUp, draw
from coala_eqx.training.pieces import map_in_groups
from coala_eqx.training.state import PoolState, members, number_of

if TYPE_CHECKING:
    from coala_eqx.training.pool import Pool


class Met(eqx.Module):
    """Meta-episodes of one agent in one line-up."""

    line_up: LineUp = eqx.field(static=True)

    episodes: MetaEpisode
    """Leaves `[meetings, batch, …]`."""


def meet(
    pool: "Pool",
    state: PoolState,
    agent: AbstractPolicy,
    own: int,
    place: Int[Array, ""],
    key: Key[Array, ""],
    layout: Layout,
    probe: AbstractProbe | None = None,
) -> list[Met]:
    """Play all meetings of an agent in one iteration, by line-up.

    **Arguments:**

    - `own`: number of the agent's class.
    - `place`: the agent's index among the members of the class.
    - `probe`: shows what naive learners have learned, in meetings with them.
    """
    kinds = pool.line_ups(own)
    pairs = tuple(zip(kinds[::2], kinds[1::2], strict=True))
    keys = [key] if len(pairs) == 1 else jax.random.split(key, len(pairs))
    met = []
    for pair, key_seat in zip(pairs, keys, strict=True):
        key_draw, key_play = jax.random.split(key_seat)
        each = jax.random.split(key_play, sum(line_up.meetings for line_up in pair))
        some = each[: pair[0].meetings], each[pair[0].meetings :]
        for line_up, key_kind, keys_play in zip(pair, jax.random.split(key_draw), some, strict=True):
            opponents = draw_opponents(pool, state, own, place, line_up, key_kind)
            shown = probe if line_up.kind == "naive" else None
            met.append(Met(line_up, play(pool, agent, line_up, opponents, keys_play, layout, shown)))
    return met


def meet_some(
    pool: "Pool",
    state: PoolState,
    number: int,
    kind: str,
    meetings: int,
    key: Key[Array, ""],
    layout: Layout,
    agent: AbstractPolicy | None = None,
) -> MetaEpisode:
    """Play some meetings of one agent in the first of its seats. **Returns** leaves `[meetings, …]`.

    `kind` is `naive` or `meta`. If `agent` is given, this policy plays in the agent's place.
    """
    own = pool.class_of(number)
    line_up = next(one for one in pool.line_ups(own) if one.kind == kind)
    line_up = dataclasses.replace(line_up, meetings=meetings)
    place = jnp.asarray(pool.classes[own].members.index(number))
    key_draw, key_play = jax.random.split(key)
    key_kind = jax.random.split(key_draw)[int(kind == "meta")]
    opponents = draw_opponents(pool, state, own, place, line_up, key_kind)
    policy = pool.agent(state, number) if agent is None else agent
    return play(pool, policy, line_up, opponents, jax.random.split(key_play, meetings), layout)


def draw_opponents(
    pool: "Pool", state: PoolState, own: int, place: Int[Array, ""], line_up: LineUp, key: Key[Array, ""]
) -> tuple[AbstractPolicy, ...]:
    """Draw the co-players of all meetings in a line-up, leaves `[meetings, …]`: none in a game of one player."""
    if not line_up.fillings:
        return ()
    begin = agents_of(pool, state, 0) if pool.dynamic_naive else state.populations[0]
    drawn = draw(pool.classes, own, place, line_up, number_of(begin), key)
    used = dict.fromkeys(drawn, 0)
    found = []
    for seat, filling in zip(pool.other_seats(line_up), line_up.fillings, strict=True):
        source = starts(pool, state, seat) if filling == NAIVE else agents_of(pool, state, filling)
        found.append(members(source, drawn[filling][:, used[filling]]))
        used[filling] += 1
    return tuple(found)


def play(
    pool: "Pool",
    agent: AbstractPolicy,
    line_up: LineUp,
    opponents: tuple[AbstractPolicy, ...],
    keys: Key[Array, " meetings"],
    layout: Layout,
    probe: AbstractProbe | None = None,
) -> MetaEpisode:
    """Play meta-episodes against opponents with leaves `[meetings, …]`."""

    def one(entry: tuple[tuple[AbstractPolicy, ...], Key[Array, ""]]) -> MetaEpisode:
        opponents, key = entry
        return pool.problem(line_up, opponents, pool.episodes).play(agent, key, probe)

    return map_in_groups(one, (opponents, keys), layout.group)


def starts(pool: "Pool", state: PoolState, seat: int) -> AbstractPolicy:
    """The policies that naive learners start from in a seat, leaves `[population, …]`."""
    return agents_of(pool, state, 0) if pool.dynamic_naive else state.populations[pool.populations[seat]]


def agents_of(pool: "Pool", state: PoolState, number: int) -> AbstractPolicy:
    """The agents of a class, leaves `[members, …]`. **Raises** `ValueError` if their networks differ."""
    wanted = pool.classes[number].members
    groups = [(group, made) for group, made in zip(pool.groups, state.groups, strict=True) if group[0] in wanted]
    if len(groups) == 1:
        return groups[0][1]
    arrays, rest = zip(*(eqx.partition(made, eqx.is_array) for _, made in groups), strict=True)
    order = np.argsort([member for group, _ in groups for member in group])
    try:
        together = jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[order], *arrays)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "Agents with the same seats must have networks of one structure and size, as they are drawn at random: "
            f"give them different seats, or the same network. ({error})"
        ) from error
    return eqx.combine(together, rest[0])


def critic_of(pool: "Pool", state: PoolState, number: int) -> LearnerCritic | None:
    """The critic of an agent that sees the learner, if there is one."""
    group = next(place for place, group in enumerate(pool.groups) if number in group)
    critics = state.critics[group] if state.critics else None
    return None if critics is None else members(critics.critic, pool.groups[group].index(number))


def by_agent(pool: "Pool", groups: tuple[AbstractPolicy, ...]) -> tuple[AbstractPolicy, ...]:
    """One policy for each agent, leaves `[seeds, …]`, from groups with leaves `[seeds, agents, …]`."""
    places = {
        number: (group, place) for group, numbers in enumerate(pool.groups) for place, number in enumerate(numbers)
    }
    return tuple(
        jax.tree.map(lambda leaf, place=place: leaf[:, place] if eqx.is_array(leaf) else leaf, groups[group])
        for _, (group, place) in sorted(places.items())
    )


def without_co_players(episodes: MetaEpisode) -> MetaEpisode:
    """The meta-episodes without the policies of co-players. These are still in the state from which they were drawn."""
    return eqx.tree_at(lambda episode: episode.co_player_policies, episodes, ())


def played_only(episodes: MetaEpisode) -> MetaEpisode:
    """The meta-episodes without the policies of co-players, and without their features."""
    return eqx.tree_at(lambda episode: episode.features, without_co_players(episodes), None, is_leaf=_is_none)


def _is_none(leaf: Any) -> bool:
    return leaf is None
