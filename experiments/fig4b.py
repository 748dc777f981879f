"""Figure 4B: the final policies of 20 look-aheads, frozen, extort a fresh naive learner."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import polars as pl

from coala_eqx.runs.directory import Part
from coala_eqx.runs.progress import Progress
from experiments import analytic, evaluation, fig4a
from experiments.claims import claim, final, over_seeds
from experiments.evaluation import rows
from experiments.settings import check_at_least


@dataclasses.dataclass(frozen=True)
class Settings(fig4a.Settings):
    """Settings of Figure 4B. `evaluation_batch` fresh learners meet each policy."""

    lookahead: int = 20
    """Number of look-aheads of the agents in training."""

    learner_steps: int = 100
    """Number of steps of the fresh naive learner. The paper does not say."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "lookahead", "learner_steps")


PRESETS = {
    "smoke": Settings(iterations=100, every=50, seeds=2, evaluation_batch=8),
    "cpu": Settings(),
    "paper": Settings(),
}


def parts(settings: Settings) -> list[Part]:
    """One part: policies are trained as for Figure 4A, then met."""
    return [Part("learner", settings.iterations, lambda progress: run(settings, progress))]


def run(settings: Settings, progress: Progress) -> list[dict[str, Any]]:
    """Rewards of both at each step of the learner (the column `iteration`), averaged over the learners of each seed."""
    first, _ = evaluation.first_and_second(fig4a.learn(settings, settings.lookahead, 1.0, progress))
    met = evaluation.meet_learners(
        settings.problem(naive_steps=settings.learner_steps),
        jax.tree.map(lambda leaf: leaf[:, -1:], first),
        analytic.evaluation_learners(settings),
    )
    columns = {"frozen": met.other[:, 0], "naive": met.own[:, 0], "lookahead": settings.lookahead}
    finite = met.finite.astype(float).repeat(settings.learner_steps + 1, axis=1)
    return rows(range(settings.learner_steps + 1), **columns, finite=finite)


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims that judge the figure: means at the end."""
    end = final(records)
    return [
        claim("The frozen policy earns more than the learner in the end: mean difference",
              over_seeds(end, pl.col("frozen") - pl.col("naive")), "≥", 0.3),
        claim("The learner is extorted into cooperation: mean reward of the two players",
              over_seeds(end, (pl.col("frozen") + pl.col("naive")) / 2), "≥", 0.4),
    ]  # fmt: skip
