"""Certificates as they are printed, drawn and judged, without anything being certified."""

from typing import Any

from coala_eqx.verification import Certificate

_USUAL: dict[str, Any] = {
    "estimator": "Mine", "problem": "one", "claim": "shaping_return", "objective": "shaping_return",
    "relative_bias": 1e-15, "error_bound": 3e-13, "cosine": 1.0, "variance": 4.0, "snr": 0.5, "gradient_norm": 2.0,
    "outcomes": 100, "seconds": 0.1, "verdict": "holds", "note": "",
}  # fmt: skip


def certificate(**changes: Any) -> Certificate:
    """One of an estimator that holds, but for the changes."""
    return Certificate(**(_USUAL | changes))
