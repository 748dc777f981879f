"""Learning in continuous time: gradient ascent and the shaping objective along it converge to a flow and an integral.

**Claim.** Let ψ_{m+1} = ψ_m + η·∂J^{-i}/∂ψ for m < M, with ηM = T fixed, and dψ/dt = ∂J^{-i}/∂ψ from the same start.
As η → 0, the learner and the ego agent's return along its path tend to those of the flow. So do the gradients in φ:

    ψ_M = ψ(T) + O(η),    η·Σ_{m=0..M} J^i(φ, ψ_m) = ∫_0^T J^i(φ, ψ(t)) dt + O(η),    and ∂/∂φ of both.

**Why.** The ascent is Euler's method for the flow, whose error has an expansion v·η + w·η² + …, as J is a rational
function of the probabilities and smooth in logits. The sum is a Riemann sum of the integral along that path. The
derivatives in φ follow the same pair of equations, differentiated: Euler's method for the variational equation.

**How it is checked.** Errors v·η + O(η²), in root mean square over some random pairs, halve when η is halved: their
ratio tends to 2. Extrapolation, twice the half step's result minus the whole one's, leaves O(η²): there the ratio tends
to 4. The flow is solved to 1e-12, and differentiated through the solver's steps. Its other adjoints, and finite
differences, are compared in `tests/test_exact_learners.py`.

**Drawn at random.** Policies of both with N(0, 1) logits in the prisoner's dilemma, T = 20.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import coala_eqx as ce
from coala_eqx.learners import AbstractExactLearner, ExactAscent, GradientFlow
from coala_eqx.policies import BinaryMemoryOne
from proofs_checks.common.cases import is_deep
from proofs_checks.common.ledger import holds

FIRST_ORDER = "Continuous time: |ratio of errors of steps η and η/2 − 2|, {}, T/η = 1024"
SECOND_ORDER = "Continuous time: the same after extrapolation, |ratio − 4|, {}, T/η = 512"
CLOSER = "Continuous time: this is nearer to the limit than with twice the step (ratio), {}"

DURATION = 20.0
QUANTITIES = ("last policy", "collected return", "gradient of it")
STEPS = (256, 512, 1024, 2048)

Results = dict[str, np.ndarray]
"""Arrays `[pairs, …]`, keyed by quantity."""


def check_limit(discrete: Callable[[int], Results], flow: Results) -> None:
    """Check that the results of T/η = 256, 512, … steps tend to the flow's. `discrete` maps the number of steps to
    results.
    """
    found = {steps: discrete(steps) for steps in STEPS}
    for quantity in QUANTITIES:
        values = [found[steps][quantity] for steps in STEPS]
        errors = [float(np.linalg.norm(value - flow[quantity])) for value in values]
        extrapolated = [2 * fine - coarse for coarse, fine in itertools.pairwise(values)]
        left = [float(np.linalg.norm(value - flow[quantity])) for value in extrapolated]
        off = [abs(errors[i] / errors[i + 1] - 2) for i in range(3)]
        holds(FIRST_ORDER.format(quantity), off[2], 1e-3)
        holds(CLOSER.format(quantity), off[2] / off[1], 0.6)
        holds(SECOND_ORDER.format(quantity), abs(left[1] / left[2] - 4), 0.01)


def results(learner: AbstractExactLearner, scale: float = 1.0) -> Results:
    """The collected returns of all pairs and their gradients, times `scale`."""
    problem = ce.IteratedShapingProblem(ce.games.iterated_prisoners_dilemma().payoffs, learner=learner)
    logits = np.random.default_rng(0).normal(size=(2, 64 if is_deep() else 8, 5))
    last, collected, gradient = _all_pairs(problem, *jnp.asarray(logits))
    values = (np.asarray(last), scale * np.asarray(collected), scale * np.asarray(gradient))
    return dict(zip(QUANTITIES, values, strict=True))


@eqx.filter_jit
def _all_pairs(problem: ce.IteratedShapingProblem, egos: Any, learners: Any) -> Any:
    def collected(ego: Any, learner: Any) -> Any:
        path = problem.learn(BinaryMemoryOne(ego), BinaryMemoryOne(learner))
        return path.collected, jax.tree.leaves(path.policies)[0][-1]

    def one(ego: Any, learner: Any) -> Any:
        (value, last), gradient = jax.value_and_grad(collected, has_aux=True)(ego, learner)
        return last, value, gradient

    return jax.vmap(one)(egos, learners)


def by_ascent(steps: int) -> Results:
    """Results of gradient ascent: η·Σ, with η = T/steps."""
    rate = DURATION / steps
    return results(ExactAscent(rate, steps), rate)


@functools.cache
def by_flow() -> Results:
    """Results of the flow: the integral."""
    return results(GradientFlow(DURATION, points=2, tolerance=1e-12))


def test_ascent_tends_to_the_flow():
    check_limit(by_ascent, by_flow())
