"""Certificates of an estimator on a problem: its bias, its noise, and whether its claim holds."""

import dataclasses
import math
import time
from collections.abc import Iterable, Iterator
from typing import Literal

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from coala_eqx.estimators import AbstractEstimator, Inapplicable
from coala_eqx.estimators.base import check_contract
from coala_eqx.estimators.objectives import objective_of
from coala_eqx.exact import LIMIT, gradient
from coala_eqx.exact.enumeration import Enumeration, Progress, shared_probe
from coala_eqx.exact.precision import to_float64
from coala_eqx.exact.rounding import EPS, norm
from coala_eqx.exact.seen import Estimated, Exact
from coala_eqx.exact.survey import Survey, survey
from coala_eqx.interpreter.compiled import evaluating
from coala_eqx.learners import NoGradientLearner
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import ShapingProblem
from coala_eqx.verification.critics import check_critic
from coala_eqx.verification.judging import cosine, is_unbiased, ratio
from coala_eqx.verification.played import PLAYS, check_play

TOLERANCE = 1e-9
"""Relative bias below which an estimator counts as unbiased. It is compared with bias ± error bound."""

Verdict = Literal["holds", "fails", "unbiased", "biased", "not resolved", "inapplicable", "error"]

_LOOKAHEAD = "lookahead_return"
"""The objective that cannot be read off meta-episodes."""


@dataclasses.dataclass(frozen=True)
class Certificate:
    """Result of enumerating one estimator on one problem."""

    estimator: str
    """Class name of the estimator."""

    problem: str
    """Name of the problem."""

    claim: str | None
    """The objective whose gradient the estimator claims to estimate without bias, or `None`."""

    objective: str
    """The objective that the estimator was held against."""

    relative_bias: float
    """‖E[ĝ] − ∇J‖ / ‖∇J‖, exact to rounding; infinite if ∇J = 0 and E[ĝ] is not."""

    error_bound: float
    """A bound on the rounding error of the relative bias."""

    cosine: float
    """The cosine of the angle between E[ĝ] and ∇J; NaN if one of them is 0."""

    variance: float
    """E‖ĝ − E[ĝ]‖², the trace of the covariance of one sampled estimate. It is infinite beyond 1e308 and 0 below
    1e-308; `snr` is right there, too.
    """

    snr: float
    """Signal-to-noise ratio of one sampled estimate, ‖E[ĝ]‖ / √variance; infinite without noise."""

    gradient_norm: float
    """‖∇J‖."""

    outcomes: int
    """Number of enumerated outcomes."""

    seconds: float
    """Wall-clock time in seconds, with compilation. All estimators of a problem share one enumeration, and its time is
    divided equally.
    """

    verdict: Verdict
    """`"holds"` or `"fails"` for a claim. `"unbiased"` or `"biased"` without a claim. `"not resolved"` if rounding, or
    numbers beyond float64, leave it open. `"inapplicable"` if the problem lacks what the estimator needs. `"error"` if
    the estimator breaks its contract. The verdict is for this problem at this policy.
    """

    note: str = ""
    """The reason for `"not resolved"` with a remedy, for `"inapplicable"`, or for `"error"`; also a remark on the
    variance.
    """

    @property
    def kept(self) -> bool:
        """Whether nothing contradicts the estimator's claim."""
        return self.verdict not in ("fails", "error")


def certify(
    estimator: AbstractEstimator,
    problem: ShapingProblem,
    policy: AbstractPolicy,
    *,
    name: str = "",
    tolerance: float = TOLERANCE,
    limit: int = LIMIT,
    plays: int = PLAYS,
    progress: Progress | None = None,
) -> Certificate:
    """Hold one estimator against the exact gradient of the objective that it claims to estimate.

    **Arguments:**

    - `estimator`: the estimator to certify.
    - `problem`, `policy`: the problem, and the ego policy at which the gradient is taken.
    - `name`: name of the problem.
    - `tolerance`: relative bias below which the estimator counts as unbiased.
    - `limit`, `progress`: as in `coala_eqx.exact.expectation`.
    - `plays`: least number of meta-episodes that are played to check that play agrees with enumeration (4096 are played
      at a time); 0 for none.

    **Returns** a `Certificate`.

    **Raises** `ValueError` as `coala_eqx.exact.moments` does; if the claim is not a known objective; if the estimator
    breaks its contract; and if play and enumeration disagree for a policy or the game.
    """
    if not isinstance(estimator, AbstractEstimator):
        raise ValueError(f"`estimator` must be an estimator, such as CoalaPG(), but is {estimator!r}.")
    estimator.check_problem(problem)
    (certificate,) = certify_all(
        (estimator,), problem, policy, name=name, tolerance=tolerance, limit=limit, plays=plays, progress=progress
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
    plays: int = PLAYS,
    progress: Progress | None = None,
) -> Iterator[Certificate]:
    """Yield certificates of several estimators on one problem, from one enumeration. Arguments are those of `certify`.

    An estimator that cannot be applied, or that breaks its contract, gets a certificate that says so instead of an
    exception, so that the others are not lost.

    **Raises** `ValueError` if the problem cannot be enumerated, or if play and enumeration disagree.
    """
    start = time.perf_counter()
    certificates = _run(tuple(estimators), _Certification(problem, policy, name, tolerance, limit, plays, progress))
    share = (time.perf_counter() - start) / max(1, len(certificates))
    for certificate in certificates:
        yield dataclasses.replace(certificate, seconds=share)


def _run(estimators: tuple[AbstractEstimator, ...], certification: "_Certification") -> list[Certificate]:
    with jax.enable_x64(True), evaluating():
        certification.problem, certification.policy, estimators = to_float64(
            (certification.problem, certification.policy, estimators)
        )
        return certification.run(estimators)


@dataclasses.dataclass
class _Result:
    """The survey's result for one estimator."""

    survey: Survey
    """The survey of all estimators that were enumerated together."""

    estimated: Estimated | None
    error: str = ""
    """The reason why the estimator has no moments."""


@dataclasses.dataclass
class _Certification:
    """The certification of all estimators on one problem."""

    problem: ShapingProblem
    policy: AbstractPolicy
    name: str
    tolerance: float
    limit: int
    plays: int
    progress: Progress | None

    def run(self, estimators: tuple[AbstractEstimator, ...]) -> list[Certificate]:
        made: dict[int, Certificate] = {}
        truths: dict[str, Exact | str] = {}
        for exchangeable in (True, False):
            chosen = [n for n, one in enumerate(estimators) if one.exchangeable == exchangeable]
            fit = [number for number in chosen if self._fits(number, estimators[number], made)]
            if fit:
                self._certify(fit, estimators, exchangeable, truths, made)
        return [made[number] for number in range(len(estimators))]

    def _fits(self, number: int, estimator: AbstractEstimator, made: dict[int, Certificate]) -> bool:
        """Whether the estimator can be certified here. If not, a certificate with the reason is added to `made`."""
        objective_of(estimator)
        try:
            check_contract(estimator)
            estimator.check_problem(self.problem)
            check_critic(estimator)
        except Inapplicable as reason:
            made[number] = self._without_numbers(estimator, "inapplicable", str(reason))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a user's estimator may raise
            made[number] = self._without_numbers(estimator, "error", _words(error))
        return number not in made

    def _certify(
        self,
        numbers: list[int],
        estimators: tuple[AbstractEstimator, ...],
        exchangeable: bool,
        truths: dict[str, Exact | str],
        made: dict[int, Certificate],
    ) -> None:
        asked = dict.fromkeys(objective_of(estimators[number]) for number in numbers)
        objectives = tuple(one for one in asked if one != _LOOKAHEAD) or ("shaping_return",)
        chosen = [estimators[number] for number in numbers]
        space = Enumeration(
            self.problem,
            self.policy,
            exchangeable=exchangeable,
            limit=self.limit,
            progress=self.progress,
            probe=shared_probe(chosen),
        )
        results = self._survey(space, chosen, objectives)
        for number, result in zip(numbers, results, strict=True):
            if result.estimated is None:
                made[number] = self._without_numbers(estimators[number], "error", result.error)
                continue
            objective, gradients = objective_of(estimators[number]), result.survey.gradients
            if objective not in truths:
                truths[objective] = gradients[objective] if objective in gradients else self._lookahead(result.survey)
            truth = truths[objective]
            if isinstance(truth, str):
                made[number] = self._without_numbers(estimators[number], "inapplicable", truth)
            else:
                made[number] = self._judge(estimators[number], truth, result.estimated, space.count)
        self._play(dict(zip(numbers, results, strict=True)), made)

    def _survey(
        self, space: Enumeration, estimators: list[AbstractEstimator], objectives: tuple[str, ...]
    ) -> list["_Result"]:
        """The result for each estimator: from one survey of all, or from one survey each if an estimator raises."""
        try:
            result = survey(space, estimators, objectives)
            return [_Result(result, estimated) for estimated in result.estimated]
        except KeyboardInterrupt:
            raise
        except BaseException:  # whatever a user's estimator may raise
            alone = survey(space, (), objectives)  # raises if it is the problem that cannot be enumerated
        results = []
        for estimator in estimators:
            try:
                result = survey(space, (estimator,), objectives)
                results.append(_Result(result, result.estimated[0]))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever a user's estimator may raise
                results.append(_Result(alone, None, _words(error)))
        return results

    def _lookahead(self, result: Survey) -> Exact | str:
        try:
            exact = gradient(self.problem, self.policy, _LOOKAHEAD, limit=self.limit)
        except NoGradientLearner as reason:
            return f"no {_LOOKAHEAD} to measure against. {reason}"
        vector = np.asarray(ravel_pytree(exact)[0])
        # The terms of its sum are those of one inner episode, and as large as the shaping return's there.
        return Exact(vector, max(one.error for one in result.gradients.values()) + 1000 * EPS * norm(vector))

    def _play(self, results: dict[int, "_Result"], made: dict[int, Certificate]) -> None:
        """Check play once for each survey, with all of its estimators that have moments."""
        by_survey: dict[int, list[int]] = {}
        for number, result in results.items():
            if result.estimated is not None:
                by_survey.setdefault(id(result.survey), []).append(number)
        for members in by_survey.values() if self.plays else ():
            all_words = check_play(results[members[0]].survey, plays=self.plays)
            for number, words in zip(members, all_words, strict=True):
                if words:
                    made[number] = dataclasses.replace(made[number], verdict="error", note=words)

    def _judge(self, estimator: AbstractEstimator, truth: Exact, estimated: Estimated, outcomes: int) -> Certificate:
        true_norm, mean_norm = norm(truth.vector), norm(estimated.mean.vector)
        bias = norm(estimated.mean.vector - truth.vector)
        error = truth.error + estimated.mean.error
        unbiased, note = is_unbiased(true_norm, bias, error, truth.error, estimated.noise, self.tolerance)
        verdict: Verdict = "not resolved"
        if unbiased is not None and estimator.unbiased_for:
            verdict = "holds" if unbiased else "fails"
        elif unbiased is not None:
            verdict = "unbiased" if unbiased else "biased"
        variance = estimated.noise * estimated.noise
        if unbiased is not None and (math.isinf(variance) or variance == 0 < estimated.noise):
            note = "the variance is beyond float64; the SNR is right"
        numbers = {
            "relative_bias": ratio(bias, true_norm),
            "error_bound": ratio(error, true_norm),
            "cosine": cosine(estimated.mean.vector, truth.vector),
            "variance": variance,
            "snr": ratio(mean_norm, estimated.noise),
            "gradient_norm": true_norm,
        }
        return self._certificate(estimator, verdict, note, outcomes, numbers)

    def _without_numbers(self, estimator: AbstractEstimator, verdict: Verdict, note: str) -> Certificate:
        names = ("relative_bias", "error_bound", "cosine", "variance", "snr", "gradient_norm")
        return self._certificate(estimator, verdict, note, 0, dict.fromkeys(names, math.nan))

    def _certificate(
        self, estimator: AbstractEstimator, verdict: Verdict, note: str, outcomes: int, numbers: dict[str, float]
    ) -> Certificate:
        return Certificate(
            estimator=type(estimator).__name__,
            problem=self.name,
            claim=estimator.unbiased_for,
            objective=objective_of(estimator),
            **numbers,
            outcomes=outcomes,
            seconds=0.0,
            verdict=verdict,
            note=note,
        )


def _words(error: BaseException) -> str:
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
