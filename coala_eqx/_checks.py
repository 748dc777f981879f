"""Validators of user input. Their errors name the value and what is needed."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from coala_eqx.arrays import concrete, is_number


def check_share(name: str, value: Any) -> None:
    """**Raises** `ValueError` unless the value lies between 0 and 1. Traced values are not checked."""
    if concrete(value) and not (is_number(value) and 0 <= value <= 1):
        raise ValueError(f"`{name}` must lie between 0 and 1, but is {value!r}.")


def check_whole(name: str, value: Any, least: int, why: str = "") -> None:
    """**Raises** `ValueError` unless the value is a whole number ≥ `least`. The message includes the reason `why`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise ValueError(f"`{name}` must be a whole number, but is {value!r}.")
    check_at_least(name, value, least, why)


def check_at_least(name: str, value: Any, least: int | float, why: str = "") -> None:
    """**Raises** `ValueError` unless the value is a finite number ≥ `least`. The message includes the reason `why`."""
    if not value >= least:
        raise ValueError(f"`{name}` must be at least {least}, {f'{why}, ' if why else ''}but is {value}.")
    if not _fits(value):
        raise ValueError(f"`{name}` must be finite, but is {value}.")


def check_sizes(**sizes: Any) -> None:
    """**Raises** `ValueError` unless every size is a whole number ≥ 1 or `None`."""
    for name, size in sizes.items():
        if size is not None:
            check_whole(name, size, 1)


def whole(name: str, value: Any) -> int:
    """The value as an integer. **Raises** `ValueError` unless it equals a whole number ≥ 1."""
    try:
        integer = 0 if isinstance(value, bool | np.bool_ | str) else int(value)
    except (TypeError, ValueError, OverflowError):
        integer = 0
    if integer < 1 or integer != value:
        raise ValueError(f"`{name}` must be an integer ≥ 1, but is {value!r}.")
    return integer


def check_finite(name: str, value: Any) -> None:
    """**Raises** `ValueError` unless the value is a finite number. Traced values are not checked."""
    if concrete(value) and not (is_number(value) and _fits(value)):
        raise ValueError(f"`{name}` must be a finite number, but is {value!r}.")


def check_not_negative(name: str, value: Any) -> None:
    """**Raises** `ValueError` unless the value is a finite number ≥ 0. Traced values are not checked."""
    check_finite(name, value)
    if concrete(value) and value < 0:
        raise ValueError(f"`{name}` must not be negative, but is {value}.")


def check_positive(name: str, value: Any) -> None:
    """**Raises** `ValueError` unless the value is a finite number > 0. Traced values are not checked."""
    check_finite(name, value)
    if concrete(value) and value <= 0:
        raise ValueError(f"`{name}` must be positive, but is {value}.")


def check_flag(name: str, value: Any) -> None:
    """**Raises** `ValueError` unless the value is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"`{name}` must be True or False, but is {value!r}.")


def check_choice(name: str, value: Any, known: Iterable[Any]) -> None:
    """**Raises** `ValueError` unless the value is one of the known ones, and of the same type."""
    known = [*known]
    if not any(value == one and type(value) is type(one) for one in known):
        *others, last = map(repr, known)
        raise ValueError(f"`{name}` must be {', '.join(others)} or {last}, but is {value!r}.")


def _fits(value: Any) -> bool:
    """Whether a number is finite, also after conversion to a float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
