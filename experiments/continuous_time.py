"""Beyond the paper: shaping a learner in continuous time, compared with shaping one that takes steps.

The learner follows dψ/dt = ∂J^{-i}/∂ψ for the time η_naive · steps, and the agent climbs ∫ J^i dt along that flow.
Ascent in steps of η tends to the flow as η → 0 (`proofs_checks/continuous_time.py`). This figure shows how far η = 5 is
from it, and whether an agent trained against one kind of learner shapes the other.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from jaxtyping import Array

import coala_eqx as ce
from coala_eqx.learners import AbstractExactLearner, ExactAscent, GradientFlow
from coala_eqx.policies import BinaryMemoryOne
from coala_eqx.runs.directory import Part, table_of
from coala_eqx.runs.progress import Progress
from experiments import analytic, evaluation, fig3a
from experiments.claims import claim, final, kept
from experiments.errors import median_of
from experiments.evaluation import rows
from experiments.settings import check_at_least

KINDS = ("ascent", "flow")


@dataclasses.dataclass(frozen=True)
class Settings(fig3a.Settings):
    """Settings of this figure. Those that are not listed are as in Figure 3A."""

    tolerance: float = 1e-5
    """Tolerance of the flow's solver, in meta-training and evaluation."""

    halvings: int = 8
    """Number of times that η is halved, from `naive-rate` on, at the same η · steps."""

    pairs: int = 64
    """Number of random pairs of agents and learners for measuring errors."""

    meta_batch: int = 8
    iterations: int = 1500
    seeds: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "pairs", "halvings", "naive_steps")
        if not (self.naive_rate > 0 and self.tolerance > 0):
            raise ValueError(
                f"`naive_rate` and `tolerance` must be positive, but are {self.naive_rate} and {self.tolerance}."
            )

    def learner(self, kind: str, **changes: Any) -> AbstractExactLearner:
        """A learner of one of `KINDS`. Both kinds learn for the time η_naive · steps."""
        if kind == "ascent":
            return ExactAscent(rate=self.naive_rate, steps=self.naive_steps)
        duration = self.naive_rate * self.naive_steps
        return GradientFlow(duration, points=self.naive_steps + 1, **{"tolerance": self.tolerance, **changes})


PRESETS = {
    "smoke": Settings(
        iterations=100, every=50, seeds=2, meta_batch=2, evaluation_batch=8, tolerance=1e-3, halvings=3, pairs=4
    ),
    "cpu": Settings(),
    "paper": Settings(meta_batch=128, iterations=4000, seeds=32),
}


def parts(settings: Settings) -> list[Part]:
    """One part for the errors of steps, then one for an agent of each kind."""
    return [
        Part("errors", 1, lambda progress: measure_errors(settings, progress)),
        *(
            Part(f"shaping by {kind}", settings.iterations, lambda progress, kind=kind: shape(settings, kind, progress))
            for kind in KINDS
        ),
    ]


def measure_errors(settings: Settings, progress: Progress) -> list[dict[str, Any]]:
    """Root mean square errors, relative to the flow, of the mean return along the path and of its gradient."""
    agents, learners = jax.random.normal(settings.keys(analytic.LATER)[0], (2, settings.pairs, len(analytic.ENTRIES)))
    problem, duration = settings.problem(), settings.naive_rate * settings.naive_steps
    *limit, solved = _returns(problem, settings.learner("flow", tolerance=1e-11), agents, learners, 1 / duration)
    records = []
    for halving in range(settings.halvings + 1):
        rate, steps = settings.naive_rate / 2**halving, settings.naive_steps * 2**halving
        *found, finite = _returns(problem, ExactAscent(rate, steps), agents, learners, rate / duration)
        errors = [float(np.linalg.norm(f - x) / np.linalg.norm(x)) for f, x in zip(found, limit, strict=True)]
        columns = {"step": rate, "return_error": errors[0], "gradient_error": errors[1]}
        records.append({"seed": 0, "iteration": halving, "finite": float(solved and finite), **columns})
    progress(1)
    return records


@eqx.filter_jit
def _returns(
    problem: ce.IteratedShapingProblem, learner: AbstractExactLearner, agents: Array, learners: Array, scale: float
) -> tuple[Array, Array, Array]:
    """The return along the path times `scale` for all pairs, its gradient, and whether all numbers are finite."""
    problem = eqx.tree_at(lambda problem: problem.learner, problem, learner)

    def collected(agent: Array, naive: Array) -> tuple[Array, Array]:
        path = problem.learn(BinaryMemoryOne(agent), BinaryMemoryOne(naive))
        return scale * path.collected, path.finite

    (values, finite), gradients = jax.vmap(jax.value_and_grad(collected, has_aux=True))(agents, learners)
    return values, gradients, finite.all()


def shape(settings: Settings, kind: str, progress: Progress) -> list[dict[str, Any]]:
    """Train agents that shape learners of one kind, and let both kinds meet them.

    Records over meta-training (`panel` is `training`) have rewards on the learner's last step. Records of the final
    policies over the learner's time (`panel` is `path`) have the learner's step as `iteration`.
    """
    problems = {
        other: eqx.tree_at(lambda problem: problem.learner, settings.problem(), settings.learner(other))
        for other in KINDS
    }
    agents = fig3a.learn(problems[kind], settings, progress)
    naive = analytic.evaluation_learners(settings)
    met = {other: evaluation.meet_learners(problem, agents, naive) for other, problem in problems.items()}
    finite = jnp.stack([path.finite for path in met.values()]).all(axis=0)
    ends, along = {}, {}
    for other, path in met.items():
        ends |= {f"shaping_{other}": path.other[..., -1], f"naive_{other}": path.own[..., -1]}
        along |= {f"shaping_{other}": path.other[:, -1], f"naive_{other}": path.own[:, -1]}
    over_steps = finite[:, -1:].repeat(settings.naive_steps + 1, axis=1)
    return [
        *rows(evaluation.path_of(settings), panel="training", kind=kind, finite=finite.astype(float), **ends),
        *rows(
            range(settings.naive_steps + 1), panel="path", kind=kind, finite=over_steps.astype(float), **along
        ),
    ]  # fmt: skip


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims that judge the figure."""
    errors = kept(table_of(records).filter(pl.col("part") == "errors")).sort("iteration")
    last_two = {name: errors[f"{name}_error"][-2:].to_numpy() for name in ("return", "gradient")}
    gaps = []
    for kind in KINDS:
        end = final([r for r in records if r.get("panel") == "training" and r.get("kind") == kind])
        gaps += [(kind, other, median_of(end[f"shaping_{other}"] - end[f"naive_{other}"])) for other in KINDS]
    return [
        *(
            claim(f"The {name}'s error halves with the step: distance from 2 of the ratio at the last two steps",
                  abs(two[0] / two[1] - 2) if len(two) == 2 else float("nan"), "≤", 0.1)
            for name, two in last_two.items()
        ),
        *(
            claim(f"Trained against {kind}, the agent earns more than a learner by {other} in the end: median "
                  "difference", gap, "≥", 0.3)
            for kind, other, gap in gaps
        ),
    ]  # fmt: skip
