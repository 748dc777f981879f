"""Beyond the paper: noise and direction of gradients with a critic that sees the learner.

An agent is trained with κ = 0.5. At some stages the gradients of all κ, of the hybrid, M-FOS and batch-unaware are
measured on the same meta-episodes, while most is learned. The agent's own critic predicts the inner episode here, so
COALA-PG without a critic of the learner relies on the other meta-episodes' mean alone.

A first run measured after 40, 80, …, 200 iterations. The agent earned 1.34 per step or more from the second of them
on, and 1024 meta-episodes did not resolve the true gradient at any of them. The preset `cpu` has ended after 60
iterations since then. The claims are the same.
"""

from collections.abc import Sequence
from typing import Any

from coala_eqx.runs.directory import Record
from experiments import fig5a, noise, sampled
from experiments.settings import override

SINGLE, parts = noise.SINGLE, noise.parts

SHAPED: dict[str, Any] = {
    "lambdas": (1.0,),
    "critic.use": True,
    "critic.kappa": 0.5,
    "agent.leave_one_out": True,
}
"""The agent's settings, those of the figure `learner-critic`."""

PRESETS = {
    "smoke": override(noise.Measured(), sampled.SMOKE | SHAPED | {"measured": 3, "critic.groups": 2}),
    "cpu": override(noise.Measured(), fig5a.SMALL | SHAPED | {"iterations": 60, "seeds": 2, "measured": 48}),
    "paper": override(noise.Measured(), SHAPED | {"every": 100}),
}


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: ratios of means over seeds and training."""
    return noise.shaped_claims(noise.Judged(records))
