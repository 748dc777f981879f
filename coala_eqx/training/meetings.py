"""Who meets whom: the line-ups of a pool's meetings, and the draws that fill them."""

import dataclasses
from collections.abc import Sequence

import jax
from jaxtyping import Array, Int, Key

from coala_eqx.training.agent import Agent

NAIVE = -1
"""Mark of a seat that a naive learner fills."""


@dataclasses.dataclass(frozen=True)
class Class:
    """Agents that have the same seats."""

    members: tuple[int, ...]
    """Numbers of these agents in the pool."""

    learns: tuple[int, ...]
    """Seats in which they learn."""

    fills: tuple[int, ...]
    """Seats in which others meet them."""


@dataclasses.dataclass(frozen=True)
class LineUp:
    """One kind of meeting of the agents of a class, who sit in one seat."""

    seat: int
    """The agents' seat."""

    kind: str
    """`naive` for meetings with naive learners only, `meta` for meetings with other agents."""

    fillings: tuple[int, ...]
    """Co-players in the other seats, in ascending order: the number of a class, or `NAIVE`."""

    meetings: int
    """Number of such meetings that an agent has in an iteration."""


def classes_of(agents: Sequence[Agent], players: int) -> tuple[Class, ...]:
    """The classes of a pool's agents, in the order of their first members.

    **Raises** `ValueError` for seats that the game does not have, or for classes that share some of their seats but not
    all.
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
            "Two agents must have the same seats or none in common, but `seats` are "
            f"{', '.join(str(agent.seats) for agent in agents)}."
        )
    return classes


def line_ups(classes: Sequence[Class], own: int, players: int, naive: int, meta: int) -> tuple[LineUp, ...]:
    """The line-ups of each agent of a class in an iteration: for each seat, naive learners only, then other agents.

    **Arguments:**

    - `own`: number of the class.
    - `naive`, `meta`: numbers of meetings of either kind. The number of the class's seats divides them.
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
    """Draw the opponents of all meetings in a line-up. **Returns** them by filling, in the order of their seats.

    Opponents of a class are indices of its members, all different within a meeting. Naive learners are numbers of the
    policies that they start from.

    **Arguments:**

    - `place`: the agent's own index among the members of its class. It does not meet itself.
    - `starts`: number of policies that naive learners can start from.
    - `key`: random key of the line-up's kind.
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
        # Indices from the agent's own on move up by one, which leaves the agent out.
        drawn[filling] = met + (met >= place).astype(met.dtype) if filling == own else met
    return drawn


def _different(key: Key[Array, ""], meetings: int, seats: int, number: int) -> Int[Array, "meetings seats"]:
    """Numbers below `number`, all different within a meeting."""
    if seats == 1:
        return jax.random.randint(key, (meetings, 1), 0, number)
    keys = jax.random.split(key, meetings)
    return jax.vmap(lambda key: jax.random.permutation(key, number)[:seats])(keys)
