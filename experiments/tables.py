"""Tables that claims judge and `paper_figs` draws, and the names in their columns: functions of records alone."""

import polars as pl

from experiments.claims import mean, median
from experiments.errors import jackknife

WITH_ADVANTAGES = ("CoalaPG", "MFOS", "BatchUnaware")
"""Estimators whose gradients, or pools, are compared."""

WITHOUT_NAIVE = "CoalaPG without naive"
"""The pool of Figure 5C that meets no naive learners."""

SHAPING = "CoalaPG against learners"
"""The agent of Figure 7 that only shapes learners."""

WITHOUT_MEMORY = "mlp"
"""The network that remembers nothing."""

BASELINES = {"critic": False, "critic and other meta-episodes": True}
"""Baselines of the measured gradients, with `leave_one_out`."""

SEES_LEARNER = "critic that sees the learner, and other meta-episodes"
"""The further baseline of gradients that are measured with `critic.use`."""

SCRIPTS = ("works", "works and zaps", "waits", "waits at one cell")
"""Scripted agents. Work is cleaning while there is no apple, and eating apples. An agent that waits only eats them,
anywhere or in the first row. An agent that zaps does so whenever the other one is in reach."""

TYPICAL = {"fig3a": median, "fig3c": median, "fig4c": mean, "fig9": median}
"""The summary over seeds of each figure."""

RATIOS = ("square", "signal", "critical", "cosine", "cosine_coala")


def noise_means(table: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Ratios of means for each baseline, λ, estimator, `left_out` and the columns `by`, over all other columns.

    `square` is the squared norm of the gradient, `signal` its ratio to the variance of one meta-episode, and `critical`
    the inverse, the critical meta-batch. `cosine` is that of the angle with the true gradient, and `cosine_coala` that
    of the angle with COALA-PG's gradient of the same λ.
    """
    where = ("baseline", "lambda", *by, "left_out")
    columns = ("square", "true", "with_true", "with_coala", "variance")
    averaged = table.group_by(*where, "estimator", maintain_order=True).agg(pl.mean(*columns))
    coala = averaged.filter(pl.col("estimator") == "CoalaPG").select(*where, coala="square")
    square, variance = pl.col("square"), pl.col("variance")
    return averaged.join(coala, on=where, maintain_order="left").with_columns(
        signal=square / variance,
        critical=variance / square,
        cosine=pl.col("with_true") / (square * pl.col("true")).sqrt(),
        cosine_coala=pl.col("with_coala") / (square * pl.col("coala")).sqrt(),
    )


def noise_ratios(table: pl.DataFrame, *by: str) -> pl.DataFrame:
    """The means, without `left_out`, and with standard errors (`square_error` and so on).

    A ratio is null if one of its gradients is not resolved, that is if its square is less than two standard errors
    above 0.
    """
    columns = (*RATIOS, "true", "coala")
    keys = ("baseline", "lambda", *by, "estimator")
    both = (
        noise_means(table, *by)
        .sort("left_out", maintain_order=True)
        .group_by(*keys, maintain_order=True)
        .agg(pl.first(*columns), *(jackknife(pl.col(name).slice(1)).alias(f"{name}_error") for name in columns))
    )

    def seen(square: str) -> pl.Expr:
        return pl.col(square) > 2 * pl.col(f"{square}_error")

    needed = {"critical": ["square"], "cosine": ["square", "true"], "cosine_coala": ["square", "coala"]}
    return both.with_columns(
        pl.when(*map(seen, needed[name])).then(pl.col(column)).alias(column)
        for name in needed
        for column in (name, f"{name}_error")
    ).drop("true", "coala", "true_error", "coala_error")


def future_ratios(table: pl.DataFrame) -> pl.DataFrame:
    """`ratio` ‖future‖/‖current‖ for each part, estimator and iteration, from squares averaged over seeds."""
    means = table.group_by("part", "estimator", "iteration", maintain_order=True).agg(
        pl.col("current").mean(), pl.col("future").mean()
    )
    square = pl.col("future").clip(0) / pl.col("current")
    return means.with_columns(pl.when(pl.col("current") > 0).then(square.sqrt()).alias("ratio"))
