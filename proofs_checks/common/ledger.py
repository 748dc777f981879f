"""Comparing numbers, and keeping account of every comparison for the summary."""

import dataclasses
import math
from typing import Any


class Refuted(AssertionError):
    """A claim does not hold."""


@dataclasses.dataclass
class Entry:
    """What has been seen of one claim in one test."""

    claim: str
    relation: str
    """`"≤"`: the value must not exceed the bound; `"≥"`: it must reach it."""

    examples: int = 0
    value: float = 0.0
    bound: float = 0.0
    """The value that came nearest to its bound, and this bound."""


_entries: dict[str, Entry] = {}


def holds(claim: str, error: Any, bound: Any) -> None:
    """Assert that `error` ≤ `bound`, and enter it into the ledger; raises `Refuted` if it is not."""
    _compare(claim, "≤", float(error), float(bound))


def differs(claim: str, difference: Any, least: Any) -> None:
    """Assert that `difference` ≥ `least`, and enter it into the ledger; raises `Refuted` if it is not."""
    _compare(claim, "≥", float(difference), float(least))


def take() -> list[dict[str, Any]]:
    """All entries since the last call, as plain dictionaries, and start anew."""
    entries = [dataclasses.asdict(entry) for entry in _entries.values()]
    _entries.clear()
    return entries


def merge(entries: list[dict[str, Any]]) -> list[Entry]:
    """One entry per claim from those of several tests, in order of first appearance."""
    merged: dict[str, Entry] = {}
    for values in entries:
        new = Entry(**values)
        old = merged.setdefault(new.claim, Entry(new.claim, new.relation, 0, new.value, new.bound))
        old.examples += new.examples
        if _closeness(new.relation, new.value, new.bound) > _closeness(old.relation, old.value, old.bound):
            old.value, old.bound = new.value, new.bound
    return list(merged.values())


def _compare(claim: str, relation: str, value: float, bound: float) -> None:
    entry = _entries.setdefault(claim, Entry(claim, relation, 0, value, bound))
    entry.examples += 1
    if _closeness(relation, value, bound) > _closeness(relation, entry.value, entry.bound):
        entry.value, entry.bound = value, bound
    kept = value <= bound if relation == "≤" else value >= bound
    if not kept:
        raise Refuted(f"{claim}: {value:.3g} {relation} {bound:.3g} does not hold.")


def _closeness(relation: str, value: float, bound: float) -> float:
    """How near a value is to breaking its bound; above 1 it does."""
    if math.isnan(value):
        return math.inf
    above, below = (value, bound) if relation == "≤" else (bound, value)
    if above <= 0:
        return above - below
    return above / below if below > 0 else math.inf
