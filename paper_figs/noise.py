"""Noise and directions of gradients over training."""

from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.tables import BASELINES, WITH_ADVANTAGES, noise_ratios
from paper_figs.curves import read
from paper_figs.style import COLUMN, look, styled

LINES = dict(zip(BASELINES, ("--", "-"), strict=True))
SAME: dict[str, Any] = {"ls": ":", "lw": 1.0, "marker": "x", "ms": 4}
"""Look of cosines with COALA-PG's gradient of the same λ."""
LIMIT: dict[str, Any] = {"marker": "^", "mfc": "none", "ls": "none", "ms": 4}
"""Look of a lower limit: a gradient that is not resolved, and the number of meta-episodes that it needs at least."""


@styled
def draw(records: Path, picture: Path) -> None:
    """One row for each λ. Left: critical meta-batches, from means over seeds. Right: cosines, from advantages minus
    both baselines, and where λ < 1 also cosines with COALA-PG's gradient of the same λ. Bars are standard errors over
    the measured meta-batches.

    Cosines are ratios of unbiased estimates and may leave [−1, 1]. A point is missing if no signal is resolved, that is
    if ‖G‖² is less than two standard errors above 0. A triangle then shows the least number of meta-episodes that is
    needed, from the variance and ‖G‖² plus two standard errors. Near that limit only those points appear that chance
    made large, and critical meta-batches are underestimated.
    """
    table = noise_ratios(read(records), "iteration").sort("iteration")
    lambdas = sorted(table["lambda"].unique(), reverse=True)
    figure = Figure(figsize=(COLUMN, 0.5 + 1.7 * len(lambdas)), layout="constrained")
    axes = figure.subplots(len(lambdas), 2, sharex=True, sharey="col", squeeze=False)
    for value, (noise, angles) in zip(lambdas, axes, strict=True):
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
            least = 1 / (pl.col("signal") + 2 * pl.col("signal_error"))
            unseen = both.filter(pl.col("critical").is_null()).select("iteration", least.alias("least"))
            noise.plot(*unseen, color=color, **LIMIT)
        if table.filter(pl.col("lambda") == value, pl.col("baseline") == list(BASELINES)[-1])["cosine"].is_null().all():
            angles.text(0.5, 0.55, "the true gradient is not seen", transform=angles.transAxes, ha="center")
        noise.set_yscale("log")
        noise.set_ylabel(f"λ = {value:g}\ncritical meta-batch")
        angles.set_ylabel("cosine of gradients")
        for limit in (-1, 1):
            angles.axhline(limit, color="black", lw=0.5, ls=":", zorder=0)
    for panel in axes[-1]:
        panel.set_xlabel("meta-training iteration")
    entries = [Line2D([], [], **look(name)) for name in WITH_ADVANTAGES]
    entries += [Line2D([], [], color="gray", ls=line, label=f"less {baseline}") for baseline, line in LINES.items()]
    entries += [Line2D([], [], color="gray", marker=".", ls="-", label="cosine with the true gradient")]
    entries += [Line2D([], [], color="gray", label="with COALA-PG's of the same λ", **SAME)]
    entries += [Line2D([], [], color="gray", label="at least so many", **LIMIT)]
    figure.legend(handles=entries, loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(picture)


def _points(axes: Axes, table: pl.DataFrame, column: str, **line: Any) -> None:
    iterations, values, errors = table.select("iteration", pl.col(column, f"{column}_error").fill_null(float("nan")))
    axes.errorbar(iterations, values, errors, **{"marker": ".", "elinewidth": 0.6} | line)
