"""Compare numbers, and record every comparison for the summary."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any


class Refuted(AssertionError):
    """A claim does not hold."""


@dataclasses.dataclass
class Entry:
    """The comparisons of one claim in one test."""

    claim: str
    relation: str
    """`"≤"`: the value must not exceed the bound; `"≥"`: it must reach it."""

    examples: int = 0
    value: float = 0.0
    bound: float = 0.0
    """The bound of the value that came nearest to its bound, which is `value`."""

    def add(self, value: float, bound: float, examples: int = 1) -> None:
        """Count more examples. This value is the one that came nearest to its bound among them."""
        self.examples += examples
        if _closeness(self.relation, value, bound) > _closeness(self.relation, self.value, self.bound):
            self.value, self.bound = value, bound


_entries: dict[str, Entry] = {}


def holds(claim: str, error: Any, bound: Any) -> None:
    """Assert that `error` ≤ `bound`, and record it. **Raises** `Refuted` if it is not."""
    _compare(claim, "≤", float(error), float(bound))


def differs(claim: str, difference: Any, least: Any) -> None:
    """Assert that `difference` ≥ `least`, and record it. **Raises** `Refuted` if it is not."""
    _compare(claim, "≥", float(difference), float(least))


def take() -> list[dict[str, Any]]:
    """All entries since the last call, as plain dictionaries. The ledger is emptied."""
    entries = [dataclasses.asdict(entry) for entry in _entries.values()]
    _entries.clear()
    return entries


def merge(entries: list[dict[str, Any]]) -> list[Entry]:
    """One entry for each claim from the entries of several tests, in order of first appearance."""
    merged: dict[str, Entry] = {}
    for values in entries:
        new = Entry(**values)
        old = merged.setdefault(new.claim, Entry(new.claim, new.relation, 0, new.value, new.bound))
        old.add(new.value, new.bound, new.examples)
    return list(merged.values())


def _compare(claim: str, relation: str, value: float, bound: float) -> None:
    entry = _entries.setdefault(claim, Entry(claim, relation, 0, value, bound))
    entry.add(value, bound)
    kept = value <= bound if relation == "≤" else value >= bound
    if not kept:
        raise Refuted(f"{claim}: {value:.3g} {relation} {bound:.3g} does not hold.")


def _closeness(relation: str, value: float, bound: float) -> float:
    """Closeness of a value to its bound; above 1 it breaks the bound."""
    if math.isnan(value):
        return math.inf
    above, below = (value, bound) if relation == "≤" else (bound, value)
    if above <= 0:
        return above - below
    return above / below if below > 0 else math.inf


def as_printed(claim: str, computed: Sequence[float], printed: Sequence[str]) -> None:
    """Check numbers against a printed table: the largest error is at most 1/2 in units of the last digit."""
    digits = [len(text.partition(".")[2]) for text in printed]
    errors = [abs(x - float(text)) * 10.0**n for x, text, n in zip(computed, printed, digits, strict=True)]
    holds(claim, max(errors), 0.5 + 1e-6)
