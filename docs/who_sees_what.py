"""`python docs/who_sees_what.py`: draw what an action changes, and what a critic of the learner may see."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

OWN, OTHER, LEARNER, WITHOUT = "#0072B2", "#999999", "#D55E00", "#009E73"
"""Colours: what trajectory b touches itself, other trajectories, the co-players, and the co-players without b."""

_ROWS = {"b": 2.0, "c": 1.1, "d": 0.2}
_WIDTH, _HEIGHT = 2.5, 0.5


def main() -> None:
    """Write `who_sees_what.png` beside this file."""
    figure = Figure(figsize=(7.0, 4.0), dpi=200, layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(-0.55, 9.6)
    axes.set_ylim(-2.35, 3.35)
    axes.axis("off")
    for left, name in ((0.0, "inner episode m"), (6.3, "inner episode m + 1")):
        axes.text(left + _WIDTH / 2, 2.95, name, ha="center", fontsize=8)
        for row, bottom in _ROWS.items():
            _box(axes, left, bottom, _WIDTH, "", OWN if row == "b" else OTHER, fill=row == "b" or left > 0)
    for row, bottom in _ROWS.items():
        axes.text(-0.15, bottom + _HEIGHT / 2, row, ha="right", va="center", fontsize=8, style="italic")
    action, middle = 0.9, _ROWS["b"] + _HEIGHT / 2
    axes.plot([action], [middle], "o", color="black", ms=5)
    axes.text(action, middle + 0.33, "action a", ha="center", va="bottom", fontsize=7)
    _arrow(axes, (action + 0.08, middle), (_WIDTH - 0.1, middle), "black")
    axes.text(1.75, middle + 0.06, "rest: counts 1/B", ha="center", va="bottom", fontsize=6)
    axes.text(7.55, middle, "counts 1/B", ha="center", va="center", fontsize=6)
    for row in ("c", "d"):
        axes.text(1.25, _ROWS[row] + _HEIGHT / 2, "independent of a", ha="center", va="center", fontsize=6)
        axes.text(7.55, _ROWS[row] + _HEIGHT / 2, "counts 1/B", ha="center", va="center", fontsize=6)

    _box(axes, 3.55, 1.1, 1.6, "update\nψ → ψ′ of all", LEARNER)
    for bottom in _ROWS.values():
        _arrow(
            axes, (_WIDTH + 0.05, bottom + _HEIGHT / 2), (3.5, 1.1 + _HEIGHT / 2), LEARNER if bottom > 1.5 else OTHER
        )
        _arrow(axes, (5.2, 1.1 + _HEIGHT / 2), (6.25, bottom + _HEIGHT / 2), LEARNER)
    _arrow(axes, (_WIDTH + 0.05, middle + 0.1), (6.25, middle + 0.1), OWN, curve=-0.12)
    axes.text(4.35, middle + 0.5, "memory of b", ha="center", fontsize=6.5, color=OWN)

    _box(axes, 3.55, -1.15, 1.6, "update without b\nψ → ψ′(−b)", WITHOUT)
    for row in ("c", "d"):
        _arrow(axes, (_WIDTH + 0.05, _ROWS[row] + _HEIGHT / 2 - 0.1), (3.5, -1.15 + _HEIGHT / 2), WITHOUT)
    _box(axes, 6.3, -0.75, 3.15, "W(ψ′, memories of b, c, d)", LEARNER)
    axes.text(6.3, -0.93, "depends on a: may replace samples (κ < 1)", fontsize=6, color=LEARNER, va="top")
    _box(axes, 6.3, -1.75, 3.15, "W(ψ′(−b), memories of c, d)", WITHOUT)
    axes.text(6.3, -1.93, "independent of a: may be subtracted, for any W", fontsize=6, color=WITHOUT, va="top")
    _arrow(axes, (5.2, 1.1 + 0.1), (6.25, -0.5), LEARNER)
    _arrow(axes, (5.2, -1.15 + _HEIGHT / 2 - 0.1), (6.25, -1.5), WITHOUT)
    figure.savefig(Path(__file__).with_name("who_sees_what.png"))


def _box(axes: Any, left: float, bottom: float, width: float, text: str, color: str, *, fill: bool = True) -> None:
    style = {"boxstyle": "round,pad=0,rounding_size=0.08", "linewidth": 1.0, "edgecolor": color}
    axes.add_patch(FancyBboxPatch((left, bottom), width, _HEIGHT, facecolor=f"{color}22" if fill else "white", **style))
    axes.text(left + width / 2, bottom + _HEIGHT / 2, text, ha="center", va="center", fontsize=6.5)


def _arrow(axes: Any, begin: tuple[float, float], end: tuple[float, float], color: str, curve: float = 0.0) -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 7, "linewidth": 0.9, "color": color}
    axes.add_patch(FancyArrowPatch(begin, end, shrinkA=0, shrinkB=0, connectionstyle=f"arc3,rad={curve}", **style))


if __name__ == "__main__":
    main()
