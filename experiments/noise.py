"""Beyond the paper: the number of meta-episodes that each estimator's gradient needs, and its direction.

While COALA-PG trains an agent in the iterated prisoner's dilemma, the gradients of all estimators are measured on the
same meta-episodes against naive learners: their noise relative to their signal, and the angles between them.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from coala_eqx.estimators import MFOS, AbstractScoreFunctionEstimator, BatchUnaware, CoalaHybrid, CoalaPG
from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.progress import Progress
from coala_eqx.training import GradientNoise, Pool, PoolState, gradient_noise
from experiments import errors, fig5a, sampled, training
from experiments.claims import claim, kept
from experiments.settings import check_at_least, override
from experiments.tables import BASELINES, SEES_LEARNER, WITH_ADVANTAGES, noise_means

SINGLE = True
"""Training is done in single precision."""


@dataclasses.dataclass(frozen=True)
class Compared:
    """One of the gradients that are measured."""

    baseline: str
    gae_lambda: float
    name: str
    estimator: AbstractScoreFunctionEstimator
    leave_one_out: bool

    true: int
    """Number of the true gradient, with this baseline."""

    coala: int
    """Number of COALA-PG's gradient with this λ and baseline."""

    by_critic: bool = False
    """Whether it has the critic that sees the learner."""

    recorded: bool = True
    """Whether it has records of its own."""


@dataclasses.dataclass(frozen=True)
class Measured(sampled.Settings):
    """Settings of gradients that are measured while one agent is trained by COALA-PG. A class that derives from it
    names that of its game first, whose defaults hold.
    """

    measured: int = 16
    """Number of meta-batches that measure the gradients, at least 3 for standard errors."""

    lambdas: tuple[float, ...] = (1.0, 0.98)
    """Values of λ of the advantages that are measured. The agent is trained with `agent.gae-lambda`."""

    kappas: tuple[float, ...] = (0.9, 0.5, 0.0)
    """Values of κ below 1 that are measured with `critic.use`. The agent is trained with `critic.kappa`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 3, "measured")
        check_at_least(self.pool, 2, "meta_batch")
        if self.agent.discount != 1:
            raise ValueError(
                "`agent.discount` must be 1, as the gradient of COALA-PG is the true one then, but is "
                f"{self.agent.discount}."
            )
        if (
            not self.lambdas
            or len(set(self.lambdas)) < len(self.lambdas)
            or not all(0 <= value <= 1 for value in self.lambdas)
        ):
            raise ValueError(
                f"`lambdas` must be one or more different numbers between 0 and 1, but are {self.lambdas}."
            )
        if len(set(self.kappas)) < len(self.kappas) or not all(0 <= value < 1 for value in self.kappas):
            raise ValueError(f"`kappas` must be different numbers from 0 to below 1, but are {self.kappas}.")

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        return {"CoalaPG": self.alone(sampled.ESTIMATORS["CoalaPG"])}

    def compared(self) -> list[Compared]:
        """The gradients that are measured. For each baseline the first one is COALA-PG's with λ = 1, which is true."""
        found: list[Compared] = []
        for baseline, leave_one_out in BASELINES.items():
            true = len(found)
            found.append(Compared(baseline, 1.0, "CoalaPG", CoalaPG(), leave_one_out, true, true, recorded=False))
            for value in self.lambdas:
                coala = len(found)
                for name, kind in zip(WITH_ADVANTAGES, (CoalaPG, MFOS, BatchUnaware), strict=True):
                    found.append(Compared(baseline, value, name, kind(gae_lambda=value), leave_one_out, true, coala))
        if self.critic.use:
            true = len(found)
            shaped = {"CoalaPG": CoalaPG()}
            shaped |= {f"kappa {value:g}": CoalaPG(kappa=value) for value in self.kappas}
            shaped |= {"hybrid": CoalaHybrid(), "MFOS": MFOS(kappa=0.5), "BatchUnaware": BatchUnaware()}
            found += [Compared(SEES_LEARNER, 1.0, *one, True, true, true, by_critic=True) for one in shaped.items()]
        return found

    def watch(self, pool: Pool, state: PoolState) -> GradientNoise:
        """Noise of the gradients of the pool's agent, on the same meta-episodes for all that are compared."""
        compared = self.compared()
        (agent,) = pool.agents
        plain = dataclasses.replace(agent, algorithm=dataclasses.replace(agent.algorithm, centre=False))
        return gradient_noise(
            dataclasses.replace(pool, agents=(plain,)),
            state,
            [one.estimator for one in compared],
            self.measured,
            leave_one_out=[one.leave_one_out for one in compared],
            by_critic=[one.by_critic for one in compared],
            layout=self.fitting_layout(pool),
        )


PRESETS = {
    "smoke": override(Measured(), sampled.SMOKE | {"measured": 3}),
    "cpu": override(Measured(), fig5a.SMALL | {"every": 30, "seeds": 2, "measured": 48}),
    "paper": override(Measured(), {"every": 100}),
}


def parts(settings: Measured) -> list[Part]:
    """One part."""
    return sampled.parts(settings, functools.partial(run, settings.compared()))


def run(
    compared: Sequence[Compared], settings: sampled.Settings, name: str, pool: Pool, progress: Progress
) -> list[Record]:
    """Measurements over training, for each baseline, λ and estimator.

    Columns are ‖G‖² (`square`), the variance, and the products of G with the true gradient (`with_true`; `true` is the
    square of that one) and with COALA-PG's gradient of the same λ (`with_coala`). They are given again without each of
    the meta-batches in turn, for errors: `left_out` is the number of the missing one, from 1, and 0 where none is
    missing.
    """
    del name
    _, seen, noise = training.train(settings, pool, progress)
    recorded = [(here, one) for here, one in enumerate(compared) if one.recorded]
    return [
        {
            "seed": seed,
            "baseline": one.baseline,
            "left_out": left_out,
            "lambda": one.gae_lambda,
            "estimator": one.name,
            "iteration": (record + 1) * settings.run.every,
            "square": float(products[seed, record, here, here]),
            "true": float(products[seed, record, one.true, one.true]),
            "with_true": float(products[seed, record, one.true, here]),
            "with_coala": float(products[seed, record, one.coala, here]),
            "variance": float(variances[seed, record, here]),
            "reward": float(seen.ego[seed, record, 0].mean()),
            "finite": float(seen.finite[seed, record, 0]),
        }
        for left_out, (products, variances) in enumerate(_replicates(noise))
        for here, one in recorded
        for seed in range(settings.run.seeds)
        for record in range(settings.run.iterations // settings.run.every)
    ]


def _replicates(noise: GradientNoise) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield products and variances from all meta-batches, then without each of them."""
    number, noise = noise.inner.shape[-3], jax.tree.map(jnp.asarray, noise)
    for one in (noise, *(noise.without(left_out) for left_out in range(number))):
        yield np.asarray(one.products), np.asarray(one.variances)


class Judged:
    """Ratios of means over seeds and training."""

    def __init__(self, records: Sequence[Record]):
        self._means = noise_means(kept(table_of(records))).sort("left_out")

    def by_left_out(self, column: str, estimator: str, gae_lambda: float, baseline: str) -> pl.Series:
        """One ratio from all meta-batches, then without each of them."""
        same = (pl.col("lambda") - gae_lambda).abs() < 1e-6  # kept records are in single precision
        return self._means.filter(pl.col("estimator") == estimator, same, pl.col("baseline") == baseline)[column]

    @property
    def sees_learner(self) -> bool:
        """Whether gradients with a critic that sees the learner were measured."""
        return SEES_LEARNER in self._means["baseline"]

    def seen(self, estimator: str, gae_lambda: float, baseline: str) -> bool:
        """Whether the square of the estimator's gradient is more than two standard errors above 0."""
        square = self.by_left_out("square", estimator, gae_lambda, baseline)
        return len(square) > 0 and square[0] > 2 * errors.jackknife(square[1:])

    @staticmethod
    def within(number: int, ratio: pl.Series) -> errors.Measured:
        """The ratio from all meta-batches plus `number` standard errors; NaN if there is no such ratio."""
        if not len(ratio):
            return errors.Measured(np.nan, np.nan, None)
        error = errors.jackknife(ratio[1:])
        return errors.Measured(ratio[0] + number * error, error, None, margin=abs(number))


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: ratios of means over seeds and training, with λ = 1."""
    alone, both = BASELINES
    judged = Judged(records)
    signal = functools.partial(judged.by_left_out, "signal")
    coala = signal("CoalaPG", 1.0, both)
    return [
        claim("M-FOS's gradient turns away from the true one: cosine of their angle, plus two standard errors",
              judged.within(2, judged.by_left_out("cosine", "MFOS", 1.0, both)), "≤", 0.8),
        claim("COALA-PG's gradient needs more meta-episodes than M-FOS's: its signal, ‖G‖² / variance, over M-FOS's, "
              "plus two standard errors", judged.within(2, coala / signal("MFOS", 1.0, both)), "≤", 1 / 2),
        claim("Other meta-episodes improve the baseline over a critic alone: COALA-PG's signal without them over that "
              "with them, plus two standard errors",
              judged.within(2, signal("CoalaPG", 1.0, alone) / coala), "≤", 1 / 1.2),
        *shaped_claims(judged),
    ]  # fmt: skip


def shaped_claims(judged: Judged) -> list[dict[str, Any]]:
    """The claims about gradients with a critic that sees the learner, if they were measured."""
    if not judged.sees_learner:
        return []
    _, both = BASELINES

    def ratio(name: str, baseline: str, other: str) -> errors.Measured:
        return judged.within(
            2,
            judged.by_left_out("signal", name, 1.0, baseline) / judged.by_left_out("signal", other, 1.0, SEES_LEARNER),
        )

    half = "kappa 0.5"
    return [
        claim("A critic that sees the learner improves the baseline, unbiased: COALA-PG's signal with other "
              "meta-episodes only over that with κ = 1, plus two standard errors", ratio("CoalaPG", both, "CoalaPG"),
              "≤", 1 / 2),
        claim("κ = 0.5 needs far fewer meta-episodes: the signal of κ = 1 over that of κ = 0.5, plus two standard "
              "errors", ratio("CoalaPG", SEES_LEARNER, half), "≤", 1 / 4),
        claim("κ = 0.5 keeps the direction: cosine with the gradient of κ = 1, minus two standard errors",
              judged.within(-2, judged.by_left_out("cosine", half, 1.0, SEES_LEARNER)), "≥", 0.8),
    ]  # fmt: skip
