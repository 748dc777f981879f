"""Figure 8: shaping policies are close to zero-determinant extortion, random ones are not.

The squared distance of cooperation probabilities p after CC, CD, DC and DD (without the start) to the zero-determinant
policies p(χ, φ) of Eq. 18 is minimised over χ ≥ 1 and 0 ≤ φ. In x = φ and y = φχ,

    p = (1 − a·(y − x), 1 − x − b·y, y + b·x, 0),    a = (R − P)/(P − S),  b = (T − P)/(P − S),

is affine. χ ≥ 1 is y ≥ x, and (for T + S ≥ 2P) the largest φ is given by p_CD ≥ 0. This is least squares with three
linear constraints. The minimum lies inside the triangle that they form, on an edge or in a corner, and is found by
trying all of them.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import coala_eqx as ce
from coala_eqx.runs.directory import Part
from coala_eqx.runs.progress import Progress
from experiments import analytic, evaluation, fig3a
from experiments.analytic import ENTRIES
from experiments.claims import claim, final
from experiments.errors import bootstrapped, median_of
from experiments.settings import check_at_least


@dataclasses.dataclass(frozen=True)
class Settings(fig3a.Settings):
    """Settings of Figure 8."""

    random_policies: int = 1024
    """Number of random policies, with probabilities drawn uniformly."""

    seeds: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "random_policies")

    def problem(self, **changes: Any) -> ce.IteratedShapingProblem:
        problem = super().problem(**changes)
        check_dilemma(np.asarray(problem.payoffs))
        return problem


PRESETS = {
    "smoke": Settings(iterations=100, every=50, seeds=2, meta_batch=4, evaluation_batch=8, random_policies=16),
    "cpu": Settings(),
    "paper": Settings(meta_batch=128, iterations=4000),
}


def parts(settings: Settings) -> list[Part]:
    """Shaping policies are trained as for Figure 3A, then all policies are fitted."""
    return [
        Part("shaping", settings.iterations, lambda progress: fit_shaping(settings, progress)),
        Part("random", 1, lambda progress: fit_random(settings, progress)),
    ]


def fit_shaping(settings: Settings, progress: Progress) -> list[dict[str, Any]]:
    """One record for each seed's final policy."""
    at_end = dataclasses.replace(settings, every=settings.iterations)
    end = fig3a.learn(settings.problem(), at_end, progress)
    logits = np.asarray(evaluation.last(end).logits)
    return [_record(seed, settings, 1 / (1 + np.exp(-row))) for seed, row in enumerate(logits)]


def fit_random(settings: Settings, progress: Progress) -> list[dict[str, Any]]:
    """One record for each uniformly drawn policy."""
    draws = np.asarray(jax.random.uniform(settings.keys(analytic.LATER)[0], (settings.random_policies, len(ENTRIES))))
    progress(1)
    return [_record(i, settings, probabilities) for i, probabilities in enumerate(draws)]


def _record(seed: int, settings: Settings, probabilities: np.ndarray) -> dict[str, Any]:
    finite = bool(np.isfinite(probabilities).all())
    payoffs = np.asarray(analytic.load_payoffs(settings.payoffs))
    chi, phi, loss = fit(probabilities[1:], payoffs) if finite else (float("nan"),) * 3
    columns = dict(zip(ENTRIES, probabilities.tolist(), strict=True))
    return {"seed": seed, "iteration": 0, "finite": float(finite), "chi": chi, "phi": phi, "loss": loss, **columns}


def check_dilemma(payoffs: np.ndarray) -> None:
    """Check that `payoffs` `[2, 2, 2]` are a symmetric prisoner's dilemma with T + S ≥ 2P; **raises** `ValueError`
    otherwise.

    Without symmetry Eq. 18 needs the payoffs of both players, and for T + S < 2P the bound on φ is p_DC ≤ 1.
    """
    (r, s), (t, p) = payoffs[0]
    if not (t > r > p > s and t + s >= 2 * p and np.array_equal(payoffs[1], payoffs[0].T)):
        raise ValueError(
            "Extortion is fitted in symmetric prisoner's dilemmas, T > R > P > S with T + S ≥ 2P, but the payoffs of "
            f"the first player are R, S, T, P = {r}, {s}, {t}, {p}, of the second {payoffs[1].T.ravel().tolist()}."
        )


def fit(probabilities: np.ndarray, payoffs: np.ndarray) -> tuple[float, float, float]:
    """The nearest zero-determinant policy.

    **Arguments:**

    - `probabilities` `[4]`: probabilities to cooperate after CC, CD, DC and DD.
    - `payoffs` `[2, 2, 2]`: payoffs of both players.

    **Returns** χ, φ and the squared distance. At φ = 0 all χ are equivalent, and χ is 1. For φ → 0 and χ → ∞, χ is ∞.

    **Raises** `ValueError` as `check_dilemma`.
    """
    check_dilemma(payoffs)
    (r, s), (t, p) = payoffs[0]
    a, b = (r - p) / (p - s), (t - p) / (p - s)
    slopes = np.array([[a, -a], [-1, -b], [b, 1], [0, 0]])
    origin = np.array([1.0, 1.0, 0.0, 0.0])
    corners = np.array([[0.0, 0.0], [0.0, 1 / b], [1 / (1 + b), 1 / (1 + b)]])
    candidates = [*corners, np.linalg.lstsq(slopes, probabilities - origin, rcond=None)[0]]
    for one, other in itertools.combinations(corners, 2):
        along = slopes @ (other - one)
        share = along @ (probabilities - origin - slopes @ one) / (along @ along)
        candidates.append(one + np.clip(share, 0, 1) * (other - one))
    feasible = [c for c in candidates if c[0] >= -1e-12 and c[1] >= c[0] - 1e-12 and c[0] + b * c[1] <= 1 + 1e-12]
    losses = [float(np.sum((probabilities - origin - slopes @ c) ** 2)) for c in feasible]
    best = int(np.argmin(losses))
    x, y = feasible[best]
    return (float(y / x) if x > 1e-12 else (float("inf") if y > 1e-12 else 1.0)), float(x), losses[best]


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims that judge the figure."""
    shaping, random = (final(records, part=part) for part in ("shaping", "random"))
    ratio = bootstrapped(lambda ours, theirs: np.median(ours) / np.median(theirs), shaping["loss"], random["loss"])
    return [
        claim("Shaping policies are nearer to extortion than random ones: ratio of the median losses",
              ratio, "≤", 0.2),
        claim("They extort: median of the fitted χ", median_of(shaping["chi"]), "≥", 1.1),
    ]  # fmt: skip
