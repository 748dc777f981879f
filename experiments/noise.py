"""Beyond the paper: how many meta-episodes the gradient of each estimator needs, and whether it points the same way.

While an agent is trained by COALA-PG in the iterated prisoner's dilemma, the gradients of all estimators are measured
on the same meta-episodes against naive learners: their noise beside their signal, and the angles between them.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
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
"""Those with advantages, by name."""

BASELINES = {"critic": False, "critic and other meta-episodes": True}
"""What advantages are taken less of: `leave_one_out` of the pool, by name."""

Noise = dict[str, GradientNoise]
"""By baseline: of COALA-PG with λ = 1, whose gradient is the true one, and then for each λ of `ESTIMATORS`."""


@dataclasses.dataclass(frozen=True)
class Measured(sampled.Settings):
    """Of gradients that are measured while one agent is trained by COALA-PG. A class that derives from it names that of
    its game first, whose defaults hold.
    """

    measured: int = 16
    """Meta-batches by which gradients are measured; three or more, for errors."""

    lambdas: tuple[float, ...] = (1.0, 0.98)
    """λ of the advantages that are measured; the agent is trained with `gae_lambda`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 3, "measured")
        check_at_least(self, 2, "meta_batch")
        if self.discount != 1:
            raise ValueError(
                f"`discount` must be 1, as the gradient of COALA-PG is the true one then, but is {self.discount}."
            )
        if (
            not self.lambdas
            or len(set(self.lambdas)) < len(self.lambdas)
            or not all(0 <= value <= 1 for value in self.lambdas)
        ):
            raise ValueError(f"`lambdas` must be one or more, each once, between 0 and 1, but are {self.lambdas}.")

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        return {"CoalaPG": self.alone(sampled.ESTIMATORS["CoalaPG"])}

    def watch(self, pool: Pool, state: PoolState) -> Noise:
        """Of the pool's agent, on the same meta-episodes for all."""
        named = [("CoalaPG", 1.0), *((name, value) for value in self.lambdas for name in ESTIMATORS)]
        by_lambda = {value: dataclasses.replace(self, gae_lambda=value) for _, value in named}
        pools = [by_lambda[value].alone(sampled.ESTIMATORS[name])[1] for name, value in named]
        estimators = [one for of in pools for one in of.estimators if isinstance(one, AbstractScoreFunctionEstimator)]
        return {
            baseline: gradient_noise(
                dataclasses.replace(pool, leave_one_out=leave_one_out, centre=False), state, estimators, self.measured
            )
            for baseline, leave_one_out in BASELINES.items()
        }


@dataclasses.dataclass(frozen=True)
class Settings(sampled.MatrixSettings, Measured):
    """Of this figure."""


PRESETS = {
    "smoke": Settings(**sampled.SMOKE, measured=3),
    "cpu": Settings(meta_batch=16, iterations=300, every=30, rate=1e-3, seeds=2),
    "paper": Settings(every=100),
}


def parts(settings: Measured) -> list[Part]:
    """A single one."""
    return sampled.parts(settings, functools.partial(run, settings.lambdas))


def run(
    lambdas: tuple[float, ...], settings: sampled.Settings, name: str, pool: Pool, progress: Progress
) -> list[Record]:
    """Over training, by baseline, λ and estimator: ‖G‖² (`square`), the variance, and the products of G with the true
    one (`with_true`; `true` is that one's square) and with COALA-PG's of the same λ (`with_coala`).

    All of it again without each of the meta-batches in turn, whose number, from 1 on, is `left_out`, for errors; it is
    0 where all are there.
    """
    del name
    _, seen, noise = training.train(settings, pool, progress)
    measured = [
        (gae_lambda, estimator, first + number, first)
        for first, gae_lambda in zip(itertools.count(1, len(ESTIMATORS)), lambdas)
        for number, estimator in enumerate(ESTIMATORS)
    ]
    return [
        {
            "seed": seed,
            "baseline": baseline,
            "left_out": left_out,
            "lambda": gae_lambda,
            "estimator": estimator,
            "iteration": (record + 1) * settings.every,
            "square": float(products[seed, record, here, here]),
            "true": float(products[seed, record, 0, 0]),
            "with_true": float(products[seed, record, 0, here]),
            "with_coala": float(products[seed, record, coala, here]),
            "variance": float(variances[seed, record, here]),
            "reward": float(seen.own[seed, record, 0].mean()),
            "finite": float(seen.finite[seed, record, 0]),
        }
        for baseline, of in noise.items()
        for left_out, (products, variances) in enumerate(_replicates(of))
        for gae_lambda, estimator, here, coala in measured
        for seed in range(settings.seeds)
        for record in range(settings.iterations // settings.every)
    ]


def _replicates(noise: GradientNoise) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Products and variances by all meta-batches, and without each of them."""
    number = noise.inner.shape[-3]
    for one in (noise, *(noise.without(left_out) for left_out in range(number))):
        yield np.asarray(one.products), np.asarray(one.variances)


RATIOS = ("square", "critical", "cosine", "cosine_coala")


def ratios(table: pl.DataFrame, *by: str) -> pl.DataFrame:
    """By baseline, λ, estimator and some more, from means over all else: the `square` of the gradient, the `critical`
    meta-batch, and the `cosine` of the angle with the true gradient and (`cosine_coala`) with COALA-PG's of the same λ.

    Each with its standard error (`square_error` and so on), by the jackknife over meta-batches. Ratios are null where
    a gradient that they have is not seen: where its square is less than two standard errors above 0.
    """
    where = ("baseline", "lambda", *by)
    columns = ("square", "true", "with_true", "with_coala", "variance")
    means = table.group_by(*where, "left_out", "estimator", maintain_order=True).agg(pl.mean(*columns))
    coala = means.filter(pl.col("estimator") == "CoalaPG").select(*where, "left_out", coala="square")

    def cosine(product: str, other: str) -> pl.Expr:
        square = pl.col("square") * pl.col(other)
        return pl.when(pl.col("square") > 0, pl.col(other) > 0).then(pl.col(product) / square.sqrt())

    means = means.join(coala, on=[*where, "left_out"], maintain_order="left").with_columns(
        critical=pl.when(pl.col("square") > 0).then(pl.col("variance") / pl.col("square")),
        cosine=cosine("with_true", "true"),
        cosine_coala=cosine("with_coala", "coala"),
    )
    squares, products = ("true", "coala"), ("with_true", "with_coala", "variance")
    errors = (
        means.filter(pl.col("left_out") > 0)
        .group_by(*where, "estimator", maintain_order=True)
        .agg(_jackknife(name).alias(f"{name}_error") for name in (*RATIOS, *squares))
    )
    whole = means.filter(pl.col("left_out") == 0).drop("left_out", *products)
    joined = whole.join(errors, on=[*where, "estimator"], maintain_order="left")

    def seen(square: str) -> pl.Expr:
        return pl.col(square) > 2 * pl.col(f"{square}_error")

    needed = {"critical": ["square"], "cosine": ["square", "true"], "cosine_coala": ["square", "coala"]}
    return joined.with_columns(
        pl.when(*map(seen, needed[name])).then(pl.col(column)).alias(column)
        for name in needed
        for column in (name, f"{name}_error")
    ).drop(*squares, *(f"{name}_error" for name in squares))


def _jackknife(name: str) -> pl.Expr:
    """The standard error of what is computed without each meta-batch; null if one of them is."""
    column = pl.col(name)
    return pl.when(column.is_not_null().all()).then(column.std(ddof=0) * (pl.len() - 1).sqrt())


def overall(records: Sequence[Record], column: str, estimator: str, gae_lambda: float, baseline: str) -> float:
    """A ratio of means over seeds and training, or its error; NaN if it is not there."""
    table = ratios(kept(table_of(records))).filter(
        pl.col("estimator") == estimator, pl.col("lambda") == gae_lambda, pl.col("baseline") == baseline
    )
    value = table[column].to_list()
    return value[0] if value and value[0] is not None else np.nan


def within(records: Sequence[Record], errors: int, column: str, *where: Any) -> float:
    """A ratio, and so many standard errors."""
    return overall(records, column, *where) + errors * overall(records, f"{column}_error", *where)


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What the figure is judged by: ratios of means over seeds and training, with λ = 1."""
    alone, both = BASELINES
    critical = {
        (name, baseline): overall(records, "critical", name, 1.0, baseline)
        for name in ESTIMATORS
        for baseline in BASELINES
    }
    return [
        claim("M-FOS's gradient points elsewhere: cosine of its angle with the true one, plus two standard errors",
              within(records, 2, "cosine", "MFOS", 1.0, both), "≤", 0.8),
        claim("COALA-PG's needs more meta-episodes than M-FOS's: critical meta-batch over M-FOS's",
              critical["CoalaPG", both] / critical["MFOS", both], "≥", 2),
        claim("Other meta-episodes make a better baseline than a critic alone: COALA-PG's critical meta-batch without "
              "them over that with them", critical["CoalaPG", alone] / critical["CoalaPG", both], "≥", 1.2),
    ]  # fmt: skip
