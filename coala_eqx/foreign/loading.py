"""Objects that a user names as `FILE.py:NAME` or `module:NAME`."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from coala_eqx.foreign.apart import ForeignError, in_one_line, run_apart
from coala_eqx.foreign.files import import_source

Kind = TypeVar("Kind")


def is_source(name: str) -> bool:
    """Whether a name is `FILE.py:NAME` or `module:NAME`, and none of the package's own."""
    return ":" in name


def load_callable(source: str, kind: type[Kind], what: str) -> Callable[..., Kind]:
    """A class of `kind`, or a function that makes one, from `FILE.py:NAME` or `module:NAME`.

    What it makes is checked at each call.

    **Raises** `ValueError` that says what was not found, what failed, or what was found instead.
    """
    found = find(source, kind, what)
    if not callable(found) or (inspect.isclass(found) and not _is_kind(found, kind)):
        raise ValueError(
            f"{source} makes no {what}: it must be a class of {kind.__name__}, or a function that makes one, but is "
            f"{in_one_line(found)}."
        )

    def make(*arguments: Any, **named: Any) -> Kind:
        return _checked(found(*arguments, **named), source, kind, what)

    return make


def load_object(source: str, kind: type[Kind], what: str) -> Kind:
    """Load an instance of `kind` from `FILE.py:NAME` or `module:NAME`. A class is called without arguments.

    **Raises** `ValueError` that says what was not found, what failed, or what was found instead.
    """
    found = find(source, kind, what)
    if isinstance(found, kind):
        return found
    if inspect.isabstract(found) and issubclass(found, kind):
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise ValueError(f"{source} is abstract: it must define {missing}.")
    if not _is_kind(found, kind):
        raise ValueError(
            f"{source} is not a valid {what}: it must be a subclass of {kind.__name__}, but is {in_one_line(found)}."
        )
    return _checked(made_apart(found, source, f"{source} cannot be made without arguments"), source, kind, what)


def find(source: str, kind: type, what: str) -> Any:
    """Look up the object that the source names. Dots separate names within a class."""
    place, _, name = source.rpartition(":")
    if not place or not name:
        raise ValueError(f"The {what} {source!r} must be written FILE.py:NAME or module:NAME.")
    module = import_source(place, what)
    found = made_apart(
        lambda: functools.reduce(lambda o, part: getattr(o, part, None), name.split("."), module),
        place,
        f"{source} cannot be looked up",
    )
    if found is None:
        offered = [
            key
            for key, value in vars(module).items()
            if _is_kind(value, kind) and getattr(value, "__module__", None) == module.__name__
        ]
        raise ValueError(
            f"{place} has no {name!r}; it defines {', '.join(offered)}."
            if offered
            else f"{place} has no {name!r}, and no other {what}."
        )
    return found


def made_apart(make: Callable[[], Any], program: str, otherwise: str) -> Any:
    """Run foreign code, and return its result. **Raises** `ValueError` that begins with `otherwise` and says why it
    failed.
    """
    try:
        return run_apart(make, program=program)
    except ForeignError as error:
        raise ValueError(f"{otherwise}: {error}") from error


def _checked(made: Any, source: str, kind: type[Kind], what: str) -> Kind:
    """What the source has made; **raises** `ValueError` unless it is an instance of `kind`."""
    if not isinstance(made, kind):
        raise ValueError(
            f"{source} is not a valid {what}: it must make an instance of {kind.__name__}, but makes "
            f"{in_one_line(made)}."
        )
    return made


def _is_kind(value: Any, kind: type) -> bool:
    return isinstance(value, kind) or (
        inspect.isclass(value) and issubclass(value, kind) and not inspect.isabstract(value)
    )
