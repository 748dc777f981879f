"""Beyond the paper: how many meta-episodes the gradient of each estimator needs, and whether it points the same way.

While an agent is trained by COALA-PG in the iterated prisoner's dilemma, the gradients of all estimators are measured
on the same meta-episodes against naive learners: their noise beside their signal, and the angles between them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from coala_eqx.estimators import AbstractScoreFunctionEstimator
from coala_eqx.training import GradientNoise, Pool, PoolState, gradient_noise
from experiments import sampled, training
from experiments.analytic import check_at_least
from experiments.progress import Progress
from experiments.records import Part, Record, claim, kept, table_of

SINGLE = True
"""Training is done in single precision."""

ESTIMATORS = ("CoalaPG", "MFOS", "BatchUnaware")
"""Those with advantages; COALA-PG's gradient is the true one, to which angles are measured."""


@dataclasses.dataclass(frozen=True)
class Settings(sampled.MatrixSettings):
    """Of this figure."""

    measured: int = 2048
    """Meta-episodes by which gradients are measured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 2, "measured")

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        return {"CoalaPG": self.alone(sampled.ESTIMATORS["CoalaPG"])}

    def watch(self, pool: Pool, state: PoolState) -> GradientNoise:
        return watch(self, pool, state, self.measured)


PRESETS = {
    "smoke": Settings(**sampled.SMOKE, measured=4),
    "cpu": Settings(meta_batch=16, iterations=300, every=30, rate=1e-3, seeds=2, measured=256),
    "paper": Settings(every=100),
}


def watch(settings: sampled.Settings, pool: Pool, state: PoolState, measured: int) -> GradientNoise:
    """Of all estimators, discounting as the pool's own."""
    pools = [settings.alone(sampled.ESTIMATORS[name])[1] for name in ESTIMATORS]
    estimators = [e for one in pools for e in one.estimators if isinstance(e, AbstractScoreFunctionEstimator)]
    return gradient_noise(pool, state, estimators, measured)


def parts(settings: sampled.Settings) -> list[Part]:
    """A single one."""
    return sampled.parts(settings, run)


def run(settings: sampled.Settings, name: str, pool: Pool, progress: Progress) -> list[Record]:
    """Over training, by estimator: ‖G‖² (`square`), the variance, and the product with COALA-PG's G (`with_true`)."""
    del name
    _, seen, noise = training.train(settings, pool, progress)
    return [
        {
            "seed": seed,
            "estimator": estimator,
            "iteration": (record + 1) * settings.every,
            "square": float(noise.products[seed, record, number, number]),
            "with_true": float(noise.products[seed, record, 0, number]),
            "variance": float(noise.variances[seed, record, number]),
            "reward": float(seen.own[seed, record, 0].mean()),
            "finite": float(seen.finite[seed, record, 0]),
        }
        for number, estimator in enumerate(ESTIMATORS)
        for seed in range(settings.seeds)
        for record in range(settings.iterations // settings.every)
    ]


def ratios(table: pl.DataFrame, *by: str) -> pl.DataFrame:
    """The `critical` meta-batch and the `cosine` with the true gradient, from means over all else; null where no signal
    is seen.
    """
    means = table.group_by("estimator", *by, maintain_order=True).agg(pl.mean("square", "with_true", "variance"))
    true = means.filter(pl.col("estimator") == ESTIMATORS[0]).select(*by, pl.col("square").alias("true_square"))
    means = means.join(true, on=list(by)) if by else means.join(true, how="cross")
    seen = (pl.col("square") > 0) & (pl.col("true_square") > 0)
    return means.with_columns(
        pl.when(pl.col("square") > 0).then(pl.col("variance") / pl.col("square")).alias("critical"),
        pl.when(seen).then(pl.col("with_true") / (pl.col("square") * pl.col("true_square")).sqrt()).alias("cosine"),
    )


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What the figure is judged by: ratios of means over training and seeds."""
    overall = {row["estimator"]: row for row in ratios(kept(table_of(records))).iter_rows(named=True)}

    def of(name: str, column: str) -> float:
        value = overall[name][column] if name in overall else None
        return np.nan if value is None else value

    return [
        claim("M-FOS's gradient points elsewhere: cosine of the angle with COALA-PG's", of("MFOS", "cosine"), "≤", 0.8),
        claim("So does batch-unaware's", of("BatchUnaware", "cosine"), "≤", 0.8),
        claim("COALA-PG's needs more meta-episodes than M-FOS's: critical meta-batch over M-FOS's",
              of("CoalaPG", "critical") / of("MFOS", "critical"), "≥", 1.5),
    ]  # fmt: skip
