"""Summary of all certificates: in words, and as an exit status."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from coala_eqx.verification.certificate import Certificate


@dataclasses.dataclass
class Findings:
    """Everything that `coala-eqx verify` has found so far."""

    certificates: list[Certificate] = dataclasses.field(default_factory=list)
    structures: list[Any] = dataclasses.field(default_factory=list)
    """Structural certificates."""

    broken: dict[str, str] = dataclasses.field(default_factory=dict)
    """Reasons why a structure could not be examined, keyed by the estimator's name."""

    def status(self, optional: Collection[str] = ()) -> int:
        """Exit status. 0: every claim holds and was judged. 1: a claim is refuted, or was judged nowhere. 2: neither,
        but something could not be resolved.

        **Arguments:**

        - `optional`: names of estimators that may decline every problem, because nobody asked for them.
        """
        if any(c.verdict == "fails" for c in self.certificates) or not all(s.kept for s in self.structures):
            return 1
        if self.broken or any(c.verdict in ("error", "not resolved") for c in self.certificates):
            return 2
        return 1 if set(self.nowhere()) - set(optional) else 0

    def nowhere(self) -> list[str]:
        """Names of estimators whose claims were judged on no problem."""
        claiming = [c for c in self.certificates if c.claim]
        judged = {c.estimator for c in claiming if c.verdict != "inapplicable"}
        return [name for name in dict.fromkeys(c.estimator for c in claiming) if name not in judged]

    def words(self) -> str:
        """A sentence on which claims hold, then one on each kind of claim that could not be judged."""
        refuted = [s.estimator for s in self.structures if not s.kept]
        sentences = [summary(self.certificates)] if self.certificates else ["Nothing was enumerated."]
        if refuted:
            sentences.append(f"Refuted for all games by structure: {', '.join(refuted)}.")
        if self.broken:
            sentences.append(f"Structure not examined: {', '.join(self.broken)}.")
        return " ".join(sentences)


def summary(certificates: Sequence[Certificate]) -> str:
    """A sentence on which claims hold, then sentences on the claims that could not be judged."""
    claims = [c for c in certificates if c.verdict in ("holds", "fails")]
    failed = [c for c in claims if c.verdict == "fails"]
    if failed:
        names = ", ".join(f"{c.estimator} on '{c.problem}' (relative bias {c.relative_bias:.2g})" for c in failed)
        words = f"{len(failed)} of {len(claims)} claims FAIL: {names}."
    elif claims:
        words = "The claim holds." if len(claims) == 1 else f"All {len(claims)} claims hold."
    else:
        words = "No claim was judged."
    for verdict, what in (("inapplicable", "declined"), ("not resolved", "not resolved")):
        missed = _by_estimator([c for c in certificates if c.verdict == verdict and c.claim])
        if missed:
            count = sum(map(len, missed.values()))
            places = "; ".join(f"{name} on {', '.join(map(repr, on))}" for name, on in missed.items())
            words += f" {count} claim{'s' * (count > 1)} {what}: {places}."
    nowhere = Findings(list(certificates)).nowhere()
    if nowhere:
        words += f" Judged nowhere: {', '.join(nowhere)}."
    errors = sum(c.verdict == "error" for c in certificates)
    if errors:
        words += f" {errors} of {len(certificates)} rows are errors."
    return words


def _by_estimator(certificates: Sequence[Certificate]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for certificate in certificates:
        found.setdefault(certificate.estimator, []).append(certificate.problem)
    return found
