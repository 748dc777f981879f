"""One look for all figures: fonts, sizes and colours.

Colour-blind readers can tell the colours of estimators apart (Okabe and Ito).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

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

SHAPED: dict[str, dict[str, Any]] = {
    "kappa 1": {"color": "#56B4E9", "label": "sees the learner, κ = 1 (unbiased)"},
    "kappa 0.9": {"color": "#0072B2", "ls": "--", "label": "κ = 0.9"},
    "kappa 0.5": {"color": "#0072B2", "label": "κ = 0.5"},
    "kappa 0": {"color": "#0072B2", "ls": ":", "label": "κ = 0"},
    "hybrid": {"color": "#009E73", "label": "own path sampled"},
}
"""Looks of COALA-PG with a critic that sees the learner."""

_OWN = ("#882255", "#44AA99", "#999933", "#332288")
"""Colours of a user's own estimators, in turn."""


def look(estimator: str) -> dict[str, Any]:
    """Colour and label of an estimator's curve. An estimator of a user's own is labelled by its own name."""
    if estimator in ESTIMATORS:
        return {key: ESTIMATORS[estimator][key] for key in ("color", "label")}
    return {"color": _OWN[sum(map(ord, estimator)) % len(_OWN)], "label": estimator}


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
"""Settings of matplotlib."""


def styled(draw: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
    """Decorates a function that draws records into a picture."""
    return mpl.rc_context(PARAMETERS)(draw)


ROLES: dict[str, dict[str, Any]] = {
    "shaper": {"color": "#0072B2", "label": "shaping agent"},
    "shaping": {"color": "#0072B2", "ls": "--", "label": "against naive learners"},
    "naive": {"color": "#D55E00", "label": "naive learner"},
    "first": {"color": "#0072B2", "label": "first agent"},
    "second": {"color": "#CC79A7", "label": "second agent"},
    "mixed": {"color": "#0072B2", "label": "naive and meta agents"},
    "meta": {"color": "#999999", "label": "meta agents only"},
    "tit-for-tat": {"color": "#000000", "ls": "--", "label": "tit-for-tat"},
}
"""Looks of the players in the analytic figures. Ego agents that learn by shaping have COALA-PG's colour."""

ENTRIES: dict[str, dict[str, Any]] = {
    "start": {"color": "#000000", "ls": "-"},
    "CC": {"color": "#0072B2", "ls": "--"},
    "CD": {"color": "#D55E00", "ls": "-."},
    "DC": {"color": "#009E73", "ls": "-"},
    "DD": {"color": "#CC79A7", "ls": ":"},
}
"""Looks of the five logits of a memory-one policy."""

LOOKAHEADS: dict[int, dict[str, Any]] = {
    1: {"color": "#440154", "ls": "-"},
    2: {"color": "#3B528B", "ls": "--"},
    3: {"color": "#21918C", "ls": "-."},
    10: {"color": "#56B870", "ls": ":"},
    20: {"color": "#D55E00", "ls": "-"},
}
"""Looks, keyed by the number of look-aheads."""
