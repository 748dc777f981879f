"""Settings by name: dataclasses of values, and of groups of values, which are dataclasses, too.

A setting of a group is named alone, such as `seeds`, or with the group's `PREFIX`, such as `agent.rate`. Settings of a
group whose `LAYOUT` is true say how a run is computed, and change its results in the last bits only.
"""

import dataclasses
from typing import Any


def named(settings: Any) -> dict[str, Any]:
    """All settings by name, such as `{"seeds": 5, "agent.rate": 3e-4}`."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        found |= named_in(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return found


def named_in(group: Any) -> dict[str, Any]:
    """The settings of a group by name."""
    prefix = getattr(group, "PREFIX", "")
    return {f"{prefix}{name}": value for name, value in named(group).items()}


def defaults(settings: Any) -> dict[str, Any]:
    """The defaults of all settings that have one, by name."""
    fields = [field for field in dataclasses.fields(settings) if field.default is not dataclasses.MISSING]
    groups = [named_in(field.default) for field in fields if dataclasses.is_dataclass(field.default)]
    alone = {field.name: field.default for field in fields if not dataclasses.is_dataclass(field.default)}
    return alone | {name: value for group in groups for name, value in group.items()}


def layout_names(settings: Any) -> set[str]:
    """Names of the settings that say how a run is computed."""
    groups = (getattr(settings, field.name) for field in dataclasses.fields(settings))
    return {name for group in groups if getattr(group, "LAYOUT", False) for name in named_in(group)}
