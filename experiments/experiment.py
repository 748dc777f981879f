"""An experiment: presets of settings, parts that are run, and claims that judge the records.

Each figure is a module of this package that defines

- `PRESETS`: settings, a dataclass, for each of `smoke` (does it run?), `cpu` (two cores) and `paper` (accelerators);
- `parts(settings)`: the parts. Each is run, and resumed, on its own, and gives records;
- `claims(records)`: the claims, as `experiments.claims.claim` makes them;
- `SINGLE = True` if it is computed in single precision;
- `RECORDS_OF`: the name of another figure, if this one shows other columns of that figure's records.

A settings class may have `problem()` and `check()`, which raise `ValueError` for settings that do not fit,
`contents()`, which a run notes beside its settings, and `in_words()`, which describes its layout. A module of the same
name in `paper_figs` draws the figure.
"""

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax

from coala_eqx.runs.directory import Part, Record
from experiments.settings import override

ANALYTIC = ("fig3a", "fig3b", "fig3c", "fig4a", "fig4b", "fig4c", "fig8", "fig9", "fig10")
"""Figures of the paper that are solved in closed form."""

SAMPLED = ("fig5a", "fig5b", "fig5c", "fig12", "table-h3", "fig6", "fig13", "fig7", "fig14")
"""Figures of the paper that are sampled."""

BEYOND = (
    "bias-variance",
    "coin-game",
    "continuous-time",
    "critics",
    "inner-batch",
    "learner-critic",
    "memory",
    "noise",
    "noise-clean-up",
    "noise-learner-critic",
    "phase-portraits",
    "scripted",
    "sensitivity",
)
"""Figures of this project's own."""

NOISE = ("noise", "noise-clean-up", "noise-learner-critic")
TRAINED = (*SAMPLED, "coin-game", "inner-batch", "learner-critic", "memory", *NOISE)
"""Figures for which sequence models are trained."""

FIGURES = {name: name.replace("-", "_") for name in ANALYTIC + SAMPLED + BEYOND}
"""The module of each figure, in `experiments` and in `paper_figs`."""

GROUPS = {"all": ANALYTIC, "paper": ANALYTIC + SAMPLED}
"""Names for several figures in one command."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A figure's experiment."""

    figure: str
    text: str
    presets: Mapping[str, Any]
    parts: Callable[[Any], list[Part]]
    claims: Callable[[Sequence[Record]], list[dict[str, Any]]]
    single: bool
    records_of: str | None

    def precision(self) -> AbstractContextManager[Any]:
        """The context in which it is computed, and in which settings and users' code are read."""
        return jax.enable_x64(not self.single)


def load(figure: str) -> Experiment:
    """The experiment of a figure."""
    module = importlib.import_module(f"experiments.{FIGURES[figure]}")
    return Experiment(
        figure,
        module.__doc__ or "",
        module.PRESETS,
        module.parts,
        module.claims,
        getattr(module, "SINGLE", False),
        getattr(module, "RECORDS_OF", None),
    )


def settings_of(figure: str, preset: str, changes: Mapping[str, Any]) -> Any:
    """The settings of a preset with changes, by name.

    **Raises** `ValueError` for unknown settings, or settings that do not fit each other.
    """
    experiment = load(figure)
    with experiment.precision():
        return checked(experiment, override(experiment.presets[preset], changes))


def checked(experiment: Experiment, settings: Any) -> Any:
    """The settings. **Raises** `ValueError` if they do not describe a problem, or do not fit the machine."""
    with experiment.precision():
        for name in ("problem", "check"):
            if hasattr(settings, name):
                getattr(settings, name)()
    return settings
