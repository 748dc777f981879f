"""The draws of learners with randomness: all combinations in a meta-episode, with their probabilities."""

import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from coala_eqx.learners import AbstractDrawingLearner, AbstractLearner
from coala_eqx.shaping import ShapingProblem


def draws_of_update(learner: AbstractLearner, batch: int) -> int:
    """The number of draws of one update; 1 for a learner without randomness.

    **Raises** `ValueError` for a learner that uses its key and declares no finite set of draws.
    """
    if not learner.uses_key:
        return 1
    name = type(learner).__name__
    if not isinstance(learner, AbstractDrawingLearner):
        raise ValueError(
            f"{name} uses its key and declares no finite set of draws, so that its updates can be sampled but not "
            f"enumerated. Derive it from AbstractDrawingLearner, or take a learner without randomness; "
            f"certify_structure needs no enumeration, and holds against every learner."
        )
    return learner.num_draws(batch)


def log_count_draws(problem: ShapingProblem) -> float:
    """The logarithm of the number of combinations."""
    each = [math.log(draws_of_update(learner, problem.batch)) for learner in problem.learners]
    return (problem.episodes - 1) * math.fsum(each)


def count_draws(problem: ShapingProblem) -> int:
    """The number of combinations of the draws of all co-players in all updates."""
    each = [draws_of_update(learner, problem.batch) for learner in problem.learners]
    return math.prod(each) ** (problem.episodes - 1)


class Draws:
    """All combinations, numbered from 0. Only the draws of one update are listed, not the combinations."""

    def __init__(self, problem: ShapingProblem):
        self.updates = problem.episodes - 1
        self.count = count_draws(problem)
        self._sizes = [draws_of_update(learner, problem.batch) for learner in problem.learners]
        self._tables: list[tuple[Any, np.ndarray] | None] = [None] * len(self._sizes)
        for number, learner in enumerate(problem.learners):
            if isinstance(learner, AbstractDrawingLearner) and learner.uses_key and self.updates:
                self._tables[number] = _listed(learner, problem.batch)

    @property
    def any(self) -> bool:
        """Whether some learner draws, be it always the same."""
        return any(table is not None for table in self._tables)

    def take(self, combinations: Int[np.ndarray, " some"]) -> tuple[tuple[Any, ...], Float[np.ndarray, " some"]]:
        """The draws of each learner, leaves `[some, updates, …]` or `None`, and the probability of each combination."""
        taken, probabilities = [], np.ones(len(combinations))
        for size, table in zip(self._sizes, self._tables, strict=True):
            if table is None:
                taken.append(None)
                continue
            combinations, own = np.divmod(combinations, size**self.updates)
            chosen = np.stack(np.unravel_index(own, (size,) * self.updates), axis=1)
            draws, each = table
            taken.append(jax.tree.map(lambda leaf, chosen=chosen: leaf[chosen], draws))
            probabilities = probabilities * each[chosen].prod(axis=1)
        return tuple(taken) if self.any else (), probabilities


def _listed(learner: AbstractDrawingLearner, batch: int) -> tuple[Any, np.ndarray]:
    """**Raises** `ValueError` unless a learner lists as many draws as it says, with a distribution over them."""
    draws, probabilities = learner.draws(batch)
    name, number, each = type(learner).__name__, learner.num_draws(batch), np.asarray(probabilities, np.float64)
    lengths = [np.shape(leaf)[:1] for leaf in (*jax.tree.leaves(draws), each)]
    if len(lengths) < 2 or any(length != (number,) for length in lengths):
        raise ValueError(
            f"{name}.draws must list arrays of num_draws = {number} draws, and as many probabilities, but lists "
            f"{', '.join(str(length[0]) if length else 'a number' for length in lengths)}."
        )
    if not (each >= 0).all() or not math.isclose(each.sum(), 1, abs_tol=1e-9):
        raise ValueError(f"The probabilities of {name}.draws must be ≥ 0 and sum to one, but are {each}.")
    return jax.tree.map(np.asarray, draws), each
