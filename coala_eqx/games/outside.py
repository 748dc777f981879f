"""The protocols of environments of other libraries: players, actions, observations, and the results of a step.

Everything is asked of methods and attributes, so that an environment of one's own needs no base class.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from coala_eqx.arrays import Frozen
from coala_eqx.games.spaces import ActionSpace, Box, Discrete

ALL = "__all__"
"""Key of `dones` in JaxMARL: whether the environment has come to its end for all players."""

INNER_END = "inner_episode_done"
"""Key of `infos` in JaxMARL's coin game: whether an inner episode has ended, after which it starts anew by itself."""


class Unfit(ValueError):
    """Says what an environment lacks, told apart from the environment's own errors."""


class Transition(eqx.Module):
    """The result of a step, by any of the protocols."""

    observations: Any
    state: Any
    rewards: Any
    ended: Bool[Array, ""]
    """Whether the environment has come to its end."""


def transition(given: Any) -> Transition:
    """The result of a step: observations, state, rewards, and what tells of an end, if anything does.

    An end is `dones["__all__"]`, or else that all of `dones` hold (JaxMARL); a `done`, of all players or one for each;
    `terminated` or `truncated` (Gymnax's `step`); or `infos["inner_episode_done"]` (JaxMARL's coin game).

    **Raises** `Unfit` unless an end is a truth value, or one for each player.
    """
    observations, state, rewards, *rest = given
    *dones, infos = rest if len(rest) > 1 else (*rest, {})
    ends = [_all_done(done) for done in dones if done is not None]
    if isinstance(infos, Mapping) and INNER_END in infos:
        ends.append(jnp.asarray(infos[INNER_END]))
    for end in ends:
        if end.ndim > 1:
            raise Unfit(
                "A step must say by one truth value, or one for each player, whether the environment is done, but gave "
                f"an array of shape {end.shape}."
            )
    ended = jnp.stack([end.astype(bool).all() for end in ends]).any() if ends else jnp.zeros((), bool)
    return Transition(observations, state, rewards, ended)


def _all_done(done: Any) -> Array:
    if not isinstance(done, Mapping):
        return jnp.asarray(done)
    if ALL in done:
        return jnp.asarray(done[ALL])
    each = [jnp.asarray(one, bool) for one in done.values()]
    return jnp.stack(each).all() if each else jnp.zeros((), bool)


def players_of(environment: Any) -> tuple[Any, ...]:
    """The names of the players, or their numbers. An environment that names nobody has one player, as in Gymnax.

    **Raises** `Unfit` if the number of players is not a whole number, or two have one name.
    """
    name = type(environment).__name__
    agents = getattr(environment, "agents", None)
    if agents is None:
        counts = [getattr(environment, one) for one in ("num_agents", "num_players") if hasattr(environment, one)]
        number = counts[0] if counts else 1
        if number is None:
            raise Unfit(f"{name} must say who plays: `agents`, `num_agents` or `num_players`.")
        if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < 1:
            raise Unfit(f"{name} must have a whole number of players, at least 1, but has {number!r}.")
        agents = range(int(number))
    players = tuple(agents)
    if not players:
        raise Unfit(f"{name} must have a player or more, but `agents` is empty.")
    if len(set(players)) < len(players):
        raise Unfit(f"{name} must have players of different names, but has {players}.")
    return players


def names_players(environment: Any) -> bool:
    """Whether the environment says who plays. If not, it takes and gives the bare values of its one player."""
    return any(hasattr(environment, one) for one in ("agents", "num_agents", "num_players"))


def by_player(environment: Any, players: Sequence[Any], values: Any) -> list[Any]:
    """The values of each player, from a dictionary by names, or a sequence.

    **Raises** `Unfit` unless there is one for each player.
    """
    if not names_players(environment):
        return [values]
    if isinstance(values, Mapping) and set(players) <= set(values):
        return [values[player] for player in players]
    if not isinstance(values, Mapping) and len(values) == len(players):
        return list(values)
    raise Unfit(
        f"{type(environment).__name__}: there must be one observation, and one reward, for each of the players "
        f"{', '.join(map(str, players))}, but there are {list(values)!r}."
    )


class Bounds(eqx.Module):
    """The least and the largest of each component of a continuous action, and its shape in the environment."""

    low: Frozen
    high: Frozen
    shape: tuple[int, ...] = eqx.field(static=True)

    def fitting(self, action: Float[Array, " components"]) -> Float[Array, "..."]:
        """The action, clipped, in the environment's shape."""
        return jnp.clip(action, self.low.array, self.high.array).reshape(self.shape)


def actions_of(environment: Any, player: Any, params: tuple[Any, ...]) -> tuple[ActionSpace, Bounds | None]:
    """The space of a player's actions, with bounds if they are continuous.

    `n` of its `action_space` numbers discrete actions, or `num_actions` where there is no such space; `low`, `high` and
    `shape` make it continuous.

    **Raises** `Unfit` for a space of another kind.
    """
    name, space = type(environment).__name__, _space(environment, "action_space", player, params)
    if space is None or hasattr(space, "n"):
        return Discrete(_number_of_actions(environment, space)), None
    if not all(hasattr(space, one) for one in ("low", "high", "shape")):
        shape = f" of shape {tuple(space.shape)}" if hasattr(space, "shape") else ""
        raise Unfit(
            f"{name}: the actions of a player must be discrete, by an `action_space` with a positive whole `n`, or "
            f"`num_actions`, or continuous, by one with `low`, `high` and `shape`, but those of {player!r} are a "
            f"{type(space).__name__}{shape}. Wrap the environment so that numbers stand for actions."
        )
    shape = tuple(int(size) for size in space.shape)
    if not (size := math.prod(shape)):
        raise Unfit(f"{name}: a continuous action must have a component or more, but has shape {shape}.")
    low, high = (np.broadcast_to(np.asarray(one, float), shape).ravel() for one in (space.low, space.high))
    if not (low <= high).all():
        raise Unfit(f"{name}: actions must have bounds low ≤ high, but these are {low.tolist()} and {high.tolist()}.")
    return Box(size), Bounds(Frozen(low), Frozen(high), shape)


def _number_of_actions(environment: Any, space: Any) -> int:
    name = type(environment).__name__
    number = None
    with suppress(Exception):  # of any kind, as it is somebody else's
        number = environment.num_actions if space is None else space.n
    with suppress(TypeError, ValueError):
        if (whole := int(number)) > 0 and whole == number:  # pyright: ignore[reportArgumentType] (None: TypeError)
            return whole
    raise Unfit(
        f"{name}: actions must be discrete (0, 1, …), by an `action_space` with a positive whole `n`, or "
        f"`num_actions`, but their number is {number!r}."
    )


def _space(environment: Any, method: str, player: Any, params: tuple[Any, ...]) -> Any:
    """A space, by the player's name (JaxMARL) or by the parameters (Gymnax); `None` if there is no such."""
    for arguments in ((player,), params) if names_players(environment) else (params, ()):
        with suppress(Exception):  # of any kind, as it is somebody else's
            return getattr(environment, method)(*arguments)
    return None


def as_vector(observation: Any) -> Float[Array, " features"]:
    """An observation as a vector: its arrays, flattened and joined.

    **Raises** `Unfit` unless it is an array of real numbers, or a tree of them.
    """
    leaves = jax.tree.leaves(observation)
    for leaf in leaves:
        if not _is_real(leaf):
            raise Unfit(f"An observation must be an array of real numbers, or a tree of them, but has {leaf!r}.")
    if not leaves:
        raise Unfit("An observation must be an array of real numbers, or a tree of them, but is empty.")
    return jnp.concatenate([jnp.ravel(leaf).astype(jnp.result_type(float)) for leaf in leaves])


def together(observations: Sequence[Any], flatten: bool) -> Shaped[Array, "players *features"]:
    """The observations of all players in one array: vectors, the shorter ones filled up by 0; or arrays as they are.

    **Raises** `Unfit` unless they are arrays of real numbers and, where they stay as they are, alike.
    """
    if flatten:
        vectors = [as_vector(observation) for observation in observations]
        longest = max(map(len, vectors))
        return jnp.stack([jnp.pad(vector, (0, longest - len(vector))) for vector in vectors])
    for observation in observations:
        if not _is_real(observation):
            raise Unfit(
                f"With `flatten=False` an observation must be one array of real numbers, but is {observation!r}. Leave "
                "`flatten` at True to make vectors of trees."
            )
    arrays = [jnp.asarray(observation) for observation in observations]
    if len(kinds := {(array.shape, array.dtype) for array in arrays}) > 1:
        raise Unfit(
            "With `flatten=False` all players must observe arrays of one shape and type, but theirs are "
            f"{' and '.join(sorted(f'{dtype}{list(shape)}' for shape, dtype in kinds))}. Leave `flatten` at True to "
            "make vectors of one length."
        )
    array = jnp.stack(arrays)
    return array if _is_number(arrays[0]) else array.astype(jnp.result_type(float))


def number_of_observations(environment: Any, player: Any, params: tuple[Any, ...], seen: Any) -> int:
    """The number of different observations if they are integers, else the count of numbers in one.

    **Raises** `Unfit` for integers without an `observation_space` that says how many there are, or for an observation
    without numbers.
    """
    if not _is_number(seen):
        if not seen.size:
            raise Unfit(f"{type(environment).__name__}: observations must hold a number or more, but are empty.")
        return seen.size
    space = _space(environment, "observation_space", player, params)
    with suppress(TypeError, ValueError, AttributeError):
        if (number := int(space.n)) > 0:
            return number
    raise Unfit(
        f"{type(environment).__name__}: observations are integers, whose number must be `n` of `observation_space`, "
        f"but this is {space!r}. Leave `flatten` at True to see them as vectors of length 1."
    )


class Held:
    """An environment as a static part of a game, shown by its class and settings: numbers, words, and tuples of them.

    It shows no address, so that two processes say the same of one run.
    """

    def __init__(self, environment: Any):
        self.environment = environment

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self.environment == other.environment

    def __hash__(self) -> int:
        return hash(self.environment)

    def __repr__(self) -> str:
        settings = sorted(getattr(self.environment, "__dict__", {}).items())
        words = [f"{name}={value!r}" for name, value in settings if _is_plain(value)]
        return f"{type(self.environment).__qualname__}({', '.join(words)})"


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _is_real(value: Any) -> bool:
    kinds = (jnp.bool_, jnp.integer, jnp.floating)
    return hasattr(value, "dtype") and any(jnp.issubdtype(value.dtype, kind) for kind in kinds)


def _is_number(value: Any) -> bool:
    """Whether an observation is an integer, which numbers what is seen."""
    return not value.shape and jnp.issubdtype(value.dtype, jnp.integer)
