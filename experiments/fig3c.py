"""Figure 3C: a pool of naive learners and meta agents comes to cooperate, one of meta agents alone does not."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import polars as pl

from coala_eqx.runs.directory import Part
from coala_eqx.runs.progress import Progress
from experiments import analytic, evaluation, meta_training
from experiments.claims import claim, final
from experiments.errors import median_of
from experiments.evaluation import rows
from experiments.settings import check_at_least, check_share


@dataclasses.dataclass(frozen=True)
class Settings(analytic.Settings):
    """Settings of Figure 3C."""

    initial_scale: float = 1.0
    """Standard deviation of the agents' initial logits. The paper does not say."""

    p_naive: float = 0.25
    """Share of naive learners in the mixed pool. The paper does not say."""

    iterations: int = 4000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, "p_naive")
        check_at_least(self, 0, "initial_scale")


PRESETS = {
    "smoke": Settings(iterations=100, every=50, seeds=2, meta_batch=4, evaluation_batch=8),
    "cpu": Settings(),
    "paper": Settings(meta_batch=128, iterations=8000),
}


def parts(settings: Settings) -> list[Part]:
    """One part for each of the two pools."""
    shares = {"mixed pool": settings.p_naive, "meta agents only": 0.0}
    return [
        Part(name, settings.iterations, lambda progress, share=share: run(settings, share, progress))
        for name, share in shares.items()
    ]


def run(settings: Settings, p_naive: float, progress: Progress) -> list[dict[str, Any]]:
    """Rewards of two agents of one pool. Both pools start from the same policies."""
    draws = analytic.normal_pairs(settings)
    agents = analytic.stacked(settings.initial_scale * draws)
    gradient = meta_training.pool_gradient(settings, p_naive)
    path = meta_training.train(gradient, agents, settings.keys(analytic.TRAINING), settings, progress)
    return rows(evaluation.path_of(settings), **evaluation.pool_columns(settings, path))


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims that judge the figure."""
    mixed, pure = (final(records, part=part) for part in ("mixed pool", "meta agents only"))
    return [
        claim("The mixed pool cooperates: median reward of meta agents against each other, the smaller of two",
              median_of(evaluation.smaller_reward(mixed)), "≥", 0.8),
        claim("Meta agents alone do not, from the same initial policies: median reward, the larger of two",
              median_of(pure.select(pl.max_horizontal("play_1", "play_2")).to_series()), "≤", 0.1),
    ]  # fmt: skip
