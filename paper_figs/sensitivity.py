"""Outcomes of Figures 3A, 3C, 4C and 9 when one setting is changed at a time."""

from pathlib import Path

import polars as pl
from matplotlib.figure import Figure

from experiments.tables import TYPICAL
from paper_figs.curves import read
from paper_figs.style import COLUMN, ROLES, styled

_AXES = {
    "fig3a": "Fig. 3A: shaper's reward\nminus the learner's",
    "fig3c": "Fig. 3C: reward of\nmeta against meta",
    "fig4c": "Fig. 4C: reward of LOLA\nwith 20 look-aheads",
    "fig9": "Fig. 9: reward of\nmeta against meta",
}


@styled
def draw(records: Path, picture: Path) -> None:
    """A dot for each seed, and a line at the median (Figure 4C: at the mean). The dashed line is that of the
    defaults.
    """
    table = read(records)
    figure = Figure(figsize=(COLUMN, 5.4), layout="constrained")
    grid = figure.subplots(2, 2, height_ratios=(3, 2)).ravel()
    for panel, (name, label) in zip(grid, _AXES.items(), strict=True):
        here = table.filter(pl.col("figure") == name)
        rows = here.select("setting", "value").unique(maintain_order=True).rows()
        for height, (setting, value) in enumerate(rows):
            outcomes = here.filter(pl.col("setting") == setting, pl.col("value") == value)["outcome"]
            panel.plot(outcomes, [height] * len(outcomes), "o", color=ROLES["shaper"]["color"], ms=3, alpha=0.3)
            panel.plot(TYPICAL[name](outcomes), height, "|", color="black", ms=9, mew=1.2)
        default = TYPICAL[name](here.filter(pl.col("setting") == "default")["outcome"])
        panel.axvline(default, color="black", lw=0.6, ls="--", zorder=0)
        panel.set_yticks(range(len(rows)), [_label(setting, value) for setting, value in rows])
        panel.invert_yaxis()
        panel.set_xlabel(label)
    figure.savefig(picture)


def _label(setting: str, value: str) -> str:
    if setting == "shares":  # only the last one plays a part
        return f"share {value.strip('()').split(', ')[-1]}"
    return f"{setting} {value}".strip()
