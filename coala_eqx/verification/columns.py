"""Structure at the size of a run, where the whole matrix would be too large: some columns of it."""

import jax
import numpy as np
from jaxtyping import Bool, Float

from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator, Inapplicable
from coala_eqx.exact import plain
from coala_eqx.exact.programs import one_thread
from coala_eqx.verification.certificate import objective_of
from coala_eqx.verification.findings import WEIGHTS, Finding, NotLinear, Size, checked_size

_SAME = 1e-9
"""Relative difference up to which two weights are the same, or two sums."""


def find_wrong(
    estimator: AbstractEstimator, batch: int, episodes: int, steps: int, *, columns: int = 12, seed: int = 0
) -> Finding | None:
    """Hold random columns of an estimator's matrix, at one size however large, against Theorem 3.1.

    A column says how one reward, or one value, weighs for all actions. Rewards of the first inner episode are tried in
    all trajectories at once, as there only sums of weights matter (`Kernel.wrong`).

    **Arguments:**

    - `estimator`: an instance of a score-function estimator.
    - `batch`, `episodes`, `steps`: B, M and T.
    - `columns`: how many rewards and how many values are tried.
    - `seed`: draws them.

    **Returns** a wrong entry, or `None` if there is none in these columns.

    **Raises** `NotLinear`, a `ValueError`, where coefficients are no linear function of rewards and values;
    `Inapplicable`, another one, for estimators that are judged by enumeration only.
    """
    size, objective = checked_size((batch, episodes, steps)), objective_of(estimator)
    if not isinstance(estimator, AbstractScoreFunctionEstimator) or objective not in WEIGHTS:
        raise Inapplicable(f"{type(estimator).__name__} is judged by enumeration only.")
    with jax.enable_x64(True), one_thread():
        return _Columns(estimator, size, WEIGHTS[objective](episodes), seed).find(columns)


def remark(estimator: AbstractEstimator, batch: int, episodes: int, steps: int) -> str:
    """In a sentence, what `find_wrong` finds at the size of a run; empty where a claim is kept, or there is none."""
    name = type(estimator).__name__
    if estimator.unbiased_for is None:
        return ""
    try:
        finding = find_wrong(estimator, batch, episodes, steps)
    except Inapplicable:
        return ""
    except NotLinear as reason:
        return f"whether {name} is unbiased, as it claims, is not known: {reason}."
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

    def find(self, columns: int) -> Finding | None:
        batch, episodes, _ = self.size
        self._check_linear()
        later = [self._place(first_episode=1) for _ in range(columns if episodes > 1 else 0)]
        values = [self._place() for _ in range(columns)]
        first = self._place(last_episode=0)
        together = [(trajectory, *first[1:]) for trajectory in range(batch)]
        rewards = self._weights(later + together)
        for place, weights in zip(later, rewards, strict=False):
            expected = self.target[place[1]]
            wrong = _downstream(self.size, place) & (np.abs(weights - expected) > _SAME * max(abs(expected), 1 / batch))
            if wrong.any():
                return self._finding(wrong, place, weights, expected)
        if found := self._first_episode(together, rewards[len(later) :]):
            return found
        for place, weights in zip(values, self._weights(values, of_values=True), strict=True):
            forbidden = ~_admissible(self.size, place) & (np.abs(weights) > _SAME)
            if forbidden.any():
                return self._finding(forbidden, place, weights, None)
        return None

    def _first_episode(self, places: list[Size], rewards: np.ndarray) -> Finding | None:
        """Own rewards of the first inner episode: their sum over the batch must be that of the targets."""
        batch, expected = self.size[0], self.target[0]
        _, _, step = places[0]
        own = np.stack([weights[place[0], 0, : step + 1] for place, weights in zip(places, rewards, strict=True)])
        off = np.abs(own.sum(axis=0) - batch * expected) > _SAME * max(batch * abs(expected), 1)
        if not off.any():
            return None
        wrong = np.zeros(self.size, bool)
        wrong[0, 0, : step + 1] = off
        return self._finding(wrong, places[0], rewards[0], expected)

    def _finding(self, wrong: np.ndarray, place: Size, weights: np.ndarray, expected: float | None) -> Finding:
        action = tuple(int(index) for index in np.argwhere(wrong)[0])
        b, m, t, c, n, s = (1 + index for index in (*action, *place))
        return Finding(
            self.size, (b, m, t), (c, n, s), float(weights[action]), float(expected or 0), of_values=expected is None
        )

    def _place(self, first_episode: int = 0, last_episode: int | None = None) -> Size:
        """Of a reward or a value, drawn; every fourth one of the last inner episode."""
        batch, episodes, steps = self.size
        last = episodes - 1 if last_episode is None else last_episode
        lowest = last if self.generator.random() < 0.25 else min(first_episode, last)
        trajectory, step = self.generator.integers(batch), self.generator.integers(steps)
        return int(trajectory), int(self.generator.integers(lowest, last + 1)), int(step)

    def _coefficients(self, rewards: np.ndarray, values: np.ndarray) -> Float[np.ndarray, "tries batch episodes steps"]:
        return plain.evaluate(jax.vmap(self.estimator.checked_coefficients), rewards, values)

    def _weights(self, places: list[Size], *, of_values: bool = False) -> np.ndarray:
        """What the rewards, or values, at these places weigh, each `[batch, episodes, steps]`."""
        units = np.zeros((1 + len(places), *self.size))
        for unit, place in zip(units[1:], places, strict=True):
            unit[place] = 1.0
        nothing = np.zeros_like(units)
        constant, *made = self._coefficients(*((nothing, units) if of_values else (units, nothing)))
        return np.stack(made) - constant

    def _check_linear(self) -> None:
        """Whether what two inputs give together is what they give one by one."""
        one, other = self.generator.normal(size=(2, 2, *self.size)) * np.array([1.0, 30.0])[:, None, None, None, None]
        rewards, values = (np.stack([0 * a, a, b, a + b]) for a, b in ((one[0], other[0]), (one[1], other[1])))
        nothing, first, second, both = self._coefficients(rewards, values)
        scale = max(np.abs(part).max() for part in (nothing, first, second, both))
        if not np.abs(both - first - second + nothing).max() <= _SAME * max(scale, 1e-300):
            raise NotLinear(
                f"not linear in rewards and values (centring, normalising or clipping?), at size (B, M, T) = "
                f"{self.size}: judged by enumeration only"
            )


def _downstream(size: Size, place: Size) -> Bool[np.ndarray, "batch episodes steps"]:
    """Which actions a reward is downstream of."""
    b, m, t = np.ogrid[: size[0], : size[1], : size[2]]
    return np.broadcast_to((m < place[1]) | ((b == place[0]) & (m == place[1]) & (t <= place[2])), size)


def _admissible(size: Size, place: Size) -> Bool[np.ndarray, "batch episodes steps"]:
    """For which actions a value may enter (`kernel.admissible_values`)."""
    b, m, t = np.ogrid[: size[0], : size[1], : size[2]]
    trajectory, episode, step = place
    own = (episode < m) | ((episode == m) & (step <= t))
    others = (episode <= m) | ((episode == m + 1) & (step == 0))
    return np.broadcast_to(np.where(b == trajectory, own, others), size)
