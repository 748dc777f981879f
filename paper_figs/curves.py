"""Curves over seeds with a band, for the analytic figures."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from experiments.claims import kept
from paper_figs.style import COLUMN

QUARTILES, STANDARD_ERROR, DEVIATION = "median and quartiles", "mean and standard error", "mean and deviation"


def read(records: Path) -> pl.DataFrame:
    """All records of seeds whose numbers stayed finite."""
    return kept(pl.read_parquet(records))


def rewards_of_note(records: Path) -> tuple[float, ...]:
    """The first player's rewards after (C, C) and after (D, D), from the settings beside the records. Empty without
    settings, or in a game of more than two actions.
    """
    settings = records.parent / "settings.json"
    if not settings.exists():
        return ()
    payoffs = json.loads(settings.read_text(encoding="utf-8"))["payoff_table"][0]
    return (payoffs[0][0], payoffs[1][1]) if [len(row) for row in payoffs] == [2, 2] else ()


def panels(number: int, height: float = 2.2) -> tuple[Figure, Any]:
    """A figure with `number` panels side by side. **Returns** the figure and an array of axes."""
    figure = Figure(figsize=(COLUMN if number > 1 else COLUMN * 0.6, height), layout="constrained")
    return figure, figure.subplots(1, number, squeeze=False)[0]


def curve(panel: Any, table: pl.DataFrame, column: str, band: str = QUARTILES, most: Any = None, **look: Any) -> None:
    """Draw one quantity against `iteration`: median and quartiles over seeds, or mean and standard error or deviation.

    If a seed has several agents, their mean is taken first, so the band shows how seeds differ. The band of a
    non-negative quantity does not go below 0, and no band goes above `most`.
    """
    values, least = pl.col(column), 0.0 if (table[column] >= 0).all() else None
    if "seed" in table.columns:
        table = table.group_by("iteration", "seed", maintain_order=True).agg(values.mean())
    if band == QUARTILES:
        middle, low, high = values.median(), values.quantile(0.25, "linear"), values.quantile(0.75, "linear")
    else:
        error = values.std() / (pl.len().sqrt() if band == STANDARD_ERROR else 1)
        middle, low, high = values.mean(), values.mean() - error, values.mean() + error
    drawn = {"middle": middle, "low": low.clip(lower_bound=least), "high": high.clip(upper_bound=most)}
    by = table.group_by("iteration").agg(**drawn).sort("iteration")
    panel.plot(by["iteration"], by["middle"], **look)
    panel.fill_between(by["iteration"], by["low"], by["high"], color=look["color"], alpha=0.2, lw=0)


def points(panel: Any, table: pl.DataFrame, x: str, column: str, **look: Any) -> None:
    """Draw mean and standard deviation over seeds of one quantity against a setting. Each value of the setting is a
    tick.
    """
    value = pl.col(column)
    by = table.group_by(x).agg(value.mean().alias("mean"), value.std().alias("deviation")).sort(x)
    panel.errorbar(by[x], by["mean"], by["deviation"], capsize=2, **look)
    panel.set_xscale("log")
    ticks = sorted({int(tick) for drawn in panel.containers for tick in drawn[0].get_xdata()})
    panel.set_xticks(ticks, labels=[str(tick) for tick in ticks])
    panel.minorticks_off()


def label(panel: Any, x: str, y: str, lines: Iterable[float] = ()) -> None:
    """Set labels, and draw thin horizontal lines at the rewards `lines`."""
    panel.set_xlabel(x)
    panel.set_ylabel(y)
    for line in lines:
        panel.axhline(line, color="black", lw=0.5, ls=":", zorder=0)


def shared_legend(figure: Figure, **legend: Any) -> None:
    """Add one legend for all panels above them. Each named curve appears once."""
    named = [curve for panel in figure.axes for curve in zip(*panel.get_legend_handles_labels(), strict=True)]
    curves = {name: handle for handle, name in reversed(named)}
    names = list(dict.fromkeys(name for _, name in named))
    look = {"loc": "outside upper center", "ncols": len(names), "frameon": False} | legend
    figure.legend([curves[name] for name in names], names, **look)


def finish(panel: Any, x: str, y: str, lines: Iterable[float] = (), **legend: Any) -> None:
    """Set labels as `label` does, and add a legend above the panel, where it hides no curve."""
    label(panel, x, y, lines)
    panel.legend(**({"frameon": False, "loc": "lower center", "bbox_to_anchor": (0.5, 1.0)} | legend))
