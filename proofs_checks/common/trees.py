"""Arithmetic on gradients, which are pytrees like a policy.

It uses NumPy, because JAX would compile each sum for every new shape.
"""

import functools
from typing import Any

import jax
import numpy as np


def vector(tree: Any) -> np.ndarray:
    """All leaves, flattened into one vector."""
    leaves = [np.asarray(leaf).ravel() for leaf in jax.tree.leaves(tree)]
    return np.concatenate(leaves) if leaves else np.zeros(0)


def norm(tree: Any) -> float:
    """The Euclidean norm of all leaves together."""
    return float(np.linalg.norm(vector(tree)))


def root_mean_square(mean: Any, variance: Any) -> float:
    """√E‖ĝ‖², from the two moments."""
    return float(variance + norm(mean) ** 2) ** 0.5


def distance(one: Any, other: Any) -> float:
    """The norm of the difference of two gradients."""
    return norm(subtract(one, other))


def cosine(one: Any, other: Any) -> float:
    """The cosine of the angle between two gradients; NaN where one of them is zero."""
    first, second = vector(one), vector(other)
    norms = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / norms) if norms > 0 else float("nan")


def add(*trees: Any) -> Any:
    """The sum of gradients."""
    return jax.tree.map(lambda *leaves: functools.reduce(np.add, leaves), *trees)


def subtract(one: Any, other: Any) -> Any:
    """The difference one − other."""
    return jax.tree.map(np.subtract, one, other)


def scale(factor: Any, tree: Any) -> Any:
    """The product factor · tree."""
    return jax.tree.map(lambda leaf: factor * np.asarray(leaf), tree)
