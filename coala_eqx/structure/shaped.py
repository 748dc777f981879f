"""Structural certificates of what an estimator makes of a critic that sees the learner."""

import dataclasses
from typing import Any, Literal

import jax
import numpy as np

from coala_eqx.estimators import AbstractScoreFunctionEstimator, ShapingValues
from coala_eqx.estimators.critics import shapes_of_values
from coala_eqx.interpreter.compiled import evaluating
from coala_eqx.structure.findings import NotLinear, Size
from coala_eqx.structure.linear import linear_map
from coala_eqx.structure.shaping import ShapedKernel

StructuralVerdict = Literal["unbiased", "biased", "not linear"]

SHAPED_SIZES: tuple[Size, ...] = (
    (1, 1, 1), (1, 2, 2), (1, 3, 2), (2, 1, 2), (2, 2, 1), (2, 2, 2), (2, 3, 2), (3, 2, 2), (3, 3, 1), (3, 3, 3),
    (4, 4, 2), (5, 2, 3), (6, 5, 3), (2, 6, 2), (8, 2, 2),
)  # fmt: skip
"""Sizes (B, M, T) that are tried."""

_TRIES = 24
"""Number of inputs at which linearity is tried."""


@dataclasses.dataclass(frozen=True)
class ShapedCertificate:
    """Verdicts on an estimator that is given the values of a critic W that sees the learner."""

    verdict: StructuralVerdict
    """For every W: `"unbiased"` in every game, against every learner, at these sizes."""

    with_exact_critic: StructuralVerdict
    """The same for W(X) = E[F | X]."""

    sizes: tuple[Size, ...]
    wrong: int
    """Number of weights of downstream rewards that differ from what the objective requires, over all sizes."""

    forbidden: int
    """Number of weights of values that may depend on the action but enter, those of the own critic among them."""

    note: str
    """A sentence that says what was found."""


def certify_shaping(
    estimator: AbstractScoreFunctionEstimator, sizes: tuple[Size, ...] = SHAPED_SIZES
) -> ShapedCertificate:
    """Hold the coefficients of an estimator with `shaping` against Theorem 3.1 and the conditions of a critic.

    **Raises** `ValueError` if the estimator breaks its contract.
    """
    with jax.enable_x64(True), evaluating():
        return _certify(estimator, sizes)


def _certify(estimator: AbstractScoreFunctionEstimator, sizes: tuple[Size, ...]) -> ShapedCertificate:
    wrong, forbidden, exact, bent, found = 0, 0, False, "", ""
    for size in sizes:
        try:
            kernel = _kernel(estimator, size)
        except NotLinear as reason:
            bent = bent or str(reason)
            continue
        ones = np.ones(size[1])
        here, there = _count(kernel, ones), _count(kernel.with_exact_values(), ones)
        wrong, forbidden = wrong + here[0], forbidden + here[1]
        exact |= sum(there) > 0
        if sum(here) and not found:
            found = _sentence(kernel, here)
    biased = wrong + forbidden > 0
    verdict: StructuralVerdict = "biased" if biased else "not linear" if bent else "unbiased"
    with_exact: StructuralVerdict = "biased" if exact else "not linear" if bent else "unbiased"
    note = found or bent or f"unbiased for every critic of the learner at {len(sizes)} sizes"
    if verdict == "biased" and with_exact == "unbiased":
        note += "; unbiased if the critic of the learner is exact"
    return ShapedCertificate(verdict, with_exact, tuple(sizes), wrong, forbidden, note)


def _count(kernel: ShapedKernel, by_episode: np.ndarray) -> tuple[int, int]:
    """Numbers of wrong weights of rewards, and of forbidden weights of values."""
    forbidden = [kernel.forbidden_values(), *kernel.forbidden_shaping().values()]
    return int(kernel.wrong(by_episode).sum()), sum(int(mask.sum()) for mask in forbidden)


def _sentence(kernel: ShapedKernel, counts: tuple[int, int]) -> str:
    for name, mask in kernel.forbidden_shaping().items():
        if mask.any():
            b, m, t, *place = (1 + int(index) for index in np.argwhere(mask)[0])
            of = f"inner episode {place[-1]}" + (f", trajectory {place[0]}," if len(place) == 2 else "")
            return (
                f"at size (B, M, T) = {kernel.size} the value `{name}` of {of} enters for the action at step {t} of "
                f"inner episode {m} of trajectory {b}, on which it may depend"
            )
    wrong, forbidden = counts
    return (
        f"at size (B, M, T) = {kernel.size} {wrong} weights of rewards are wrong and {forbidden} values enter that may "
        f"depend on the action"
    )


def shaped_kernel(estimator: AbstractScoreFunctionEstimator, size: Size) -> ShapedKernel:
    """The matrices at one size. **Raises** `NotLinear`, a `ValueError`, if the coefficients are not linear."""
    with jax.enable_x64(True):
        return _kernel(estimator, size)


def _kernel(estimator: AbstractScoreFunctionEstimator, size: Size) -> ShapedKernel:
    def coefficients(rewards: Any, values: Any, *shaping: Any) -> Any:
        return estimator.checked_coefficients(rewards, values, ShapingValues(**dict(zip(kinds, shaping, strict=True))))

    kinds = shapes_of_values(*size[:2])
    shapes = {"rewards": size, "values": size, **kinds}
    generator = np.random.default_rng([*size, 1])
    scales = 10.0 ** generator.integers(-6, 7, size=_TRIES)
    tried = [_tries(generator, scales, shape) for shape in shapes.values()]
    constant, matrices, resolution = linear_map(coefficients, size, shapes, tried)
    rewards, values = matrices.pop("rewards"), matrices.pop("values")
    return ShapedKernel(rewards, values, constant, resolution, matrices)


def _tries(generator: np.random.Generator, scales: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of many magnitudes, every third array of them sparse."""
    made = generator.normal(size=(_TRIES, *shape)) * scales.reshape(-1, *(1,) * len(shape))
    made[::3] *= generator.random(made[::3].shape) < 0.3
    return made
