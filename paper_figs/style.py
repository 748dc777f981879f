"""The same look everywhere: colours by estimator, told apart by colour-blind readers (Okabe and Ito), fonts, sizes."""

from typing import Any

COLUMN = 5.5
"""Width of a page's column, in inches."""

ESTIMATORS: dict[str, dict[str, Any]] = {
    "CoalaPG": {"color": "#0072B2", "marker": "o", "label": "COALA-PG"},
    "MFOS": {"color": "#D55E00", "marker": "s", "label": "M-FOS"},
    "BatchUnaware": {"color": "#E69F00", "marker": "D", "label": "batch-unaware"},
    "Reinforce": {"color": "#009E73", "marker": "^", "label": "REINFORCE (Eq. 24)"},
    "LolaExact": {"color": "#000000", "marker": "v", "label": "LOLA, exact"},
    "LolaDice": {"color": "#56B4E9", "marker": "<", "label": "LOLA-DiCE"},
    "LolaCoala": {"color": "#CC79A7", "marker": ">", "label": "LOLA by COALA"},
}
"""Colour, marker and name of each estimator."""

PARAMETERS: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.3,
    "grid.alpha": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "savefig.dpi": 200,
}
"""For `matplotlib.rc_context`."""
