"""Figure 10: a mixed pool leaves tit-for-tat, keeps cooperating, and comes to shape learners faster."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from coala_eqx.runs.directory import Part, table_of
from coala_eqx.runs.progress import Progress
from experiments import analytic, evaluation, fig9
from experiments.analytic import ENTRIES
from experiments.claims import claim, final, kept
from experiments.errors import bootstrapped, median_of
from experiments.evaluation import rows

_SURE = 4.6

_ENOUGH = 0.8
"""Sufficient reward per step: four fifths of mutual cooperation."""

TIT_FOR_TAT = (_SURE, _SURE, -_SURE, _SURE, -_SURE)
"""Logits of tit-for-tat, with probabilities of 0.99 and 0.01."""


@dataclasses.dataclass(frozen=True)
class Settings(fig9.Settings):
    """Settings of Figure 10."""

    initial: tuple[float, ...] = TIT_FOR_TAT
    """The agents' initial logits: start, CC, CD, DC and DD. The paper does not say how large they are."""

    p_naive: float = 0.25
    """Share of naive learners. The paper does not say; the share is that of Figure 3C."""

    iterations: int = 4000


PRESETS = {
    "smoke": Settings(iterations=100, every=50, seeds=2, meta_batch=4, evaluation_batch=8),
    "cpu": Settings(),
    "paper": Settings(meta_batch=128, iterations=12000),
}


def parts(settings: Settings) -> list[Part]:
    """One part: the pool, then learners against its final policies and against tit-for-tat (panel C)."""
    return [Part("pool", settings.iterations, lambda progress: run(settings, progress))]


def run(settings: Settings, progress: Progress) -> list[dict[str, Any]]:
    """Records as in Figure 9. Those of panel C have the learner's step as `iteration`."""
    path = fig9.learn(settings, progress)
    records = rows(evaluation.path_of(settings), panel="pool", **evaluation.pool_columns(settings, path))
    start = analytic.stacked(jnp.broadcast_to(jnp.asarray(settings.initial), (settings.seeds, 1, len(ENTRIES))))
    end = jax.tree.map(lambda leaf: leaf[:, -1:], evaluation.first_and_second(path)[0])
    for panel, policy in (("tit-for-tat", start), ("final policy", end)):
        met = evaluation.meet_learners(settings.problem(), policy, analytic.evaluation_learners(settings))
        steps = range(settings.naive_steps + 1)
        finite = met.finite.astype(float).repeat(len(steps), axis=1)
        columns = {"shaping_1": met.other[:, 0], "naive_1": met.own[:, 0], "finite": finite}
        records += rows(steps, panel=panel, **columns)
    return records


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims that judge the figure."""
    table = kept(table_of(records))
    pool = table.filter(pl.col("panel") == "pool")
    begin, end = final(pool, 0), final(pool)
    logits = np.stack([at.sort("seed").select(ENTRIES).to_numpy() for at in (begin, end)], axis=1)
    moved = bootstrapped(lambda drawn: np.abs(np.diff(np.median(drawn, axis=0), axis=0)).max(), logits)
    rewards = pool.sort("seed", "iteration").select("seed", evaluation.SMALLER.alias("smaller"))
    paths = [path["smaller"] for path in rewards.partition_by("seed", maintain_order=True)]
    lowest = bootstrapped(lambda drawn: np.median(drawn, axis=0).min(), paths)
    steps = {panel: _steps(table.filter(pl.col("panel") == panel)) for panel in ("final policy", "tit-for-tat")}
    return [
        claim("It leaves tit-for-tat: largest change of a median logit", moved, "≥", 1),
        claim("It keeps cooperating: median reward of the agents against each other, the smaller of two, least of all "
              "iterations", lowest, "≥", 0.8),
        claim(f"It shapes faster than tit-for-tat: fewer steps until it earns {_ENOUGH} against learners, median over "
              "seeds", median_of(steps["tit-for-tat"] - steps["final policy"]), "≥", 1),
    ]  # fmt: skip


def _steps(path: pl.DataFrame) -> np.ndarray:
    """The learner's step at which each seed's mean reward first suffices; one more than the last if it never does."""
    never = path.select(pl.col("iteration").max() + 1).item()
    enough = pl.col("iteration").filter(pl.col("shaping_1") >= _ENOUGH).min().fill_null(never)
    return path.group_by("seed").agg(enough).sort("seed")["iteration"].to_numpy().astype(float)
