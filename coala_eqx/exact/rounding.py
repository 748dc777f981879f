"""Bounds on rounding errors.

A weighted sum Σ p·x in which every term is computed by k rounded operations, none of them badly conditioned, is off by
at most (k + additions)·eps·Σ p·|x|. Terms are added within a chunk, and chunks with their rounding errors kept (`Sum`),
so that additions count the terms of a chunk and not the number of outcomes. Terms that cancel in the sum count in
Σ p·|x|.
"""

import math
from typing import Any

import jax
import numpy as np

EPS = float(np.finfo(np.float64).eps)

UNDERFLOW = 1e-290
"""Smaller numbers have lost digits, or lose them in products."""

PER_STEP = 100
"""Rounded operations per player and step: a small network's logits, a softmax, and their derivatives."""


def operations(players: int, actions: int, chunk: int, largest_log_prob: float) -> float:
    """The number of rounded operations on the way of a term into the sum, k + additions.

    **Arguments:**

    - `players`, `actions`: number of players, and batch · episodes · steps.
    - `chunk`: number of terms that are added one after the other, before `Sum`.
    - `largest_log_prob`: the largest |log p| of an outcome; exp(log p) has a relative error of |log p|·eps and more.
    """
    return PER_STEP * players * actions + 4 * largest_log_prob + chunk + 4


class Sum:
    """A running sum of pytrees of arrays that keeps its rounding errors (Neumaier's), on the host."""

    def __init__(self) -> None:
        self._leaves: list[np.ndarray] | None = None
        self._errors: list[np.ndarray] = []
        self._structure: Any = None

    def add(self, tree: Any) -> None:
        """Add a tree; all must have the same structure and shapes."""
        leaves, structure = jax.tree.flatten(jax.device_get(tree))
        if self._leaves is None:
            self._leaves, self._structure = [np.array(leaf, np.float64) for leaf in leaves], structure
            self._errors = [np.zeros_like(leaf) for leaf in self._leaves]
            return
        with np.errstate(invalid="ignore", over="ignore"):
            for number, leaf in enumerate(leaves):
                old = self._leaves[number]
                new = old + leaf
                self._errors[number] += np.where(np.abs(old) >= np.abs(leaf), (old - new) + leaf, (leaf - new) + old)
                self._leaves[number] = new

    @property
    def value(self) -> Any:
        """The sum; raises `ValueError` if nothing was added."""
        if self._leaves is None:
            raise ValueError("Nothing was added up.")
        with np.errstate(invalid="ignore"):
            leaves = [
                np.where(np.isfinite(error), leaf + error, leaf)
                for leaf, error in zip(self._leaves, self._errors, strict=True)
            ]
        return jax.tree.unflatten(self._structure, leaves)


def norm(vector: Any) -> float:
    """The Euclidean norm, also where squares would overflow or underflow."""
    vector = np.asarray(vector, np.float64).ravel()
    largest = float(np.abs(vector).max(initial=0.0))
    if not 0 < largest < math.inf:
        return largest
    return largest * float(np.linalg.norm(vector / largest))
