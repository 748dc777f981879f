"""Two memory-one players of a matrix game in plain NumPy, and derivatives by a complex step."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import coala_eqx as ce
from coala_eqx.games import MatrixGame
from coala_eqx.policies import AbstractPolicy, MemoryOne

TWO_PLAYERS_BY_SGD: dict[str, Any] = {
    "actions": ((2, 2), (2, 3), (3, 2), (3, 3)),
    "sights": ((),),
    "ego": ("MemoryOne",),
    "learner": ("sgd",),
    "population": (1,),
}
"""Fields of the cases that these functions cover."""

_STEP = 1e-30


def complex_step(function: Callable[[np.ndarray], Any], point: np.ndarray) -> np.ndarray:
    """∂f/∂x = Im f(x + ih)/h, `[…f, …x]`. It is exact to rounding, because nothing is subtracted. f must be
    analytic.
    """
    columns = []
    for entry in np.ndindex(point.shape):
        moved = point.astype(complex)
        moved[entry] += 1j * _STEP
        columns.append(np.imag(function(moved)) / _STEP)
    return np.stack(columns, axis=-1).reshape(*np.shape(columns[0]), *point.shape)


def arrays_of(problem: ce.ShapingProblem, policy: AbstractPolicy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The payoffs, and the ego agent's and the co-player's logits, of a problem of two memory-one players."""
    other = problem.co_players[0]
    assert isinstance(problem.game, MatrixGame)
    assert isinstance(policy, MemoryOne)
    assert isinstance(other, MemoryOne)
    return np.asarray(problem.game.payoffs), np.asarray(policy.logits), np.asarray(other.logits)


def inner_episodes(
    payoffs: np.ndarray, ego: np.ndarray, other: np.ndarray, steps: int
) -> Iterator[tuple[Any, float, np.ndarray]]:
    """Yield (probability, the ego agent's return, the co-player's Σ_t ∇ log π · reward-to-go) of all inner episodes."""
    actions = payoffs.shape[1:]
    for path in itertools.product(itertools.product(*map(range, actions)), repeat=steps):
        mine, theirs, probability, earned = 0, 0, 1.0, 0.0
        gradient = np.zeros_like(other)
        for t, (a, c) in enumerate(path):
            p, q = softmax(ego[mine]), softmax(other[theirs])
            probability = probability * p[a] * q[c]
            earned += payoffs[0, a, c]
            to_go = sum(payoffs[1, a_, c_] for a_, c_ in path[t:])
            gradient[theirs] += (np.eye(actions[1])[c] - q) * to_go
            mine, theirs = 1 + actions[1] * a + c, 1 + actions[0] * c + a
        yield probability, earned, gradient


def softmax(logits: np.ndarray) -> np.ndarray:
    """Action probabilities."""
    weights = np.exp(logits)
    return weights / weights.sum()
