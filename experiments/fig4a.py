"""Figure 4A: two LOLA agents cooperate with few look-aheads, and defect with many."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from coala_eqx.policies import BinaryMemoryOne
from coala_eqx.runs.directory import Part
from coala_eqx.runs.progress import Progress
from experiments import analytic, evaluation, meta_training
from experiments.claims import claim, final, largest_of, over_seeds
from experiments.evaluation import rows
from experiments.settings import check_at_least

LOOKAHEADS = (1, 2, 3, 10, 20)


@dataclasses.dataclass(frozen=True)
class Settings(analytic.Settings):
    """Settings of Figures 4A and 4C, in which agents learn only by look-ahead.

    `naive_steps`, `naive_scale`, `meta_batch`, `evaluation_batch` and `average` have no effect.
    """

    initial_mean: float = 2.0
    """Mean of the agents' initial logits. The paper does not say.
    Agents tend to cooperate with it, as Figure 4C needs (`docs/iterated.md`)."""

    initial_scale: float = 2.0
    """Standard deviation of the agents' initial logits. The paper does not say."""

    naive_rate_of_one: float = 10.0
    """Learning rate η_naive for one look-ahead. For more look-aheads it is `naive-rate`."""

    seeds: int = 64
    iterations: int = 3000

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 0, "initial_scale", "naive_rate_of_one")


PRESETS = {
    "smoke": Settings(iterations=100, every=50, seeds=2, evaluation_batch=8),
    "cpu": Settings(),
    "paper": Settings(),
}


def parts(settings: Settings) -> list[Part]:
    """One part for each number of look-aheads."""
    return parts_by_lookahead(settings, (1.0,) * len(LOOKAHEADS))


def parts_by_lookahead(settings: Settings, shares: Sequence[float]) -> list[Part]:
    """One part for each number of look-aheads, with the share of LOLA's gradient."""
    return [
        Part(
            f"look-ahead {steps}",
            settings.iterations,
            lambda progress, steps=steps, share=share: run(settings, steps, share, progress),
        )
        for steps, share in zip(LOOKAHEADS, shares, strict=True)
    ]


def run(settings: Settings, steps: int, share: float, progress: Progress) -> list[dict[str, Any]]:
    """Rewards of two agents that look ahead, and their logits, at every record."""
    path = learn(settings, steps, share, progress)
    first, second = evaluation.first_and_second(path)
    together = evaluation.play(settings.problem(), first, second)
    return rows(
        evaluation.path_of(settings),
        lookahead=steps,
        play_1=together[..., 0],
        play_2=together[..., 1],
        finite=evaluation.are_finite(path),
        **evaluation.logits_of(first),
    )


def learn(settings: Settings, steps: int, share: float, progress: Progress) -> BinaryMemoryOne:
    """Train two agents by share · LOLA + (1 − share) · partial gradient; leaves `[seeds, records, 2, …]`."""
    rate = settings.naive_rate_of_one if steps == 1 else settings.naive_rate
    problem = settings.problem(naive_steps=steps, naive_rate=rate)

    def one(problem, own, other):
        ahead = meta_training.lookahead_gradient(problem, own, other)
        partial = meta_training.partial_gradient(problem, own, other) if share < 1 else None
        return meta_training.mix(share, ahead, partial)

    draws = analytic.normal_pairs(settings)
    pairs = analytic.stacked(settings.initial_mean + settings.initial_scale * draws)
    return meta_training.train(
        lambda pair, _: meta_training.of_both(one, problem, pair),
        pairs,
        settings.keys(analytic.TRAINING),
        settings,
        progress,
    )


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims that judge the figure: mean rewards at the end."""
    means = [over_seeds(final(records, lookahead=steps), "play_1") for steps in LOOKAHEADS]
    rises = [later - earlier for earlier, later in itertools.pairwise(means[1:])]
    return [
        claim("One look-ahead cooperates: mean reward", means[0], "≥", 0.7),
        claim("Two look-aheads cooperate: mean reward", means[1], "≥", 0.7),
        claim("Twenty look-aheads do not cooperate: mean reward", means[-1], "≤", 0.3),
        claim("The mean reward falls between: largest rise from 2 to 3, 3 to 10, or 10 to 20 look-aheads",
              largest_of(rises), "≤", 0),
    ]  # fmt: skip
