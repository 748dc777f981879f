"""Noise and directions of gradients over training."""

from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.tables import BASELINES, SEES_LEARNER, WITH_ADVANTAGES, noise_ratios
from paper_figs.curves import read
from paper_figs.style import COLUMN, SHAPED, look, styled

LINES = dict(zip(BASELINES, ("--", "-"), strict=True))
SAME: dict[str, Any] = {"ls": ":", "lw": 1.0, "marker": "x", "ms": 4}
"""Look of cosines with COALA-PG's gradient of the same λ."""
LIMIT: dict[str, Any] = {"marker": "^", "mfc": "none", "ls": "none", "ms": 4}
"""Look of a lower limit: a gradient that is not resolved, and the number of meta-episodes that it needs at least."""


@styled
def draw(records: Path, picture: Path) -> None:
    """One row for each λ, and one for the critic that sees the learner, if it was used. Left: critical meta-batches,
    from means over seeds. Right: cosines, from advantages minus both baselines, and where λ < 1 also cosines with
    COALA-PG's gradient of the same λ. Bars are standard errors over the measured meta-batches.

    Cosines are ratios of unbiased estimates and may leave [−1, 1]. A point is missing if no signal is resolved, that is
    if ‖G‖² is less than two standard errors above 0. A triangle then shows the least number of meta-episodes that is
    needed, from the variance and ‖G‖² plus two standard errors. Near that limit only those points appear that chance
    made large, and critical meta-batches are underestimated.
    """
    every = noise_ratios(read(records), "iteration").sort("iteration")
    shaped = every.filter(pl.col("baseline") == SEES_LEARNER)
    table = every.filter(pl.col("baseline") != SEES_LEARNER)
    lambdas = sorted(table["lambda"].unique(), reverse=True)
    rows = len(lambdas) + (len(shaped) > 0)
    figure = Figure(figsize=(COLUMN, 0.5 + 1.7 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, sharex=True, sharey="col", squeeze=False)
    for value, (noise, angles) in zip(lambdas, axes, strict=False):
        for name in WITH_ADVANTAGES:
            of_one = table.filter(pl.col("estimator") == name, pl.col("lambda") == value)
            color = look(name)["color"]
            by_baseline = {baseline: of_one.filter(pl.col("baseline") == baseline) for baseline in BASELINES}
            for baseline, line in LINES.items():
                _points(noise, by_baseline[baseline], "critical", ls=line, color=color)
            both = by_baseline[list(BASELINES)[-1]]
            _points(angles, both, "cosine", color=color)
            if value < 1 and name != "CoalaPG":
                _points(angles, both, "cosine_coala", color=color, **SAME)
            _limits(noise, both, color)
        if table.filter(pl.col("lambda") == value, pl.col("baseline") == list(BASELINES)[-1])["cosine"].is_null().all():
            angles.text(0.5, 0.55, "the true gradient is not seen", transform=angles.transAxes, ha="center")
        noise.set_yscale("log")
        noise.set_ylabel(f"λ = {value:g}\ncritical meta-batch")
        angles.set_ylabel("cosine of gradients")
    if len(shaped):
        _shaped(axes[-1, 0], axes[-1, 1], shaped)
    for angles in axes[:, 1]:
        for limit in (-1, 1):
            angles.axhline(limit, color="black", lw=0.5, ls=":", zorder=0)
    for panel in axes[-1]:
        panel.set_xlabel("meta-training iteration")
    entries = [Line2D([], [], **look(name)) for name in WITH_ADVANTAGES]
    entries += [Line2D([], [], color="gray", ls=line, label=f"less {baseline}") for baseline, line in LINES.items()]
    entries += [Line2D([], [], color="gray", marker=".", ls="-", label="cosine with the true gradient")]
    entries += [Line2D([], [], color="gray", label="with COALA-PG's of the same λ", **SAME)]
    entries += [Line2D([], [], color="gray", label="at least so many", **LIMIT)]
    names = [name for name in shaped["estimator"].unique(maintain_order=True) if name not in WITH_ADVANTAGES[1:]]
    entries += [Line2D([], [], **_look(name)) for name in names]
    figure.legend(handles=entries, loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(picture)


def _shaped(noise: Axes, angles: Axes, table: pl.DataFrame) -> None:
    """The estimators with a critic that sees the learner. The first of them, κ = 1, is the true gradient."""
    for name in table["estimator"].unique(maintain_order=True):
        line = {key: value for key, value in _look(name).items() if key != "label"}
        of_one = table.filter(pl.col("estimator") == name)
        _points(noise, of_one, "critical", **line)
        _points(angles, of_one, "cosine", **line)
        _limits(noise, of_one, line["color"])
    noise.set_ylabel("sees the learner\ncritical meta-batch")
    angles.set_ylabel("cosine with κ = 1")
    noise.set_yscale("log")


def _look(name: str) -> dict[str, Any]:
    """Look of an estimator with a critic that sees the learner. COALA-PG's has κ = 1."""
    shown = "kappa 1" if name == "CoalaPG" else name
    return SHAPED[shown] if shown in SHAPED else look(shown)


def _limits(axes: Axes, table: pl.DataFrame, color: str) -> None:
    """Lower limits of critical meta-batches, where the gradient is not resolved."""
    least = 1 / (pl.col("signal") + 2 * pl.col("signal_error"))
    unseen = table.filter(pl.col("critical").is_null()).select("iteration", least.alias("least"))
    axes.plot(*unseen, color=color, **LIMIT)


def _points(axes: Axes, table: pl.DataFrame, column: str, **line: Any) -> None:
    iterations, values, errors = table.select("iteration", pl.col(column, f"{column}_error").fill_null(float("nan")))
    axes.errorbar(iterations, values, errors, **{"marker": ".", "elinewidth": 0.6} | line)
