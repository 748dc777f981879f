"""Settings of an experiment: small dataclasses, and the names that a command gives them.

A settings class is composed of groups (`game`, `agent`, `learner`, `pool`, `run`, `layout`) and of the figure's own
settings. Settings of the agents and of the naive learners are named with the group, such as `agent.rate`. All others
are named alone, such as `seeds`. A run notes its settings under these names.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import tyro

from coala_eqx import _checks
from coala_eqx.runs.settings import named

ALONE = tyro.conf.arg(name="")
"""Marks a group whose settings are named alone on the command line."""

Settings = TypeVar("Settings")


def override(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with changes, by name.

    **Raises** `ValueError` for an unknown name, a value of another type, or settings that do not fit each other.
    """
    there = named(settings)
    if unknown := sorted(set(changes) - set(there)):
        raise ValueError(f"There is no setting {unknown[0]!r}; there are {', '.join(sorted(there))}.")
    return _override(settings, {name: _like(name, value, there[name]) for name, value in changes.items()})


def _override(settings: Any, changes: Mapping[str, Any]) -> Any:
    new: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if not dataclasses.is_dataclass(value):
            new |= {field.name: changes[field.name]} if field.name in changes else {}
            continue
        prefix = getattr(value, "PREFIX", "")
        inner = {name: changes[prefix + name] for name in named(value) if prefix + name in changes}
        new |= {field.name: _override(value, inner)} if inner else {}
    return dataclasses.replace(settings, **new)


def _like(name: str, value: Any, default: Any) -> Any:
    """The value with the type of the default. **Raises** `ValueError` if its type is another one."""
    if isinstance(default, tuple) and isinstance(value, tuple | list) and default:
        return tuple(_like(name, entry, default[0]) for entry in value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise ValueError(f"{name!r} must have the type of {default!r}, but is {value!r}.")
    return value


def check_at_least(settings: Any, least: float, *names: str) -> None:
    """**Raises** `ValueError` unless these settings are finite and at least `least`."""
    for name in names:
        _checks.check_at_least(_full(settings, name), getattr(settings, name), least)


def check_positive(settings: Any, *names: str) -> None:
    """**Raises** `ValueError` unless these settings are finite and positive."""
    for name in names:
        _checks.check_positive(_full(settings, name), getattr(settings, name))


def check_share(settings: Any, *names: str) -> None:
    """**Raises** `ValueError` unless these settings lie between 0 and 1."""
    for name in names:
        _checks.check_share(_full(settings, name), getattr(settings, name))


def check_choice(settings: Any, name: str, known: Any) -> None:
    """**Raises** `ValueError` unless the setting is one of `known`."""
    _checks.check_choice(_full(settings, name), getattr(settings, name), known)


def check_seed(settings: Any) -> None:
    """**Raises** `ValueError` unless `seed` lies between 0 and 2³² − 1."""
    if not 0 <= settings.seed < 2**32:
        raise ValueError(f"`seed` must lie between 0 and 2**32 - 1, but is {settings.seed}.")


def check_periods(settings: Any) -> None:
    """**Raises** `ValueError` unless `every` divides `iterations`."""
    if settings.iterations % settings.every:
        raise ValueError(
            f"`iterations` must be a multiple of `every`, but {settings.iterations} is not a multiple of "
            f"{settings.every}."
        )


def _full(settings: Any, name: str) -> str:
    return f"{getattr(settings, 'PREFIX', '')}{name}"


FORMER = {
    "update": ("agent.algorithm",),
    "width": ("agent.width", "learner.width"),
    "norm": ("agent.norm", "learner.norm"),
    "lola_smoothing": ("learner.smoothing",),
    "pretraining_batch": ("learner.pretraining_batch",),
    "naive_weight": ("agent.naive_weight",),
    "naive_advantages": ("agent.naive_advantages",),
}
"""Former names of settings, with today's. All other former names became `agent.NAME`, and `naive_NAME` became
`learner.NAME`."""


def renamed(given: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The settings that an earlier version noted, under today's names."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        for today in _today(name, names):
            found[today] = value
    return found


def _today(name: str, names: Collection[str]) -> tuple[str, ...]:
    if name in names:
        return (name,)
    if name in FORMER:
        return FORMER[name]
    learner = f"learner.{name.removeprefix('naive_')}"
    if name.startswith("naive_") and learner in names:
        return (learner,)
    return (f"agent.{name}",) if f"agent.{name}" in names else (name,)
