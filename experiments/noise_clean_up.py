"""Beyond the paper: the same of CleanUp-lite, where what a learner is taught pays much later than what is done.

How many meta-episodes COALA-PG's gradient needs says how far a small run is from one in which methods can differ.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from coala_eqx.training import Pool, PoolState
from experiments import clean_up, noise, sampled
from experiments.records import Part, Record, claim

SINGLE = noise.SINGLE
"""Training is done in single precision."""


@dataclasses.dataclass(frozen=True)
class Settings(clean_up.Settings):
    """Of this figure."""

    measured: int = 16
    """Meta-batches by which gradients are measured."""

    lambdas: tuple[float, ...] = (1.0, 0.98)
    """λ of the advantages that are measured; the agent is trained with `gae_lambda`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        noise.check(self, self.lambdas)

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        return {"CoalaPG": self.alone(sampled.ESTIMATORS["CoalaPG"])}

    def watch(self, pool: Pool, state: PoolState) -> noise.Noise:
        return noise.measure(self, pool, state, self.measured, self.lambdas)


PRESETS = {
    "smoke": Settings(**sampled.SMOKE_ON_GRIDS, measured=3),
    "cpu": Settings(
        rows=3,
        columns=3,
        zap_distance=1,
        batch=16,
        episodes=80,
        steps=48,
        meta_batch=16,
        iterations=60,
        every=20,
        network="mlp",
        naive_network="mlp",
        rate=1e-3,
        minibatches=8,
        discount=1.0,
        gae_lambda=0.98,
        td_lambda=0.98,
        centre=False,
        naive_rate=3e-2,
        naive_population=4,
        seeds=2,
    ),
    "paper": Settings(every=100),
}


def parts(settings: Settings) -> list[Part]:
    """A single one."""
    return noise.parts_by(settings, settings.lambdas)


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What the figure is judged by: ratios of means over seeds and training."""
    _, both = noise.BASELINES

    def of(column: str, estimator: str, gae_lambda: float) -> float:
        return noise.overall(records, column, estimator, gae_lambda, both)

    return [
        claim("λ = 0.98 takes COALA-PG's learning awareness: cosine of the angle between its gradient and M-FOS's",
              of("cosine_coala", "MFOS", 0.98), "≥", 0.95),
        claim("and with the true one", of("cosine", "CoalaPG", 0.98), "≤", 0.8),
        claim("λ = 1 makes it noisy: critical meta-batch, in meta-episodes", of("critical", "CoalaPG", 1.0), "≥", 100),
    ]  # fmt: skip
