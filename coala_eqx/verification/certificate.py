"""Certificates: an estimator on a problem → how biased, how noisy, and whether it keeps what it claims."""

import dataclasses
import math
import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp

from coala_eqx.estimators import AbstractEstimator, Inapplicable
from coala_eqx.exact import LIMIT, OBJECTIVES, count_outcomes, gradient, moments
from coala_eqx.exact.enumeration import Progress
from coala_eqx.learners import NoGradientLearner
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import ShapingProblem

TOLERANCE = 1e-9
"""Relative bias below which an estimator counts as unbiased; rounding in float64 stays well below."""

Verdict = Literal["holds", "fails", "unbiased", "biased", "inapplicable", "error"]


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What enumeration says about one estimator on one problem."""

    estimator: str
    """Its class name."""

    problem: str
    """The name of the problem."""

    claim: str | None
    """The objective whose gradient it claims to estimate without bias, or `None`."""

    objective: str
    """The objective that it was held against."""

    relative_bias: float
    """‖E[ĝ] − ∇J‖ / ‖∇J‖, exact to rounding; infinite if ∇J = 0 and E[ĝ] is not."""

    cosine: float
    """The cosine of the angle between E[ĝ] and ∇J; NaN if one of them is 0."""

    variance: float
    """E‖ĝ − E[ĝ]‖², the trace of the covariance of one sampled estimate."""

    snr: float
    """Signal-to-noise ratio of one sampled estimate, ‖E[ĝ]‖ / √variance; infinite without noise."""

    gradient_norm: float
    """‖∇J‖."""

    outcomes: int
    """How many outcomes were enumerated."""

    seconds: float
    """Wall-clock time of the estimator's moments, compilation included (that of the meta-episodes, too, where it is
    the first on its problem)."""

    verdict: Verdict
    """`"holds"` or `"fails"` for a claim; `"unbiased"` or `"biased"` where there is none; `"inapplicable"`
    where the problem lacks what the estimator needs; `"error"` where the estimator breaks its contract."""

    note: str = ""
    """Why it is inapplicable, or what the error is."""

    @property
    def kept(self) -> bool:
        """Whether nothing contradicts what the estimator claims."""
        return self.verdict not in ("fails", "error")


def certify(
    estimator: AbstractEstimator,
    problem: ShapingProblem,
    policy: AbstractPolicy,
    *,
    name: str = "",
    tolerance: float = TOLERANCE,
    limit: int = LIMIT,
    progress: Progress | None = None,
) -> Certificate:
    """Hold one estimator against the exact gradient of what it claims to estimate.

    **Arguments:**

    - `estimator`, `problem`, `policy`: what is certified, on what, at which ego policy.
    - `name`: what to call the problem.
    - `tolerance`: relative bias below which it counts as unbiased.
    - `limit`, `progress`: as in `coala_eqx.exact.expectation`.

    **Returns** a `Certificate`.

    **Raises** `ValueError` as `coala_eqx.exact.moments` does, and if the claim is no known objective.
    """
    if not isinstance(estimator, AbstractEstimator):
        raise ValueError(f"`estimator` must be an estimator (an instance, CoalaPG() say), but is {estimator!r}.")
    estimator.check_problem(problem)
    (certificate,) = certify_all(
        (estimator,), problem, policy, name=name, tolerance=tolerance, limit=limit, progress=progress
    )
    if certificate.verdict == "error":
        raise ValueError(certificate.note)
    return certificate


def certify_all(
    estimators: Iterable[AbstractEstimator],
    problem: ShapingProblem,
    policy: AbstractPolicy,
    *,
    name: str = "",
    tolerance: float = TOLERANCE,
    limit: int = LIMIT,
    progress: Progress | None = None,
) -> Iterator[Certificate]:
    """`certify` several estimators on one problem; each objective is differentiated only once.

    An estimator that cannot be applied, or that breaks its contract, gets a certificate that says so
    instead of an exception, so that the others are not lost. A problem that cannot be enumerated raises
    `ValueError`.
    """
    gradients: dict[str, Any] = {}
    for estimator in estimators:
        objective = _objective(estimator)
        try:
            estimator.check_problem(problem)
        except Inapplicable as reason:
            yield _without_numbers(estimator, name, "inapplicable", str(reason))
            continue
        if objective not in gradients:
            try:
                gradients[objective] = gradient(problem, policy, objective, limit=limit, progress=progress)
            except NoGradientLearner as reason:
                yield _without_numbers(estimator, name, "inapplicable", f"no {objective} to measure against. {reason}")
                continue
        start = time.perf_counter()
        try:
            mean, variance = moments(estimator, problem, policy, limit=limit, progress=progress)
        except Exception as error:  # whatever a user's estimator may raise
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            yield _without_numbers(estimator, name, "error", f"{kind}{error}")
            continue
        outcomes = count_outcomes(problem, exchangeable=estimator.exchangeable)
        seconds = time.perf_counter() - start
        yield _judge(estimator, name, gradients[objective], mean, float(variance), outcomes, seconds, tolerance)


def _objective(estimator: AbstractEstimator) -> str:
    """The objective to hold it against."""
    for attribute in ("unbiased_for", "measured_against"):
        objective = getattr(estimator, attribute)
        if objective is not None:
            if objective not in OBJECTIVES:
                raise ValueError(
                    f"{type(estimator).__name__}.{attribute} is {objective!r}, which is no known objective; "
                    f"known are {', '.join(map(repr, OBJECTIVES))}."
                )
            return objective
    return OBJECTIVES[0]


def _judge(
    estimator: AbstractEstimator,
    name: str,
    exact: Any,
    mean: Any,
    variance: float,
    outcomes: int,
    seconds: float,
    tolerance: float,
) -> Certificate:
    with jax.enable_x64(True):
        true_norm, mean_norm = _norm(exact), _norm(mean)
        bias = _norm(jax.tree.map(jnp.subtract, mean, exact))
        inner = float(sum((jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (mean, exact)), strict=True))))
    # Where ∇J = 0 there is nothing to be relative to but the estimate's own size.
    rounding = 1e-14 * math.sqrt(variance + mean_norm**2)
    unbiased = bias <= max(tolerance * true_norm, rounding)
    claim = estimator.unbiased_for
    verdict: Verdict = ("holds" if unbiased else "fails") if claim else ("unbiased" if unbiased else "biased")
    return Certificate(
        estimator=type(estimator).__name__,
        problem=name,
        claim=claim,
        objective=_objective(estimator),
        relative_bias=_ratio(bias, true_norm),
        cosine=inner / (true_norm * mean_norm) if true_norm * mean_norm > 0 else math.nan,
        variance=variance,
        snr=_ratio(mean_norm, math.sqrt(variance)),
        gradient_norm=true_norm,
        outcomes=outcomes,
        seconds=seconds,
        verdict=verdict,
    )


def _without_numbers(estimator: AbstractEstimator, name: str, verdict: Verdict, note: str) -> Certificate:
    numbers = dict.fromkeys(("relative_bias", "cosine", "variance", "snr", "gradient_norm"), math.nan)
    return Certificate(
        estimator=type(estimator).__name__,
        problem=name,
        claim=estimator.unbiased_for,
        objective=_objective(estimator),
        **numbers,
        outcomes=0,
        seconds=0.0,
        verdict=verdict,
        note=note,
    )


def _norm(tree: Any) -> float:
    return math.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(tree)))


def _ratio(numerator: float, denominator: float) -> float:
    if denominator > 0:
        return numerator / denominator
    return math.inf if numerator > 0 else 0.0
