"""Structural checks at the size of a run. The whole matrix is too large there, so random columns are checked."""

from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Float

from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator, Inapplicable
from coala_eqx.estimators.base import check_contract
from coala_eqx.estimators.objectives import objective_of
from coala_eqx.foreign.apart import in_one_line
from coala_eqx.interpreter.compiled import evaluating
from coala_eqx.interpreter.program import evaluate
from coala_eqx.structure.findings import WEIGHTS, Finding, NotLinear, Size, checked_size
from coala_eqx.structure.kernel import FREE, admissible, relation

_SAME = 1e-9
"""Largest relative difference between equal weights, or equal sums."""

_AT_ONCE = 16
"""Number of columns at a time, so that memory does not grow with the square of the batch."""


def find_wrong(
    estimator: AbstractEstimator, batch: int, episodes: int, steps: int, *, columns: int = 12, seed: int = 0
) -> Finding | None:
    """Hold random columns of an estimator's matrix, at one size of any magnitude, against Theorem 3.1.

    A column holds the weights of one reward, or of one value, for all actions. For rewards in the first inner episode
    only the sums of weights over trajectories matter (`Kernel.wrong`).

    **Arguments:**

    - `estimator`: a score-function estimator.
    - `batch`, `episodes`, `steps`: B, M and T.
    - `columns`: number of rewards, and of values, to try.
    - `seed`: seed of the columns.

    **Returns** a wrong entry, or `None` if these columns have none.

    **Raises** `NotLinear`, a `ValueError`, if coefficients are not a linear function of rewards and values;
    `Inapplicable`, a `ValueError`, for estimators that only enumeration can judge.
    """
    size, objective = checked_size((batch, episodes, steps)), objective_of(estimator)
    if not isinstance(estimator, AbstractScoreFunctionEstimator) or objective not in WEIGHTS:
        raise Inapplicable(f"{type(estimator).__name__} is judged by enumeration only.")
    check_contract(estimator)
    with jax.enable_x64(True), evaluating():
        return _Columns(estimator, size, WEIGHTS[objective](episodes), seed).find(columns)


def remark(estimator: AbstractEstimator, batch: int, episodes: int, steps: int) -> str:
    """A sentence on what `find_wrong` finds at the size of a run; empty if the claim holds, or if there is no claim."""
    name = type(estimator).__name__
    if estimator.unbiased_for is None:
        return ""
    try:
        finding = find_wrong(estimator, batch, episodes, steps)
    except Inapplicable:
        return ""
    except Exception as reason:  # a user's estimator may raise anything
        return f"{name} claims to be unbiased, which cannot be checked at this size: {in_one_line(reason, str)}."
    if finding is None:
        return ""
    discount = getattr(estimator, "discount", 1.0)
    why = f" It discounts by {float(discount):g}." if discount != 1 else ""
    return f"{name} is not unbiased for the {estimator.unbiased_for} in this run: {finding.text}.{why}"


class _Columns:
    def __init__(self, estimator: AbstractScoreFunctionEstimator, size: Size, by_episode: np.ndarray, seed: int):
        self.estimator = estimator
        self.size = size
        self.target = by_episode / size[0]
        self.generator = np.random.default_rng(seed)
        self._actions = np.ogrid[: size[0], : size[1], : size[2]]

    def find(self, columns: int) -> Finding | None:
        self._check_linear()
        return self._later_episodes(columns) or self._first_episode(columns) or self._values(columns)

    def _later_episodes(self, columns: int) -> Finding | None:
        if self.size[1] == 1:
            return None
        for place, weights, tolerance in self._weights([self._place(first_episode=1) for _ in range(columns)]):
            expected = self.target[place[1]]
            wrong = (relation(self._actions, place) != FREE) & (np.abs(weights - expected) > tolerance)
            if wrong.any():
                return self._finding(wrong, place, weights, expected)
        return None

    def _first_episode(self, columns: int) -> Finding | None:
        """Check own rewards of the first inner episode, where only their sum over the batch must equal that of the
        targets.
        """
        batch, _, steps = self.size
        some = {*self.generator.permutation(steps)[: columns - 1].tolist(), steps - 1}
        for step in sorted(some, reverse=True):
            trajectory = int(self.generator.integers(batch))
            ((place, weights, tolerance),) = self._weights([(trajectory, 0, step)])
            own = np.abs(weights[trajectory, 0, : step + 1] - self.target[0])
            if (own > tolerance).any() and (found := self._sum_of_own(place, weights, tolerance)):
                return found
        return None

    def _sum_of_own(self, place: Size, weights: np.ndarray, tolerance: float) -> Finding | None:
        batch, step = self.size[0], place[2]
        total = np.zeros(step + 1)
        for start in range(0, batch, _AT_ONCE):
            places = [(trajectory, 0, step) for trajectory in range(start, min(start + _AT_ONCE, batch))]
            for (trajectory, _, _), each, _ in self._weights(places):
                total += each[trajectory, 0, : step + 1]
        off = np.abs(total - batch * self.target[0]) > batch * tolerance
        if not off.any():
            return None
        wrong = np.zeros(self.size, bool)
        wrong[place[0], 0, : step + 1] = off
        return self._finding(wrong, place, weights, self.target[0])

    def _values(self, columns: int) -> Finding | None:
        for place, weights, tolerance in self._weights([self._place() for _ in range(columns)], of_values=True):
            forbidden = ~admissible(self._actions, place) & (np.abs(weights) > tolerance)
            if forbidden.any():
                return self._finding(forbidden, place, weights, None)
        return None

    def _finding(self, wrong: np.ndarray, place: Size, weights: np.ndarray, expected: float | None) -> Finding:
        action = tuple(np.argwhere(wrong)[0])
        return Finding.at(self.size, (*action, *place), weights[action], expected)

    def _place(self, first_episode: int = 0) -> Size:
        """A random place of a reward or a value. Every fourth one, on average, lies in the last inner episode."""
        batch, episodes, steps = self.size
        lowest = episodes - 1 if self.generator.random() < 0.25 else first_episode
        trajectory, step = self.generator.integers(batch), self.generator.integers(steps)
        return int(trajectory), int(self.generator.integers(lowest, episodes)), int(step)

    def _coefficients(self, rewards: np.ndarray, values: np.ndarray) -> Float[np.ndarray, "tries batch episodes steps"]:
        return evaluate(jax.vmap(self.estimator.checked_coefficients), rewards, values)

    def _weights(
        self, places: list[Size], *, of_values: bool = False
    ) -> Iterator[tuple[Size, Float[np.ndarray, "batch episodes steps"], float]]:
        """Yield each place, the weights of the reward or value there, and the tolerance of these weights."""
        units = np.zeros((1 + len(places), *self.size))
        for unit, place in zip(units[1:], places, strict=True):
            unit[place] = 1.0
        nothing = np.zeros_like(units)
        constant, *made = self._coefficients(*((nothing, units) if of_values else (units, nothing)))
        tolerance = _SAME / self.size[0] + 2 * float(np.spacing(np.abs(constant).max()))
        for place, one in zip(places, made, strict=True):
            yield place, one - constant, tolerance

    def _check_linear(self) -> None:
        """Check that coefficients of the sum of two inputs are the sums of their coefficients, on dense, sparse and
        large inputs.

        **Raises** `NotLinear` if they are not.
        """
        normal = self.generator.normal(size=(2, 2, 3, *self.size))
        normal[:, :, 1] *= self.generator.random(normal[:, :, 1].shape) < 0.2
        normal[:, :, 2] *= 1e6
        normal[1] *= 30
        (rewards, values), (more_rewards, more_values) = normal
        nothing = np.zeros((1, *self.size))
        made = self._coefficients(
            np.concatenate([nothing, rewards, more_rewards, rewards + more_rewards]),
            np.concatenate([nothing, values, more_values, values + more_values]),
        )
        constant, parts = made[0], np.split(made[1:], 3)
        for one, other, both in zip(*parts, strict=True):
            off, scale = np.abs(both - one - other + constant).max(), np.abs([one, other, both, constant]).max()
            if not off <= _SAME * max(scale, 1e-300):
                raise NotLinear(self.size)
