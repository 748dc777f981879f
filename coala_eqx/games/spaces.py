"""Spaces of observations and actions, and the attributes of games that follow from them."""

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from coala_eqx._checks import whole


@dataclasses.dataclass(frozen=True)
class Discrete:
    """The integers 0, …, n − 1.

    **Raises** `ValueError` unless `n` is a whole number, at least 1.
    """

    n: int

    def __post_init__(self):
        _make_whole(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one element."""
        return ()

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.n


@dataclasses.dataclass(frozen=True)
class _Vectors:
    """Vectors of n numbers."""

    n: int

    def __post_init__(self):
        _make_whole(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one element."""
        return (self.n,)

    @property
    def size(self) -> int:
        """Length."""
        return self.n


class Vector(_Vectors):
    """Vectors of n real numbers, as observations.

    **Raises** `ValueError` unless `n` is a whole number, at least 1.
    """


@dataclasses.dataclass(frozen=True)
class Image:
    """Images of `height` × `width` pixels with `channels` numbers each, as observations; channels are the last axis.

    **Raises** `ValueError` unless all sizes are whole numbers, at least 1.
    """

    height: int
    width: int
    channels: int

    def __post_init__(self):
        _make_whole(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one element."""
        return (self.height, self.width, self.channels)

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)


class Box(_Vectors):
    """Vectors of n real numbers without bounds, as actions. A game that needs bounds clips what it is given.

    **Raises** `ValueError` unless `n` is a whole number, at least 1.
    """


ObservationSpace = Discrete | Vector | Image
ActionSpace = Discrete | Box


def _make_whole(space: Any) -> None:
    """Turn all sizes into Python's integers, so that equal spaces are equal in all that is made of them."""
    for field in dataclasses.fields(space):
        object.__setattr__(space, field.name, whole(field.name, getattr(space, field.name)))


class Derived:
    """An attribute that a class may declare. Where it does not, a function of the instance gives the value.

    Fields, properties and class attributes of derived classes all take precedence.
    """

    def __init__(self, function: Callable[[Any], Any]):
        self.function = function

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else self.function(instance)


def declares(instance: Any, name: str) -> bool:
    """Whether an attribute of this name is declared, and not derived."""
    return not isinstance(inspect.getattr_static(instance, name, None), Derived)


def observation_spaces(game: Any) -> tuple[ObservationSpace, ...]:
    """The spaces of a game that declares numbers: by the shape and type of what is observed."""
    numbers, seen = _numbers(game, "observation"), game.observation_type()
    if not seen.shape and not jnp.issubdtype(seen.dtype, jnp.floating):
        return tuple(Discrete(whole("num_observations", number)) for number in numbers)
    if len(seen.shape) < 2:
        return tuple(Vector(whole("num_observations", number)) for number in numbers)
    if len(seen.shape) == 3:
        return (Image(*seen.shape),) * len(numbers)
    raise ValueError(
        f"No space describes the observations of {type(game).__name__}, arrays of shape {list(seen.shape)}: flatten "
        f"them to vectors, or add an axis of channels to make them images."
    )


def action_spaces(game: Any) -> tuple[ActionSpace, ...]:
    """The spaces of a game that declares numbers: all are discrete."""
    numbers = _numbers(game, "action")
    for player, number in enumerate(numbers):
        if not isinstance(number, int | np.integer) or number < 1:
            raise ValueError(
                f"The actions of player {player} must be discrete (0, 1, …), and their number at least 1, but "
                f"`num_actions` of {type(game).__name__} says {number!r}. For continuous actions declare "
                f"`action_spaces`, such as (Box(2), Box(2))."
            )
    return tuple(Discrete(int(number)) for number in numbers)


def sizes(kind: str) -> Callable[[Any], tuple[int, ...]]:
    """The function that gives `num_observations` or `num_actions` of a game that declares spaces."""

    def of(game: Any) -> tuple[int, ...]:
        if not declares(game, f"{kind}_spaces"):
            raise _undeclared(game, kind)
        return tuple(space.size for space in getattr(game, f"{kind}_spaces"))

    return of


def _numbers(game: Any, kind: str) -> tuple[Any, ...]:
    if not declares(game, f"num_{kind}s"):
        raise _undeclared(game, kind)
    return tuple(getattr(game, f"num_{kind}s"))


def _undeclared(game: Any, kind: str) -> ValueError:
    return ValueError(f"{type(game).__name__} must declare `{kind}_spaces` or `num_{kind}s`, but declares neither.")


def check_spaces(game: Any) -> None:
    """**Raises** `ValueError` unless a game's declared spaces fit each other, and what it shows.

    All players' observations are rows of one array, and so are their actions.
    """
    for kind in ("observation", "action"):
        name = f"{kind}_spaces"
        if kind == "observation" and not declares(game, name):
            continue
        spaces, allowed = getattr(game, name), ActionSpace if kind == "action" else ObservationSpace
        if not isinstance(spaces, tuple) or not all(isinstance(space, allowed) for space in spaces):
            known = "Discrete(n) or Box(n)" if kind == "action" else "Discrete(n), Vector(n) or Image(h, w, c)"
            raise ValueError(f"`{name}` of {type(game).__name__} must be a tuple of {known}, but is {spaces!r}.")
        if len(spaces) != game.num_players:
            raise ValueError(
                f"{type(game).__name__} has {game.num_players} players, so `{name}` must have as many entries, but is "
                f"{spaces!r}."
            )
        number = f"num_{kind}s"
        if declares(game, name) and declares(game, number):
            sizes, declared = tuple(space.size for space in spaces), tuple(getattr(game, number))
            if sizes != declared:
                raise ValueError(
                    f"{type(game).__name__} declares `{number}` = {declared}, but its `{name}` {spaces!r} have the "
                    f"sizes {sizes}. Leave `{number}` out."
                )
        if len({(type(space), space.shape) for space in spaces}) > 1:
            raise ValueError(
                f"The {kind}s of all players are rows of one array. `{name}` of {type(game).__name__} must be of one "
                f"kind and shape, but is {spaces!r}. Pad the shorter vectors, and let the game ignore the rest."
            )
    if declares(game, "observation_spaces"):
        _check_shown(game)


def _check_shown(game: Any) -> None:
    space, seen = game.observation_spaces[0], game.observation_type()
    is_integer = not jnp.issubdtype(seen.dtype, jnp.floating)
    if seen.shape != space.shape or (isinstance(space, Discrete) and not is_integer):
        wanted = "integers" if isinstance(space, Discrete) else f"arrays of shape {list(space.shape)}"
        raise ValueError(
            f"{type(game).__name__} says that its players observe {space}, which are {wanted}, but shows "
            f"{_words(seen)}."
        )


def _words(seen: jax.ShapeDtypeStruct) -> str:
    return f"{seen.dtype}{list(seen.shape)}"
