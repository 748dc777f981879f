"""The closed-form gradient of the shaping return (as in Fig. 3A), compared with a straightforward computation."""

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from coala_eqx.benchmarks.timing import shortest_seconds
from coala_eqx.games import iterated_prisoners_dilemma
from coala_eqx.learners import ExactAscent
from coala_eqx.policies import BinaryMemoryOne
from coala_eqx.shaping import IteratedShapingProblem

SEEDS, LEARNERS = 32, 16
"""Sizes of Fig. 3A here: number of agents in parallel, and number of learners that each of them meets in one
iteration.
"""

Logits = Float[Array, " 5"]


def shaping_gradients(problem: IteratedShapingProblem, policy: Logits, naive: Float[Array, "learners 5"]) -> Logits:
    """The gradient as the package computes it."""

    def mean(policy: Logits) -> Array:
        met = jax.vmap(lambda one: problem.shaping_return(BinaryMemoryOne(policy), BinaryMemoryOne(one)))
        return met(naive).mean()

    return jax.grad(mean)(policy)


def straightforward_gradients(
    problem: IteratedShapingProblem, policy: Logits, naive: Float[Array, "learners 5"]
) -> Logits:
    """The gradient as Eqs 16 and 17 read: one linear system for every return, differentiated separately.

    Batches of `jnp.linalg.solve` have deadlocked once on a CPU.
    """
    learner = problem.learner
    assert isinstance(learner, ExactAscent)

    def value(player: int, policy: Logits, naive: Logits) -> Array:
        mine, theirs = jax.nn.sigmoid(policy), jax.nn.sigmoid(naive[jnp.array([0, 1, 3, 2, 4])])
        moves = jnp.stack([mine * theirs, mine * (1 - theirs), (1 - mine) * theirs, (1 - mine) * (1 - theirs)])
        system = jnp.eye(4) - problem.discount * moves[:, 1:]
        visits = jnp.linalg.solve(system, moves[:, 0])
        return (1 - problem.discount) * problem.payoffs[player].ravel() @ visits

    def total(policy: Logits, naive: Logits) -> Array:
        collected = value(0, policy, naive)
        for _ in range(learner.steps):
            naive = naive + learner.rate * jax.grad(value, argnums=2)(1, policy, naive)
            collected += value(0, policy, naive)
        return collected

    return jax.grad(lambda policy: jax.vmap(total, (None, 0))(policy, naive).mean())(policy)


def compare_shaping_gradients() -> Iterator[tuple[str, str]]:
    """Yield (implementation, its time relative to the package's). All of them compute the same numbers."""
    problem = IteratedShapingProblem(iterated_prisoners_dilemma().payoffs)
    policies, naive = (
        jax.random.normal(key, shape)
        for key, shape in zip(jax.random.split(jax.random.key(0)), ((SEEDS, 5), (SEEDS, LEARNERS, 5)), strict=True)
    )

    def at_once(function: Callable[..., Any]) -> Callable[[], Any]:
        compiled = eqx.filter_jit(jax.vmap(lambda policy, naive: function(problem, policy, naive)))
        return lambda: compiled(policies, naive)

    def one_by_one(function: Callable[..., Any]) -> Callable[[], Any]:
        compiled = eqx.filter_jit(lambda policy, naive: function(problem, policy, naive))
        return lambda: jnp.stack([compiled(policies[seed], naive[seed]) for seed in range(SEEDS)])

    ways = {
        "this package, all seeds at once": at_once(shaping_gradients),
        "this package, a Python loop over seeds": one_by_one(shaping_gradients),
        "a batched `linalg.solve` for every return, a Python loop over seeds": one_by_one(straightforward_gradients),
    }
    reference = None
    for what, run in ways.items():
        seconds = shortest_seconds(run, repeats=5)
        reference = reference or seconds
        yield what, f"{seconds / reference:.1f}"
