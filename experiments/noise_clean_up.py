"""Beyond the paper: noise of gradients in CleanUp-lite, where teaching a learner pays much later than acting.

The number of meta-episodes that COALA-PG's gradient needs shows how many a run must have in all for methods to differ.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from coala_eqx.runs.directory import Record
from experiments import clean_up, noise, sampled
from experiments.claims import claim
from experiments.errors import Measured
from experiments.settings import override
from experiments.tables import BASELINES

SINGLE, parts = noise.SINGLE, noise.parts


@dataclasses.dataclass(frozen=True)
class Settings(clean_up.Settings, noise.Measured):
    """Settings of this figure."""


PRESETS = {
    "smoke": override(Settings(), sampled.SMOKE_ON_GRIDS | {"measured": 3}),
    "cpu": override(Settings(), clean_up.SMALL | {"measured": 96, "every": 60, "seeds": 2}),
    "paper": override(Settings(), clean_up.PAPER | {"every": 100}),
}


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: ratios of means over seeds and training."""
    _, both = BASELINES
    judged = noise.Judged(records)

    def within(number: int, column: str, estimator: str, gae_lambda: float) -> Measured:
        return judged.within(number, judged.by_left_out(column, estimator, gae_lambda, both))

    def with_the_true_one(estimator: str, gae_lambda: float) -> float | Measured:
        return within(2, "cosine", estimator, gae_lambda) if judged.seen("CoalaPG", 1.0, both) else np.nan

    return [
        claim("COALA-PG's gradient is resolved: signal of one meta-episode, ‖G‖² / variance, minus two standard errors",
              within(-2, "signal", "CoalaPG", 1.0), "≥", 1 / 100),
        claim("M-FOS's gradient turns away from the true one: cosine of their angle, plus two standard errors (not "
              "finite if the true one is not resolved)", with_the_true_one("MFOS", 1.0), "≤", 0.8),
        claim("λ = 0.98 removes COALA-PG's learning awareness: cosine of its gradient with M-FOS's, minus two standard "
              "errors", within(-2, "cosine_coala", "MFOS", 0.98), "≥", 0.95),
        claim("λ = 0.98 turns COALA-PG's gradient away from the true one: cosine of their angle, plus two standard "
              "errors", with_the_true_one("CoalaPG", 0.98), "≤", 0.8),
        *noise.shaped_claims(judged),
    ]  # fmt: skip
