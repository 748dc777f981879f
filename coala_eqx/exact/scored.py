"""Moments of all score-function estimators of a problem at once, from their coefficients."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from coala_eqx.estimators import AbstractScoreFunctionEstimator
from coala_eqx.exact.ego import EgoTrajectories
from coala_eqx.exact.rounding import Sum, norm
from coala_eqx.exact.seen import Estimated, Exact, Seen
from coala_eqx.interpreter.compiled import compiled
from coala_eqx.shaping import LearnerFeatures, MetaEpisode


class Scored:
    """The moments of ĝ = Σ_b Σ_l C_l^b ∇log π(a_l^b | h_l^b), from sums of C for each trajectory and step.

    Where trajectories are few, scores are multiplied in at the end, and ‖ĝ‖² follows from inner products of scores.
    Then no array in the sum over batches is as long as the parameters.
    """

    def __init__(self, estimators: Sequence[AbstractScoreFunctionEstimator], ego: EgoTrajectories, quick: bool):
        self.estimators = tuple(estimators)
        self.ego = ego
        self.quick = quick
        self.deviation = 0.0
        """Relative change of the estimates with the order of a batch."""

        self._sums = Sum()
        self._units: np.ndarray | None = None

    def coefficients(self, episodes: MetaEpisode) -> Float[np.ndarray, "chunk estimators batch long"]:
        """C of every estimator, in meta-episodes with leaves `[chunk, …]`."""
        given = episodes.rewards, episodes.values, episodes.features
        return np.asarray(_coefficients(self.estimators, *given, quick=self.quick))

    def leaves(self, seen: Seen) -> Float[np.ndarray, "estimators chunk batch long"]:
        """The sums of C over equal trajectories, sorted. They determine an estimate and ignore the order of a batch."""
        coefficients = self.coefficients(seen.episodes)
        numbers = np.sort(seen.trajectories, axis=1)
        same = (numbers[:, :, None] == seen.trajectories[:, None, :]).astype(float)
        return np.moveaxis(np.einsum("cjb,cebl->cejl", same, coefficients), 1, 0)

    def add(self, seen: Seen, weights: Float[np.ndarray, " chunk"]) -> None:
        """Add a chunk to the sums."""
        coefficients = self.coefficients(seen.episodes)
        if self._units is None:
            self._units = _units(coefficients, weights)
        # Where the weight is 0, coefficients may be NaN or infinite.
        coefficients = np.where(weights[:, None, None, None] == 0, 0.0, coefficients)
        if self.ego.few:
            places = seen.trajectories[:, :, None] * self.ego.long + np.arange(self.ego.long)
            pulls, squares = _sums_by_products(weights, coefficients, places, self.ego.products, self._units)
            estimates, norms = self._gathered(pulls, places), self.ego.norms[seen.trajectories]
        else:
            scores = self.ego.scores(seen.trajectories)
            estimates, squares = _sums_directly(weights, coefficients, scores, self._units)
            norms = np.linalg.norm(scores, axis=-1)
        sizes = weights @ np.einsum("cebl,cbl->ce", np.abs(coefficients), norms)
        self._sums.add((estimates, squares, sizes))

    def result(self, factor: float) -> list[Estimated]:
        """The moments of each estimator. Their error is `factor` times the sum of absolute values."""
        assert self._units is not None  # as there is a chunk at least
        means, squares, sizes = self._sums.value
        if self.ego.few:
            means = self.ego.weigh(means.reshape(len(self.estimators), self.ego.count, self.ego.long))
        made = []
        for mean, square, size, unit in zip(means, squares, sizes, self._units, strict=True):
            variance = max(float(square) - norm(mean / unit) ** 2, 0.0)
            error = (factor + self.deviation) * (float(size) + norm(mean))
            made.append(Estimated(Exact(mean, error), float(unit) * variance**0.5))
        return made

    def _gathered(self, pulls: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Sums over batches `[estimators, trajectories · long]`, from `[chunk, estimators, batch, long]`."""
        count = self.ego.count * self.ego.long
        flat = places.ravel()
        return np.stack(
            [np.bincount(flat, weights=pulls[:, e].ravel(), minlength=count) for e in range(pulls.shape[1])]
        )


def _units(coefficients: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Units of the size of each estimator's coefficients, `[estimators]`, in which no square over- or underflows."""
    largest = np.abs(coefficients[weights > 0]).max(axis=(0, 2, 3), initial=0.0)
    return np.where((largest > 0) & np.isfinite(largest), largest, 1.0)


@compiled
def _coefficients(
    estimators: tuple[AbstractScoreFunctionEstimator, ...],
    rewards: Array,
    values: Array,
    features: LearnerFeatures | None,
) -> Float[Array, "chunk estimators batch long"]:
    def one(rewards: Array, values: Array, features: LearnerFeatures | None) -> Array:
        made = [
            estimator.checked_coefficients(rewards, values, estimator.shaping_of(features)) for estimator in estimators
        ]
        return jnp.stack([one.reshape(len(rewards), -1).astype(float) for one in made])

    return jax.vmap(one)(rewards, values, features)


def _sums_by_products(
    weights: Float[np.ndarray, " chunk"],
    coefficients: Float[np.ndarray, "chunk estimators batch long"],
    places: np.ndarray,
    products: Float[np.ndarray, "scores scores"],
    units: Float[np.ndarray, " estimators"],
) -> tuple[np.ndarray, np.ndarray]:
    """p·C, and Σ p·‖ĝ/unit‖²."""
    chunk, estimators = coefficients.shape[:2]
    flat = places.reshape(chunk, -1)
    between = products[flat[:, :, None], flat[:, None, :]]
    scaled = (coefficients / units[:, None, None]).reshape(chunk, estimators, -1)
    squares = ((scaled @ between) * scaled).sum(axis=2)
    return weights[:, None, None, None] * coefficients, weights @ squares


def _sums_directly(
    weights: Float[np.ndarray, " chunk"],
    coefficients: Float[np.ndarray, "chunk estimators batch long"],
    scores: Float[np.ndarray, "chunk batch long parameters"],
    units: Float[np.ndarray, " estimators"],
) -> tuple[np.ndarray, np.ndarray]:
    """Σ p·ĝ, and Σ p·‖ĝ/unit‖²."""
    chunk, estimators = coefficients.shape[:2]
    estimates = coefficients.reshape(chunk, estimators, -1) @ scores.reshape(chunk, -1, scores.shape[-1])
    squares = ((estimates / units[:, None]) ** 2).sum(axis=2)
    return np.tensordot(weights, estimates, axes=1), weights @ squares
