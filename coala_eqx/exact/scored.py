"""Moments of all score-function estimators of a problem at once, from their coefficients."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from coala_eqx.estimators import AbstractScoreFunctionEstimator
from coala_eqx.exact.ego import EgoTrajectories
from coala_eqx.exact.programs import compiled
from coala_eqx.exact.rounding import Sum, norm
from coala_eqx.exact.seen import Estimated, Exact, Seen
from coala_eqx.shaping import MetaEpisode


class Scored:
    """ĝ = Σ_b Σ_l C_l^b ∇log π(a_l^b | h_l^b): what is summed over batches is C, for each trajectory and step.

    Where trajectories are few, E[ĝ] is weighed out at the end, and ‖ĝ‖² follows from inner products of scores, so that
    nothing as long as the parameters is handled in the sum over batches.
    """

    def __init__(self, estimators: Sequence[AbstractScoreFunctionEstimator], ego: EgoTrajectories, quick: bool):
        self.estimators = tuple(estimators)
        self.ego = ego
        self.quick = quick
        self.deviation = 0.0
        """How much estimates depend on the order of a batch."""

        self._sums = Sum()
        self._units: np.ndarray | None = None
        self._products = jax.device_put(ego.products) if ego.few else None

    def coefficients(self, episodes: MetaEpisode) -> Float[Array, "chunk estimators batch long"]:
        """C of every estimator, in meta-episodes with leaves `[chunk, …]`."""
        return _coefficients(self.estimators, episodes.rewards, episodes.values, quick=self.quick)

    def leaves(self, number: int, seen: Seen) -> list[np.ndarray]:
        """What the estimates of one estimator depend on, whatever the order of a batch: `[chunk, batch, long]`.

        These are sums of C over equal trajectories, sorted.
        """
        coefficients = np.asarray(self.coefficients(seen.episodes))[:, number]
        numbers = np.sort(seen.trajectories, axis=1)
        same = (numbers[:, :, None] == seen.trajectories[:, None, :]).astype(float)
        return [np.einsum("cjb,cbl->cjl", same, coefficients)]

    def add(self, seen: Seen, weights: Float[np.ndarray, " chunk"]) -> None:
        """Count a chunk."""
        coefficients = self.coefficients(seen.episodes)
        if self._units is None:
            self._units = _units(np.asarray(coefficients), np.asarray(weights))
        if self._products is None:
            scores = self.ego.scores(seen.trajectories)
            self._sums.add(_sums_directly(weights, coefficients, scores, self._units, quick=self.quick))
            return
        places = seen.trajectories[:, :, None] * self.ego.long + np.arange(self.ego.long)
        norms = self.ego.norms[seen.trajectories]
        pulls, squares, sizes = _sums_by_products(
            weights, coefficients, places, norms, self._products, self._units, quick=self.quick
        )
        self._sums.add((self._gathered(np.asarray(pulls), places), squares, sizes))

    def result(self, factor: float) -> list[Estimated]:
        """The moments of each estimator; an error is `factor` times what is summed in absolute value."""
        assert self._units is not None  # as there is a chunk at least
        means, squares, sizes = self._sums.value
        if self._products is not None:
            means = self.ego.weigh(means.reshape(len(self.estimators), self.ego.count, self.ego.long))
        made = []
        for mean, square, size, unit in zip(means, squares, sizes, self._units, strict=True):
            variance = max(float(square) - norm(mean / unit) ** 2, 0.0)
            error = (factor + self.deviation) * (float(size) + norm(mean))
            made.append(Estimated(Exact(mean, error), float(unit) * variance**0.5))
        return made

    def _gathered(self, pulls: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Σ over batches `[estimators, trajectories · long]`, from `[chunk, estimators, batch, long]`."""
        count = self.ego.count * self.ego.long
        flat = places.ravel()
        return np.stack(
            [np.bincount(flat, weights=pulls[:, e].ravel(), minlength=count) for e in range(pulls.shape[1])]
        )


def _units(coefficients: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Of the size of each estimator's coefficients, so that no square over- or underflows: `[estimators]`."""
    largest = np.abs(coefficients[weights > 0]).max(axis=(0, 2, 3), initial=0.0)
    return np.where((largest > 0) & np.isfinite(largest), largest, 1.0)


@compiled
def _coefficients(
    estimators: tuple[AbstractScoreFunctionEstimator, ...], rewards: Array, values: Array
) -> Float[Array, "chunk estimators batch long"]:
    def one(rewards: Array, values: Array) -> Array:
        made = [estimator.checked_coefficients(rewards, values) for estimator in estimators]
        return jnp.stack([one.reshape(len(rewards), -1).astype(float) for one in made])

    return jax.vmap(one)(rewards, values)


@compiled
def _sums_by_products(
    weights: Float[Array, " chunk"],
    coefficients: Float[Array, "chunk estimators batch long"],
    places: Array,
    norms: Float[Array, "chunk batch long"],
    products: Float[Array, "scores scores"],
    units: Float[Array, " estimators"],
) -> tuple[Array, Array, Array]:
    """p·C, Σ p·‖ĝ/unit‖², and Σ p·Σ_b Σ_l |C|·‖∇log π‖."""
    coefficients = _of_what_counts(weights, coefficients)
    chunk, estimators = coefficients.shape[:2]
    flat = places.reshape(chunk, -1)
    between = products[flat[:, :, None], flat[:, None, :]]
    scaled = (coefficients / units[:, None, None]).reshape(chunk, estimators, -1)
    squares = jnp.sum((scaled @ between) * scaled, axis=2)
    sizes = jnp.sum(jnp.abs(coefficients) * norms[:, None], axis=(2, 3))
    return weights[:, None, None, None] * coefficients, weights @ squares, weights @ sizes


@compiled
def _sums_directly(
    weights: Float[Array, " chunk"],
    coefficients: Float[Array, "chunk estimators batch long"],
    scores: Float[Array, "chunk batch long parameters"],
    units: Float[Array, " estimators"],
) -> tuple[Array, Array, Array]:
    """Σ p·ĝ, Σ p·‖ĝ/unit‖², and Σ p·Σ_b Σ_l |C|·‖∇log π‖."""
    coefficients = _of_what_counts(weights, coefficients)
    chunk, estimators = coefficients.shape[:2]
    estimates = coefficients.reshape(chunk, estimators, -1) @ scores.reshape(chunk, -1, scores.shape[-1])
    squares = jnp.sum((estimates / units[:, None]) ** 2, axis=2)
    norms = jnp.sqrt(jnp.sum(scores**2, axis=-1))
    sizes = jnp.einsum("cebl,cbl->ce", jnp.abs(coefficients), norms)
    return jnp.tensordot(weights, estimates, axes=1), weights @ squares, weights @ sizes


def _of_what_counts(weights: Float[Array, " chunk"], coefficients: Array) -> Array:
    """0 where the weight is; there coefficients may be NaN or infinite."""
    return jnp.where(weights[:, None, None, None] == 0, 0.0, coefficients)
