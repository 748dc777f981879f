"""Who meets whom: the line-ups of a pool's meetings, and the draws that fill them."""

import dataclasses
from collections.abc import Sequence

import jax
from jaxtyping import Array, Int, Key

from coala_eqx.training.agent import Agent

NAIVE = -1
"""The filling of a seat by a naive learner."""


@dataclasses.dataclass(frozen=True)
class Class:
    """Agents that have the same seats."""

    members: tuple[int, ...]
    """Their numbers in the pool."""

    learns: tuple[int, ...]
    """Seats in which they learn."""

    fills: tuple[int, ...]
    """Seats in which others meet them."""


@dataclasses.dataclass(frozen=True)
class LineUp:
    """One kind of meeting of the agents of a class, who sit in one seat."""

    seat: int

    kind: str
    """`naive`: with naive learners only; `meta`: with other agents."""

    fillings: tuple[int, ...]
    """For each other seat, in ascending order: the number of a class, or `NAIVE`."""

    meetings: int
    """How many of them an agent has in an iteration."""


def classes_of(agents: Sequence[Agent], players: int) -> tuple[Class, ...]:
    """The classes of a pool's agents, in the order of their first members.

    **Raises** `ValueError` for seats that the game has not, or classes that share some of their seats, but not all.
    """
    by_seats: dict[tuple[int, ...] | None, list[int]] = {}
    for number, agent in enumerate(agents):
        seats = None if agent.seats is None else tuple(sorted(agent.seats))
        if seats is not None and seats[-1] >= players:
            raise ValueError(f"The game has {players} players, from 0 to {players - 1}, but `seats` is {agent.seats}.")
        by_seats.setdefault(seats, []).append(number)
    anywhere = tuple(range(players))
    classes = tuple(
        Class(tuple(members), (0,) if seats is None else seats, anywhere if seats is None else seats)
        for seats, members in by_seats.items()
    )
    taken = [seat for one in classes for seat in one.fills]
    if len(set(taken)) < len(taken):
        raise ValueError(
            "Agents must either have the same seats, or none in common, but `seats` are "
            f"{', '.join(str(agent.seats) for agent in agents)}."
        )
    return classes


def line_ups(classes: Sequence[Class], own: int, players: int, naive: int, meta: int) -> tuple[LineUp, ...]:
    """The kinds of meetings that each agent of a class has in an iteration: with naive learners only, then with agents.

    **Arguments:**

    - `own`: number of the class.
    - `naive`, `meta`: how many meetings of either kind; the number of the class's seats divides them.
    """
    found = []
    for seat in classes[own].learns:
        others = [other for other in range(players) if other != seat]
        left = {number: len(one.members) - (number == own) for number, one in enumerate(classes)}
        fillings = []
        for other in others:
            number = next((number for number, one in enumerate(classes) if other in one.fills), NAIVE)
            if number == NAIVE or not left[number]:
                fillings.append(NAIVE)
            else:
                left[number] -= 1
                fillings.append(number)
        seats = len(classes[own].learns)
        found.append(LineUp(seat, "naive", (NAIVE,) * len(others), naive // seats))
        found.append(LineUp(seat, "meta", tuple(fillings), meta // seats))
    return tuple(found)


def draw(
    classes: Sequence[Class], own: int, place: Int[Array, ""], line_up: LineUp, starts: int, key: Key[Array, ""]
) -> dict[int, Int[Array, "meetings seats"]]:
    """The opponents of all meetings in a line-up, for each filling in the order of the seats that have it.

    Of a class they are places of its members, all of one meeting different; of naive learners numbers of policies that
    they start from.

    **Arguments:**

    - `place`: the agent's own place among the members of its class; it does not meet itself.
    - `starts`: number of policies that naive learners start from.
    - `key`: of the kind of the line-up.
    """
    fillings = tuple(dict.fromkeys(line_up.fillings))
    keys = [key] if len(fillings) == 1 else jax.random.split(key, len(fillings))
    drawn = {}
    for filling, one_key in zip(fillings, keys, strict=True):
        seats = line_up.fillings.count(filling)
        if filling == NAIVE:
            drawn[filling] = jax.random.randint(one_key, (line_up.meetings, seats), 0, starts)
            continue
        others = len(classes[filling].members) - (filling == own)
        met = _different(one_key, line_up.meetings, seats, others)
        # Places from the agent's own on are moved up, so that it is left out.
        drawn[filling] = met + (met >= place).astype(met.dtype) if filling == own else met
    return drawn


def _different(key: Key[Array, ""], meetings: int, seats: int, number: int) -> Int[Array, "meetings seats"]:
    """Different numbers below `number`, for each meeting."""
    if seats == 1:
        return jax.random.randint(key, (meetings, 1), 0, number)
    keys = jax.random.split(key, meetings)
    return jax.vmap(lambda key: jax.random.permutation(key, number)[:seats])(keys)
