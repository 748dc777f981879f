"""Learning-aware multi-agent reinforcement learning, with every gradient estimator held against the exact gradient.

Rooms are imported when they are first used, so that the command answers `--help` before JAX is imported.
"""

import importlib
from typing import TYPE_CHECKING, Any

from coala_eqx.version import __version__ as __version__

if TYPE_CHECKING:
    from coala_eqx import estimators as estimators
    from coala_eqx import exact as exact
    from coala_eqx import games as games
    from coala_eqx import learners as learners
    from coala_eqx import policies as policies
    from coala_eqx import runs as runs
    from coala_eqx import shaping as shaping
    from coala_eqx import structure as structure
    from coala_eqx import training as training
    from coala_eqx import verification as verification
    from coala_eqx.shaping import IteratedShapingProblem as IteratedShapingProblem
    from coala_eqx.shaping import MetaEpisode as MetaEpisode
    from coala_eqx.shaping import Population as Population
    from coala_eqx.shaping import ShapingProblem as ShapingProblem

_OF_SHAPING = ("IteratedShapingProblem", "MetaEpisode", "Population", "ShapingProblem")

__all__ = [
    "IteratedShapingProblem",
    "MetaEpisode",
    "Population",
    "ShapingProblem",
    "__version__",
    "estimators",
    "exact",
    "games",
    "learners",
    "policies",
    "runs",
    "shaping",
    "structure",
    "training",
    "verification",
]


def __getattr__(name: str) -> Any:
    """Import a room, or a class of `coala_eqx.shaping`, when it is first asked for."""
    if name in _OF_SHAPING:
        return getattr(importlib.import_module("coala_eqx.shaping"), name)
    if name in __all__:
        return importlib.import_module(f"coala_eqx.{name}")
    raise AttributeError(f"module 'coala_eqx' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
