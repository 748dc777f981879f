"""Meta-training of the agents of the analytic figures, all seeds at once."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Key

import coala_eqx as ce
from coala_eqx.policies import BinaryMemoryOne
from coala_eqx.runs.progress import Progress
from experiments.analytic import Settings, normal_policies

Gradient = Callable[[BinaryMemoryOne, Key[Array, ""]], BinaryMemoryOne]
"""A function of an agent, or of a pair of agents with leaves `[2, …]`, and a key, which returns the gradient to
climb.
"""


def shaping_gradient(
    problem: ce.IteratedShapingProblem, policy: BinaryMemoryOne, naive: BinaryMemoryOne
) -> BinaryMemoryOne:
    """∂/∂φ of the shaping return (Eq. 17), averaged over stacked naive learners."""
    return eqx.filter_grad(lambda policy: jax.vmap(lambda one: problem.shaping_return(policy, one))(naive).mean())(
        policy
    )


def lookahead_gradient(
    problem: ce.IteratedShapingProblem, policy: BinaryMemoryOne, other: BinaryMemoryOne
) -> BinaryMemoryOne:
    """∂/∂φ of the return against the other agent after that agent has learned (LOLA)."""
    return eqx.filter_grad(problem.lookahead_return)(policy, other)


def partial_gradient(
    problem: ce.IteratedShapingProblem, policy: BinaryMemoryOne, other: BinaryMemoryOne
) -> BinaryMemoryOne:
    """∂J^i/∂φ^i against a fixed policy."""
    return eqx.filter_grad(lambda policy: problem.returns(policy, other)[0])(policy)


def pool_gradient(settings: Settings, p_naive: float) -> Gradient:
    """Gradient of two agents in a pool: p_naive times the shaping gradient plus 1 − p_naive times the partial one (App.
    C).
    """
    both = settings.problem()

    def one(
        problem: ce.IteratedShapingProblem, own: BinaryMemoryOne, other: BinaryMemoryOne, key: Key[Array, ""]
    ) -> BinaryMemoryOne:
        naive = normal_policies(key, settings.meta_batch, settings.naive_scale)
        shaping = shaping_gradient(problem, own, naive) if p_naive > 0 else None
        if settings.average:
            shaping = jax.tree.map(lambda leaf: leaf / (settings.naive_steps + 1), shaping)
        partial = partial_gradient(problem, own, other) if p_naive < 1 else None
        return mix(p_naive, shaping, partial)

    return lambda pair, key: of_both(one, both, pair, jax.random.split(key))


def of_both(function: Callable[..., Any], problem: ce.IteratedShapingProblem, pair: BinaryMemoryOne, *more: Any) -> Any:
    """Apply `function` to both agents of a pair, leaves `[2, …]`.

    It is called with an agent's own shaping problem, its policy, the other agent's policy, and its part of `more`.
    """
    payoffs = jnp.stack([problem.payoffs, problem.mirrored().payoffs])
    exchanged = jax.tree.map(lambda leaf: leaf[::-1], pair)

    def one(payoffs: Array, own: BinaryMemoryOne, other: BinaryMemoryOne, *more: Any) -> Any:
        return function(eqx.tree_at(lambda problem: problem.payoffs, problem, payoffs), own, other, *more)

    return jax.vmap(one)(payoffs, pair, exchanged, *more)


def mix(share: float, one: BinaryMemoryOne | None, other: BinaryMemoryOne | None) -> Any:
    """Share · one + (1 − share) · other. A term without a share may be `None`."""
    if other is None:
        return one
    if one is None:
        return other
    return jax.tree.map(lambda a, b: share * a + (1 - share) * b, one, other)


def train(
    gradient: Gradient, agents: BinaryMemoryOne, keys: Key[Array, " seeds"], settings: Settings, progress: Progress
) -> BinaryMemoryOne:
    """Ascend with AdamW, all seeds at once.

    **Arguments:**

    - `gradient`: the gradient to climb.
    - `agents`: stacked initial agents, leaves `[seeds, …]`.
    - `keys`: one key for each seed.
    - `settings`: iterations, optimiser and distance of records.
    - `progress`: told of finished iterations.

    **Returns** the agents at iterations 0, every, 2·every, …: leaves `[seeds, records, …]`.
    """
    optimiser = optax.adamw(settings.rate)
    parameters: Any = agents
    state = jax.vmap(optimiser.init)(parameters)

    def iterate(carry: Any, key: Key[Array, ""]) -> tuple[Any, None]:
        agents, state = carry
        descent = jax.tree.map(jnp.negative, gradient(agents, key))
        updates, state = optimiser.update(descent, state, agents)
        return (optax.apply_updates(agents, updates), state), None

    @jax.jit
    def some(agents: BinaryMemoryOne, state: Any, keys: Key[Array, " seeds"], start: Array) -> tuple[Any, Any]:
        def one(agents: BinaryMemoryOne, state: Any, key: Key[Array, ""]) -> tuple[Any, Any]:
            numbered = jax.vmap(lambda i: jax.random.fold_in(key, start + i))(jnp.arange(settings.every))
            return jax.lax.scan(iterate, (agents, state), numbered)[0]

        return jax.vmap(one)(agents, state, keys)

    def with_records(leaf: Array) -> np.ndarray:
        records = np.full((len(leaf), settings.iterations // settings.every + 1, *leaf.shape[1:]), np.nan, leaf.dtype)
        records[:, 0] = leaf
        return records

    checkpoint = progress.checkpoint()
    done, (agents, state, path) = checkpoint.load((agents, state, jax.tree.map(with_records, agents)))
    progress.begin(done)
    for start in range(done, settings.iterations, settings.every):
        agents, state = some(agents, state, keys, jnp.asarray(start))
        done = start + settings.every
        for records, leaf in zip(jax.tree.leaves(path), jax.tree.leaves(agents), strict=True):
            records[:, done // settings.every] = leaf
        checkpoint.save(done, (agents, state, path), always=done == settings.iterations)
        progress(settings.every)
    return jax.tree.map(jnp.asarray, path)
