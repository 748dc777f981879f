"""Beyond the paper: how much Figures 3A, 3C, 4C and 9 depend on what the paper does not say.

One setting at a time is changed. Of Figure 3A, it is judged by how much more the shaper earns than the learner on the
learner's last step; of Figures 3C and 9, by what agents of the mixed pool earn against each other, the smaller of two;
of Figure 4C, by what the first agent earns with 20 look-aheads.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import polars as pl

from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.progress import Progress
from experiments import evaluation, fig3a, fig3c, fig4a, fig4c, fig9
from experiments.claims import DILEMMA, Estimate, claim, final, mean, median, over_seeds
from experiments.errors import Measured, median_of

CHANGES: dict[str, tuple[tuple[str, tuple[Any, ...]], ...]] = {
    "fig3a": (
        ("naive_steps", (5, 10, 40)),
        ("naive_rate", (1.0, 2.0, 10.0)),
        ("meta_batch", (4, 64)),
        ("naive_scale", (0.5, 2.0)),
        ("normalise", (False,)),
    ),
    "fig3c": (
        ("p_naive", (0.1, 0.5, 0.75, 0.9)),
        ("naive_steps", (5, 10, 40)),
        ("meta_batch", (4, 64)),
        ("initial_scale", (0.5, 2.0)),
        ("average", (False,)),
        ("normalise", (False,)),
    ),
    "fig4c": (
        ("initial_mean", (0.0, 1.0)),
        ("initial_scale", (0.1, 1.0)),
        ("shares", tuple((1.0, 1.0, 0.75, 0.6, share) for share in (0.2, 0.6, 1.0))),
    ),
    "fig9": (
        ("p_naive", (0.01, 0.02, 0.1, 0.25)),
        ("naive_steps", (10, 40)),
        ("average", (False,)),
    ),
}
"""By figure: settings, and the values that they have in place of the default."""

JUDGED: dict[str, tuple[str, Any]] = {
    "fig3a": ("normalise", False),
    "fig3c": ("p_naive", 0.9),
    "fig4c": ("initial_scale", 0.1),
    "fig9": ("p_naive", 0.25),
}
"""Those of them that a claim is about."""

TYPICAL = {"fig3a": median, "fig3c": median, "fig4c": mean, "fig9": median}
"""Over seeds, as in the figures."""

_MORE_SEEDS = {"fig4c": 8}
"""How many times as many: of these pairs each either cooperates or defects, and few would say little of the mean."""

_FIGURES: dict[str, Any] = {"fig3a": fig3a, "fig3c": fig3c, "fig4c": fig4c, "fig9": fig9}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of this study. All else is as in the `cpu` presets of the figures."""

    payoffs: str = DILEMMA
    """A game of two players with two actions each, by name or in a JSON or TOML file."""

    thorough: bool = True
    """Whether all values are tried; if not, only those that a claim is about."""

    longer: float = 1.0
    """Factor of the figures' iterations."""

    evaluation_batch: int = 64
    """Number of naive learners that rewards are reported for."""

    seeds: int = 8
    """Number of seeds."""

    seed: int = 0
    """Source of all random numbers."""

    def __post_init__(self) -> None:
        if not self.longer > 0:
            raise ValueError(f"`longer` must be more than 0, but is {self.longer}.")
        self.of("fig3a", {})

    def contents(self) -> dict[str, Any]:
        """As in the figures."""
        return self.of("fig3a", {}).contents()

    def problem(self) -> Any:
        """That of the figures, with their default settings."""
        return self.of("fig3a", {}).problem()

    def of(self, figure: str, changes: dict[str, Any]) -> Any:
        """The settings of a figure, with changes; one record at the end is enough."""
        default = _FIGURES[figure].PRESETS["cpu"]
        iterations = max(1, round(self.longer * default.iterations))
        shared = {name: getattr(self, name) for name in ("payoffs", "evaluation_batch", "seeds", "seed")}
        shared["seeds"] *= _MORE_SEEDS.get(figure, 1)
        return dataclasses.replace(default, iterations=iterations, every=iterations, **shared, **changes)


PRESETS = {
    "smoke": Settings(thorough=False, longer=0.005, evaluation_batch=4, seeds=2),
    "cpu": Settings(),
    "paper": Settings(seeds=32, longer=2.0),
}


def parts(settings: Settings) -> list[Part]:
    """One for each value of each setting, and the defaults."""
    made = []
    for figure, changes in CHANGES.items():
        tried = [(name, value) for name, values in changes for value in values]
        variants = [("default", ""), *(tried if settings.thorough else [JUDGED[figure]])]
        for name, value in variants:
            of_figure = settings.of(figure, {} if name == "default" else {name: value})
            record = {"figure": figure, "setting": name, "value": str(value)}

            def run(progress: Progress, of_figure: Any = of_figure, record: Record = record) -> list[Record]:
                return measure(of_figure, record, progress)

            made.append(Part(f"{figure}, {name} {value}".strip(), of_figure.iterations, run))
    return made


def measure(settings: Any, same: Record, progress: Progress) -> list[Record]:
    """One record for each seed, with what the figure is judged by as `outcome`."""
    match settings:
        case fig3a.Settings():
            made = table_of(fig3a.shape(settings, progress))
            outcome = pl.col("shaping") - pl.col("naive")
        case fig4c.Settings():
            made = table_of(fig4a.run(settings, fig4a.LOOKAHEADS[-1], settings.shares[-1], progress))
            outcome = pl.col("play_1")
        case fig9.Settings():
            made, outcome = table_of(fig9.run(settings, progress)), evaluation.SMALLER
        case _:
            made, outcome = table_of(fig3c.run(settings, settings.p_naive, progress)), evaluation.SMALLER
    made = made.with_columns(outcome=outcome)
    end = made.filter(pl.col("iteration") == settings.iterations)
    return [same | record for record in end.select("seed", "iteration", "finite", "outcome").to_dicts()]


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What the study is judged by: that the defaults give the paper's result, and conditions that it needs."""

    def outcome(figure: str, setting: str = "default", value: Any = "") -> Measured | Estimate:
        end = final(_of(records, figure), setting=setting, value=str(value))
        return over_seeds(end, "outcome") if TYPICAL[figure] is mean else median_of(end["outcome"])

    def judged(figure: str) -> Measured | Estimate:
        return outcome(figure, *JUDGED[figure])

    return [
        claim("Figure 3A with the defaults: median difference of rewards", outcome("fig3a"), "≥", 0.3),
        claim("On the unnormalised return (η = 5) there is no extortion",
              judged("fig3a"), "≤", 0.1),
        claim("Figure 3C with the defaults: median reward", outcome("fig3c"), "≥", 0.8),
        claim("With too few meta agents (p_naive 0.9) the mixed pool does not cooperate",
              judged("fig3c"), "≤", 0.5),
        claim("Figure 4C, 20 look-aheads, with the defaults: mean reward", outcome("fig4c"), "≥", 0.7),
        claim("From policies that hardly differ it does not (initial_scale 0.1): mean", judged("fig4c"), "≤", 0.5),
        claim("Figure 9 with the defaults: median reward", outcome("fig9"), "≥", 0.8),
        claim("With p_naive 0.25 nobody leaves defection", judged("fig9"), "≤", 0.1),
    ]  # fmt: skip


def _of(records: Sequence[Record], figure: str) -> list[Record]:
    return [record for record in records if record["figure"] == figure]
