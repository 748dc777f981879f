"""Beyond the paper: the same of CleanUp-lite, where what a learner is taught pays much later than what is done.

How many meta-episodes COALA-PG's gradient needs says how many a run must have in all, for methods to differ.
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
    """What the figure is judged by: ratios of means over seeds and training."""
    _, both = noise.BASELINES
    judged = noise.Judged(records)

    def within(number: int, column: str, estimator: str, gae_lambda: float) -> Measured:
        return judged.within(number, judged.by_left_out(column, estimator, gae_lambda, both))

    def with_the_true_one(estimator: str, gae_lambda: float) -> float | Measured:
        return within(2, "cosine", estimator, gae_lambda) if judged.seen("CoalaPG", 1.0, both) else np.nan

    return [
        claim("COALA-PG's gradient can be seen: signal of one meta-episode, ‖G‖² beside the variance, less two "
              "standard errors", within(-2, "signal", "CoalaPG", 1.0), "≥", 1 / 100),
        claim("M-FOS's points elsewhere: cosine of its angle with the true one, plus two (not finite where that one is "
              "not seen)", with_the_true_one("MFOS", 1.0), "≤", 0.8),
        claim("λ = 0.98 takes COALA-PG's learning awareness: cosine of the angle between its gradient and M-FOS's, "
              "less two", within(-2, "cosine_coala", "MFOS", 0.98), "≥", 0.95),
        claim("and with the true one, plus two", with_the_true_one("CoalaPG", 0.98), "≤", 0.8),
    ]  # fmt: skip
