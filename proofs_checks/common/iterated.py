"""Iterated matrix games between two memory-one players: random matches, and their returns step by step.

**Precision.** Payoffs are taken relative to max|r|, and returns times 1 − γ. Every product of γM with a distribution or
with itself costs at most states + 3 roundings. So (γM)ᵗ has a relative error of t·(states + 3)·eps, however it is
computed, and the return has an error of Σ_t (1 − γ)·γᵗ·t·(states + 3)·eps ≤ (states + 3)·eps/(1 − γ). This is doubled
because two computations are compared, and doubled again for the last sums and products.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np

import coala_eqx as ce
from coala_eqx.policies import AbstractPolicy
from coala_eqx.returns import episode_returns
from proofs_checks.common.cases import is_deep
from proofs_checks.common.rounding import EPS

Returns = Callable[..., Any]
"""A function (probabilities_1, probabilities_2, payoffs, discount) → normalised returns, as `memory_one_returns`."""

TINY = 1e-300
"""A probability that changes no sum but has a finite logarithm."""


@dataclasses.dataclass(frozen=True)
class Match:
    """Two memory-one players, described by words and small numbers."""

    actions: tuple[int, int] = (2, 2)
    discount: float = 0.95
    corner: bool = False
    """Whether all probabilities are 0 or 1."""

    seed: int = 0
    """Seed of the logits, of standard deviation 2, or of the corner, and of payoffs from −2 to 2."""

    def tables(self) -> tuple[np.ndarray, np.ndarray]:
        """Action probabilities of both players."""
        generator, rows = np.random.default_rng(self.seed), 1 + self.states
        first, second = (
            np.eye(n)[generator.integers(n, size=rows)]
            if self.corner
            else softmax(generator.normal(scale=2, size=(rows, n)))
            for n in self.actions
        )
        return first, second

    def payoffs(self) -> np.ndarray:
        """Payoffs of both players, the largest being ±1."""
        payoffs = np.random.default_rng(self.seed + 1).uniform(-2, 2, size=(2, *self.actions))
        return payoffs / np.abs(payoffs).max()

    @property
    def states(self) -> int:
        """Number of joint actions."""
        return self.actions[0] * self.actions[1]


def matches(**others: Any) -> st.SearchStrategy[Match]:
    """A strategy that draws matches. Shapes and discounts are few, because each must be compiled; `others` fixes
    fields.
    """
    drawn = {
        "actions": st.sampled_from([(2, 3), (2, 2), (3, 2), (1, 3)] if is_deep() else [(2, 3)]),
        "discount": st.sampled_from([0.5, 0.95, 0.0, 0.3, 0.8, 0.99, 0.999] if is_deep() else [0.5, 0.95]),
        "corner": st.booleans(),
        "seed": st.integers(0, 10_000),
    }
    return st.builds(Match, **(drawn | others))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, also of complex numbers."""
    weights = np.exp(logits - np.real(logits).max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def play(
    tables: tuple[np.ndarray, np.ndarray], payoffs: np.ndarray, discount: float, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Σ_{t<steps} γ^t E[r_t] `[..., 2]` and the distribution of the joint action of step `steps` − 1, step by step.

    Tables may have leading axes, and be complex.
    """
    (first, second), (_, actions_1, actions_2) = tables, payoffs.shape
    joint = list(itertools.product(range(actions_1), range(actions_2)))
    chance = np.empty((*first.shape[:-2], 1 + len(joint), len(joint)), dtype=first.dtype)
    for after, (a, b) in enumerate(joint):
        chance[..., 0, after] = first[..., 0, a] * second[..., 0, b]
        for before, (own, other) in enumerate(joint):
            seen_1, seen_2 = 1 + own * actions_2 + other, 1 + other * actions_1 + own
            chance[..., 1 + before, after] = first[..., seen_1, a] * second[..., seen_2, b]
    rewards = payoffs.reshape(2, -1).T
    distribution, transition = chance[..., :1, :], chance[..., 1:, :]
    weighted = total = distribution
    for step in range(1, steps):
        distribution = distribution @ transition
        weighted = discount**step * distribution
        total = total + weighted
    return (total @ rewards)[..., 0, :], distribution[..., 0, :]


def enough_steps(discount: float) -> int:
    """Number of steps after which less than eps of the series is missing."""
    return 1 if discount == 0 else 1 + math.ceil(math.log(EPS) / math.log(discount))


def rounding(states: int, discount: float, steps: int = 0) -> float:
    """A bound on the error of normalised returns relative to the largest payoff, as derived above."""
    return (steps + 4 * (states + 3) / (1 - discount)) * EPS


@functools.partial(jax.jit, static_argnums=(2, 3))
def enumerate_returns(policies: tuple[AbstractPolicy, ...], payoffs: Any, steps: int, discount: float) -> Any:
    """The returns of `steps` steps, by the tree of histories."""
    return episode_returns(ce.games.MatrixGame(payoffs), policies, steps, discount)
