"""Structural certificates: from its coefficients alone, whether an estimator is unbiased for all games.

Theorem 3.1 says which maps from rewards and values to coefficients are unbiased for every game, learner and policy.
`coala_eqx.structure.kernel` states the conditions, and `proofs_checks/structural.py` shows both directions. The
map's matrix is computed exactly at many sizes and compared entry by entry.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator, Inapplicable
from coala_eqx.estimators.base import check_contract
from coala_eqx.estimators.objectives import objective_of
from coala_eqx.interpreter.compiled import evaluating
from coala_eqx.interpreter.program import evaluate, has_rules
from coala_eqx.structure.findings import WEIGHTS, Finding, NotLinear, Size, checked_size
from coala_eqx.structure.kernel import FREE, Kernel, relations
from coala_eqx.structure.linear import linear_map
from coala_eqx.structure.shaped import SHAPED_SIZES, ShapedCertificate, StructuralVerdict, certify_shaping
from coala_eqx.verification.counterexample import Counterexample, find_counterexample

SIZES: tuple[Size, ...] = (
    *itertools.product(range(1, 7), range(1, 6), range(1, 6)),
    (7, 2, 2), (8, 3, 2), (2, 7, 3), (3, 8, 2), (2, 2, 7), (3, 2, 10), (16, 2, 1), (12, 2, 3), (2, 12, 2), (1, 6, 8),
)  # fmt: skip
"""Default sizes (B, M, T): all up to (6, 5, 5), and some beyond."""

_FEW_SIZES: tuple[Size, ...] = (
    *itertools.product(range(1, 4), range(1, 4), range(1, 4)),
    (6, 5, 5),
    (4, 2, 4),
    (5, 4, 2),
)
"""Sizes for coefficients that must be compiled at each size."""

_MAGNITUDES = (1e-6, 1e-2, 1.0, 3.0, 30.0, 1e3, 1e6, 1e12)


@dataclasses.dataclass(frozen=True)
class StructuralCertificate:
    """Verdict on the coefficients of a score-function estimator for every game, at the sizes that were tried."""

    estimator: str
    """Class name of the estimator."""

    claim: str | None
    """The objective whose gradient the estimator claims to estimate without bias, or `None`."""

    objective: str
    """The objective that the estimator was held against."""

    verdict: StructuralVerdict
    """`"unbiased"`: for every game, learner and policy at these sizes. `"biased"`: for some. `"not linear"`: rewards or
    values do not enter by fixed weights (centring, normalising or clipping do that), so only enumeration can judge.
    """

    against_exchangeable: StructuralVerdict
    """The verdict against learners for which the order of the batch does not matter."""

    sizes: tuple[Size, ...]
    """The (B, M, T) that were tried."""

    downstream: int
    """Number of entries that the objective determines, over all sizes."""

    wrong: int
    """Number of those entries that differ from what the objective requires."""

    free_in_use: int
    """Number of weights of rewards that the action cannot influence but that enter. They change the noise and add no
    bias.
    """

    forbidden_values: int
    """Number of weights of values that may depend on the action but enter."""

    note: str
    """A sentence that says what was found."""

    finding: Finding | None
    """The wrong entry at the smallest size, or `None`."""

    source: AbstractScoreFunctionEstimator = dataclasses.field(repr=False, compare=False)

    learner_critic: ShapedCertificate | None = None
    """The verdicts where the estimator is given a critic that sees the learner; `None` if it takes none."""

    @property
    def kept(self) -> bool:
        """Whether nothing contradicts the estimator's claim."""
        return not (self.claim and self.verdict == "biased")

    def kernel(self, batch: int, episodes: int, steps: int) -> Kernel:
        """The matrix at one size. **Raises** `NotLinear`, a `ValueError`, if the coefficients are not linear."""
        if self.source.needs_shaping:
            raise ValueError(
                f"{self.estimator} works only with a critic that sees the learner: its matrices are those of "
                f"`verification.shaped_kernel(estimator, (batch, episodes, steps))`."
            )
        return kernel_of(self.source, (batch, episodes, steps))

    @functools.cached_property
    def counterexample(self) -> Counterexample | None:
        """A small game in which enumeration shows the bias. It is searched for on first access.

        It is `None` if there is no bias. Its certificate is `None` if no drawn game shows the bias.
        """
        if self.finding is None:
            return None
        return find_counterexample(
            self.source, self.finding.size, self.finding.text, with_critic=self.finding.of_values
        )


def certify_structure(estimator: AbstractEstimator, sizes: Iterable[Any] | None = None) -> StructuralCertificate:
    """Hold the coefficients of a score-function estimator against Theorem 3.1, at many sizes.

    **Arguments:**

    - `estimator`: an estimator instance.
    - `sizes`: the (B, M, T) to try; default `SIZES`, or fewer if the coefficients must be compiled at each size.

    **Returns** a `StructuralCertificate`.

    **Raises** `Inapplicable`, a `ValueError`, if the estimator is not a score-function estimator or if the theorem does
    not cover its claim; `ValueError` if `sizes` are invalid, or if the estimator breaks its contract.

    Source: Meulemans et al. (2025), Theorem 3.1 and Eqs 13–14.
    """
    chosen = None if sizes is None else tuple(map(checked_size, sizes))
    if chosen == ():
        raise ValueError("`sizes` must hold at least one (batch, episodes, steps), but is empty.")
    with jax.enable_x64(True), evaluating():
        return _certify(estimator, chosen)


def kernel_of(estimator: AbstractScoreFunctionEstimator, size: Size) -> Kernel:
    """The matrix at one size. **Raises** `NotLinear`, a `ValueError`, if the coefficients are not linear."""
    with jax.enable_x64(True):
        return _kernel(estimator, checked_size(size))


def _certify(estimator: AbstractEstimator, sizes: tuple[Size, ...] | None) -> StructuralCertificate:
    if not isinstance(estimator, AbstractEstimator):
        raise ValueError(f"`estimator` must be an estimator, such as CoalaPG(), but is {estimator!r}.")
    name, objective = type(estimator).__name__, objective_of(estimator)
    if not isinstance(estimator, AbstractScoreFunctionEstimator):
        raise Inapplicable(f"{name} is not a score-function estimator and is judged by enumeration only.")
    if objective not in WEIGHTS:
        raise Inapplicable(f"{name} is held against the {objective}, which is judged by enumeration only.")
    check_contract(estimator)
    if estimator.needs_shaping:
        return _certify_shaped(estimator, objective, sizes)
    _check_purity(estimator, (3, 2, 3) if sizes is None else max(sizes, key=np.prod))
    given = sizes
    if sizes is None:
        sizes = SIZES if _is_plain(estimator) else _FEW_SIZES
    counts = dict.fromkeys(("downstream", "wrong", "free_in_use", "forbidden_values"), 0)
    finding, bent, exchangeable = None, "", False
    for size in sorted(sizes, key=lambda size: (np.prod(size) * size[0], size)):
        try:
            kernel = _kernel(estimator, size)
        except NotLinear as reason:
            bent = bent or str(reason)
            continue
        by_episode = WEIGHTS[objective](size[1])
        wrong, forbidden = kernel.wrong(by_episode), kernel.forbidden_values()
        counts["downstream"] += int((relations(*size) != FREE).sum())
        counts["wrong"] += int(wrong.sum())
        counts["free_in_use"] += int(kernel.free_in_use().sum())
        counts["forbidden_values"] += int(forbidden.sum())
        exchangeable |= kernel.wrong_against_exchangeable(by_episode) or bool(forbidden.any())
        finding = finding or _find(kernel, wrong, forbidden, by_episode)
    verdict: StructuralVerdict = "biased" if finding else "not linear" if bent else "unbiased"
    against: StructuralVerdict = "biased" if exchangeable else "not linear" if bent else "unbiased"
    note = finding.text if finding else bent or f"unbiased for every game, learner and policy at {len(sizes)} sizes"
    shaped = None
    if estimator.takes_shaping and objective == "shaping_return":
        shaped = certify_shaping(estimator, tuple(size for size in SHAPED_SIZES if given is None or size in given))
        if verdict == "unbiased" and shaped.verdict != "unbiased":
            verdict = against = shaped.verdict
            note = f"with a critic that sees the learner: {shaped.note}"
    return StructuralCertificate(
        name, estimator.unbiased_for, objective, verdict, against, tuple(sizes), **counts, note=note, finding=finding,
        source=estimator, learner_critic=shaped,
    )  # fmt: skip


def _certify_shaped(
    estimator: AbstractScoreFunctionEstimator, objective: str, sizes: tuple[Size, ...] | None
) -> StructuralCertificate:
    """The certificate of an estimator that works only with a critic that sees the learner."""
    if objective != "shaping_return":
        raise Inapplicable(
            f"{type(estimator).__name__} is held against the {objective}, for which no critic of the learner is known."
        )
    shaped = certify_shaping(estimator, sizes or SHAPED_SIZES)
    downstream = sum(int((relations(*size) != FREE).sum()) for size in shaped.sizes)
    return StructuralCertificate(
        type(estimator).__name__, estimator.unbiased_for, objective, shaped.verdict, shaped.verdict, shaped.sizes,
        downstream, shaped.wrong, 0, shaped.forbidden, shaped.note, None, estimator, shaped,
    )  # fmt: skip


def _kernel(estimator: AbstractScoreFunctionEstimator, size: Size) -> Kernel:
    shapes = {"rewards": size, "values": size}
    constant, matrices, resolution = linear_map(estimator.checked_coefficients, size, shapes, _tries(size))
    return Kernel(**matrices, constant=constant, resolution=resolution)


@functools.lru_cache(maxsize=256)
def _tries(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Rewards and values at which linearity is tried: of many magnitudes, sparse, with ties, equal, and combined."""
    generator = np.random.default_rng([*size])
    shape = (len(_MAGNITUDES), *size)
    scales = np.array(_MAGNITUDES)[:, None, None, None]
    normal = scales * generator.normal(size=shape)
    sparse = scales * generator.normal(size=shape) * (generator.random(shape) < 0.3)
    whole = generator.integers(-2, 3, size=shape).astype(float)
    equal = np.broadcast_to(scales, shape)
    rewards = np.concatenate([normal, sparse, whole, equal, -equal, np.zeros(shape)])
    values = np.concatenate(
        [np.zeros(shape), scales * generator.normal(size=shape), whole[::-1], np.zeros(shape), equal, normal[::-1]]
    )
    return rewards, values


def _is_plain(estimator: AbstractScoreFunctionEstimator) -> bool:
    example = np.zeros((2, 2, 2, 2))
    return has_rules(jax.vmap(estimator.checked_coefficients), example, example)


def _check_purity(estimator: AbstractScoreFunctionEstimator, size: Size) -> None:
    """Check that the coefficients are those that train: compiled or not, in float32 or float64, a first or a second
    time.

    **Raises** `ValueError` if they are not.
    """
    name = type(estimator).__name__
    rewards, values = (one[: 2 * len(_MAGNITUDES)] for one in _tries(size))
    rewards, values = np.clip(rewards, -1e3, 1e3), np.clip(values, -1e3, 1e3)
    function = jax.vmap(estimator.checked_coefficients)
    first = np.asarray(evaluate(function, rewards, values))
    again = {
        "compiled": jax.jit(function)(rewards, values),
        "not compiled": np.stack([estimator.checked_coefficients(jax.numpy.asarray(r), jax.numpy.asarray(v))
                                  for r, v in zip(rewards[:3], values[:3], strict=True)]),
        "a second time": evaluate(function, rewards, values),
    }  # fmt: skip
    single = evaluate(function, rewards.astype(np.float32), values.astype(np.float32))
    for how, made in again.items():
        _check_same(name, how, first[: len(made)], np.asarray(made), 1e-9)
    _check_same(name, "in float32", first, np.asarray(single, np.float64), 1e-3)
    if estimator.checked_coefficients(jax.numpy.asarray(rewards[0]), None).shape != size:
        raise ValueError(f"{name}.coefficients must also work with values=None.")


def _check_same(name: str, how: str, one: np.ndarray, other: np.ndarray, tolerance: float) -> None:
    finite = np.isfinite(one)
    scale = np.abs(np.where(finite, one, 0.0)).max(axis=(1, 2, 3), keepdims=True)
    same = np.abs(np.where(finite, one - other, 0.0)) <= tolerance * np.maximum(scale, 1e-300)
    if not (same.all() and (np.isfinite(other) == finite).all()):
        raise ValueError(
            f"{name}.coefficients must be a function of rewards and values alone, but {how} it returns something else: "
            f"what is certified would not be what trains. Remove state, randomness and dependence on the precision."
        )


def _find(kernel: Kernel, wrong: np.ndarray, forbidden: np.ndarray, by_episode: np.ndarray) -> Finding | None:
    for places, matrix, of_values in ((wrong, kernel.rewards, False), (forbidden, kernel.values, True)):
        if places.any():
            first = tuple(int(index) for index in np.argwhere(places)[0])
            expected = None if of_values else by_episode[first[4]] / kernel.size[0]
            return Finding.at(kernel.size, first, matrix[first], expected)
    return None
