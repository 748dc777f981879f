"""Figure 9: a mixed pool leaves unconditional defection; shaping is learned first, then cooperation at the start."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import polars as pl

from coala_eqx.policies import BinaryMemoryOne
from coala_eqx.runs.directory import Part, table_of
from coala_eqx.runs.progress import Progress
from experiments import analytic, evaluation, meta_training
from experiments.analytic import ENTRIES
from experiments.claims import claim, final, kept
from experiments.errors import median_of
from experiments.evaluation import rows
from experiments.settings import check_at_least, check_share


@dataclasses.dataclass(frozen=True)
class Settings(analytic.Settings):
    """Settings of Figure 9. Figure 10 uses them with other initial policies."""

    initial: tuple[float, ...] = (-4.6, -4.6, -4.6, -4.6, -4.6)
    """The agents' initial logits: start, CC, CD, DC and DD. −4.6 is a probability of 0.01 to cooperate."""

    initial_scale: float = 0.01
    """Standard deviation of the initial logits around `initial`, so that the agents differ. The paper does not say."""

    p_naive: float = 0.05
    """Share of naive learners. The paper does not say.
    With 0.1 or more no agent leaves defection (`docs/iterated.md`)."""

    iterations: int = 6000
    seeds: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, "p_naive")
        check_at_least(self, 0, "initial_scale")
        if len(self.initial) != len(ENTRIES):
            raise ValueError(f"`initial` must be {len(ENTRIES)} logits, but is {self.initial}.")


PRESETS = {
    "smoke": Settings(iterations=100, every=50, seeds=2, meta_batch=4, evaluation_batch=8),
    "cpu": Settings(),
    "paper": Settings(meta_batch=128, iterations=12000),
}


def parts(settings: Settings) -> list[Part]:
    """One part."""
    return [Part("pool", settings.iterations, lambda progress: run(settings, progress))]


def run(settings: Settings, progress: Progress) -> list[dict[str, Any]]:
    """Rewards of two agents against learners and against each other, and the first agent's logits."""
    path = learn(settings, progress)
    return rows(evaluation.path_of(settings), **evaluation.pool_columns(settings, path))


def learn(settings: Settings, progress: Progress) -> BinaryMemoryOne:
    """Train two agents of the pool; leaves `[seeds, records, 2, …]`."""
    draws = analytic.normal_pairs(settings)
    agents = analytic.stacked(jax.numpy.asarray(settings.initial) + settings.initial_scale * draws)
    gradient = meta_training.pool_gradient(settings, settings.p_naive)
    return meta_training.train(gradient, agents, settings.keys(analytic.TRAINING), settings, progress)


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims that judge the figure."""
    end, path = final(records), kept(table_of(records))
    lags = [_lag(seed) for _, seed in path.sort("iteration").group_by("seed", maintain_order=True)]
    return [
        claim("The pool leaves defection: median reward of agents against each other in the end, the smaller of two",
              median_of(evaluation.smaller_reward(end)), "≥", 0.8),
        claim("The start logit becomes positive last: iterations after the last other logit that does, median over "
              "seeds", median_of(lags), "≥", 1),
        claim("The start logit becomes positive: its median in the end", median_of(end["start"]), "≥", 0),
    ]  # fmt: skip


def _lag(path: pl.DataFrame) -> float:
    """Iterations from the last other logit to the start logit becoming positive for good, in one seed; NaN if one never
    does.
    """
    risen = {entry: _since(path, entry) for entry in ENTRIES}
    start = risen.pop("start")
    others = [iteration for iteration in risen.values() if iteration is not None]
    return start - max(others) if start is not None and others else float("nan")


def _since(path: pl.DataFrame, entry: str) -> int | None:
    """The iteration from which a logit stays positive, or `None` if it is not positive at the end."""
    negative = path.filter(pl.col(entry) <= 0)["iteration"]
    later = path.filter(pl.col("iteration") > (negative[-1] if len(negative) else -1))["iteration"]
    return later[0] if len(later) else None
