"""Beyond the paper: how much Figures 3A, 3C, 4C and 9 depend on settings that the paper does not give.

One setting is changed at a time. Figure 3A is judged by the shaper's reward minus the learner's on the learner's last
step. Figures 3C and 9 are judged by the reward of the mixed pool's agents against each other, the smaller of two.
Figure 4C is judged by the first agent's reward with 20 look-aheads.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import polars as pl

from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.progress import Progress
from experiments import evaluation, fig3a, fig3c, fig4a, fig4c, fig9
from experiments.claims import DILEMMA, Estimate, claim, final, mean, over_seeds
from experiments.errors import Measured, median_of
from experiments.tables import TYPICAL

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
"""For each figure, settings and the values that replace the default."""

JUDGED: dict[str, tuple[str, Any]] = {
    "fig3a": ("normalise", False),
    "fig3c": ("p_naive", 0.9),
    "fig4c": ("initial_scale", 0.1),
    "fig9": ("p_naive", 0.25),
}
"""The changes that a claim is about."""

_MORE_SEEDS = {"fig4c": 8}
"""Factor on the number of seeds. Each of these pairs either cooperates or defects, and a few would say little of the
mean.
"""

_FIGURES: dict[str, Any] = {"fig3a": fig3a, "fig3c": fig3c, "fig4c": fig4c, "fig9": fig9}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of this study. All others are those of the figures' `cpu` presets."""

    payoffs: str = DILEMMA
    """Game of two players with two actions each: its name, or a JSON or TOML file."""

    thorough: bool = True
    """Whether all values are tried, instead of only those that a claim is about."""

    longer: float = 1.0
    """Factor of the figures' numbers of iterations."""

    evaluation_batch: int = 64
    """Number of naive learners that rewards are reported for."""

    seeds: int = 8
    """Number of seeds."""

    seed: int = 0
    """Seed of all random numbers, from 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        if not self.longer > 0:
            raise ValueError(f"`longer` must be more than 0, but is {self.longer}.")
        self.of("fig3a", {})

    def contents(self) -> dict[str, Any]:
        """Contents of the game's file, as in the figures."""
        return self.of("fig3a", {}).contents()

    def problem(self) -> Any:
        """The problem of the figures, with their default settings."""
        return self.of("fig3a", {}).problem()

    def of(self, figure: str, changes: dict[str, Any]) -> Any:
        """The settings of a figure with changes. One record at the end is enough."""
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
    """One part for the defaults, and one for each value of each setting."""
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
    """One record for each seed; `outcome` is the number that judges the figure."""
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
    """The claims that judge the study: the defaults give the paper's result, and it needs some conditions."""

    def outcome(figure: str, setting: str = "default", value: Any = "") -> Measured | Estimate:
        end = final(_of(records, figure), setting=setting, value=str(value))
        return over_seeds(end, "outcome") if TYPICAL[figure] is mean else median_of(end["outcome"])

    def judged(figure: str) -> Measured | Estimate:
        return outcome(figure, *JUDGED[figure])

    return [
        claim("Figure 3A with the defaults: median difference of rewards", outcome("fig3a"), "≥", 0.3),
        claim("Figure 3A on the unnormalised return (η = 5) has no extortion: median difference of rewards",
              judged("fig3a"), "≤", 0.1),
        claim("Figure 3C with the defaults: median reward", outcome("fig3c"), "≥", 0.8),
        claim("Figure 3C with too few meta agents (p_naive 0.9) does not cooperate: median reward",
              judged("fig3c"), "≤", 0.5),
        claim("Figure 4C, 20 look-aheads, with the defaults: mean reward", outcome("fig4c"), "≥", 0.7),
        claim("Figure 4C from policies that hardly differ (initial_scale 0.1) does not cooperate: mean reward",
              judged("fig4c"), "≤", 0.5),
        claim("Figure 9 with the defaults: median reward", outcome("fig9"), "≥", 0.8),
        claim("Figure 9 with p_naive 0.25 does not leave defection: median reward", judged("fig9"), "≤", 0.1),
    ]  # fmt: skip


def _of(records: Sequence[Record], figure: str) -> list[Record]:
    return [record for record in records if record["figure"] == figure]
