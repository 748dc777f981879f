"""A check of what is declared exchangeable."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from coala_eqx.arrays import concrete
from coala_eqx.exact.batches import Chunk
from coala_eqx.exact.chunks import Run
from coala_eqx.exact.outcomes import InnerOutcomes
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import ShapingProblem
from coala_eqx.shaping.learning import Policies

_ORDER_TOLERANCE = 1e-10
"""Another order of a batch changes only the order of some sums; real dependence on it is far larger."""

_ORDER_SAMPLES = 8
"""How many random batches at least are tried in other orders."""


def check_exchangeable(
    function: Callable[..., Any],
    run: Run,
    trajectories: int,
    size: int,
    problem: ShapingProblem,
    policy: AbstractPolicy,
    co_players: Policies,
    outcomes: InnerOutcomes,
) -> None:
    """Check that random batches come out the same in other orders; a cyclic shift and a swap generate all of them.

    **Arguments:**

    - `function`, `run`, `problem`, `policy`, `co_players`, `outcomes`: `run(function, …, chunk)` is compared.
    - `trajectories`: how many different ones there are.
    - `size`: batches per chunk.

    **Raises** `ValueError` that names who may have declared wrongly. Does nothing where results are traced.
    """
    generator, batch = np.random.default_rng(0), problem.batch
    orders = np.arange(batch), np.roll(np.arange(batch), 1), np.array([1, 0, *range(2, batch)])
    for _ in range(max(1, _ORDER_SAMPLES // size)):
        picks = np.stack([_random_batch(generator, trajectories, batch) for _ in range(size)])
        weights = jnp.asarray(generator.random(size))
        chunks = [Chunk(jnp.asarray(picks[:, order]), weights) for order in orders]
        results = [jax.tree.leaves(run(function, problem, policy, co_players, outcomes, chunk)) for chunk in chunks]
        if not all(concrete(leaf) for result in results for leaf in result):
            return
        results = [[np.asarray(leaf) for leaf in result] for result in results]
        scale = max(1e-3, *(float(np.abs(leaf).max()) for leaf in results[0]))
        for result in results[1:]:
            for one, other in zip(results[0], result, strict=True):
                if np.abs(one - other).max() > _ORDER_TOLERANCE * scale:
                    parts = (getattr(function, "estimator", function), *problem.learners)
                    names = " or ".join(dict.fromkeys(getattr(part, "__name__", type(part).__name__) for part in parts))
                    raise ValueError(
                        f"{names} is declared exchangeable, but the result changes with the order of the trajectories "
                        f"of the batch; set `exchangeable` to False, and all ordered batches are enumerated."
                    )


def _random_batch(generator: np.random.Generator, trajectories: int, batch: int) -> np.ndarray:
    """A random batch, of different trajectories if there are enough."""
    if trajectories <= 10 * batch:
        return generator.permutation(np.resize(np.arange(trajectories), max(trajectories, batch)))[:batch]
    return generator.integers(trajectories, size=batch)
