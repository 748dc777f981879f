"""Speed of training: steps per second, the update compared with bare matrix products, and growth with B, M and T."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float
from rich import box
from rich.console import Console
from rich.table import Table

from coala_eqx.benchmarks.games import random_pace
from coala_eqx.benchmarks.timing import shortest_seconds
from coala_eqx.estimators import CoalaPG
from coala_eqx.games import iterated_prisoners_dilemma
from coala_eqx.learners import PolicyGradient
from coala_eqx.policies import AbstractPolicy, Hawk
from coala_eqx.policies.hawk_block import BlockDiagonal
from coala_eqx.training import PPO, Agent, Batch, Layout, NaiveLearners, Pool, PoolState

_WIDTH = 32
_SHORT = {"batch": 8, "episodes": 5, "steps": 10}
_LONG = {"batch": 16, "episodes": 20, "steps": 10}
"""Sizes of the paper's iterated prisoner's dilemma. The short ones keep large meta-batches affordable."""


def print_training(console: Console) -> None:
    """Run these benchmarks and print a table for each. This takes some minutes on two cores."""
    sizes = ", ".join(f"{name} {size}" for name, size in _SHORT.items())
    console.print(f"E. Steps of the game per second, float32, Hawk of width {_WIDTH}; {sizes}", soft_wrap=True)
    _print(console, ("meta-batch", "random actions", "training", "relative"), _paces())
    console.print(
        "F. The update of the paper's iterated dilemma (4 epochs), meta-batch 16, beside bare products of its "
        "matrices, and beside an update without them, which is element-wise only",
        soft_wrap=True,
    )
    columns = ("gradients of", "update", "products", "all but products", "GFLOP/s of products", "share of products")
    _print(console, columns, _shares())
    console.print(
        "G. One iteration, meta-batch 4, by its lengths and the activations that are kept: time and memory of each "
        "step, relative",
        soft_wrap=True,
    )
    _print(console, ("batch", "episodes", "steps", "keeps", "time", "working memory"), _growth())


def _print(console: Console, columns: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> None:
    table = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def make_pool(
    meta_batch: int, batch: int, episodes: int, steps: int, *, devices: int = 1, rematerialise: int | None = None
) -> tuple[Pool, Layout]:
    """A pool of one COALA-PG agent against learners, as in Figure 5A, and its layout on `devices` devices."""
    clipped = optax.clip_by_global_norm(1.0)
    update = PPO(optimiser=optax.chain(clipped, optax.adam(3e-4, eps=1e-5)), reward_scale=0.05)
    make = lambda key: Hawk(5, 2, width=_WIDTH, rematerialise=rematerialise, key=key)  # noqa: E731
    learner = PolicyGradient(
        optimiser=optax.chain(clipped, optax.adam(5e-3, eps=1e-5)),
        discount=0.99,
        baseline="critic",
        normalise_advantages=True,
        reward_scale=0.05,
    )
    pool = Pool(
        game=iterated_prisoners_dilemma(),
        agents=(Agent(CoalaPG(), update, make),),
        naive=NaiveLearners(learner, make),
        batch=batch,
        episodes=episodes,
        steps=steps,
        meta_batch=meta_batch,
    )
    layout = Layout(devices=devices).fitting_caches(
        1, update.minibatch(meta_batch * batch), batch, episodes * steps * _WIDTH
    )
    return pool, layout


def make_state(pool: Pool) -> PoolState:
    """The pool's initial state."""
    return eqx.filter_jit(pool.init)(jax.random.key(0))


def _paces() -> Iterator[tuple[str, ...]]:
    first = None
    for meta_batch in (16, 128, 1024):
        pool, layout = make_pool(meta_batch, **_SHORT)
        state = make_state(pool)
        iterate = eqx.filter_jit(lambda state, pool=pool, layout=layout: pool.iterate(state, layout))
        seconds = shortest_seconds(lambda i=iterate, s=state: eqx.filter(i(s), eqx.is_array), repeats=2)
        steps = meta_batch * _SHORT["batch"] * _SHORT["episodes"] * _SHORT["steps"]
        pace = steps / seconds
        first = first or pace
        alone = random_pace(pool.game, meta_batch * pool.batch)
        yield str(meta_batch), f"{alone:.2g}", f"{pace:.2g}", f"{pace / first:.2f}"


def _shares() -> Iterator[tuple[str, ...]]:
    pool, layout = make_pool(16, **_LONG)
    update = pool.agents[0].algorithm
    assert isinstance(update, PPO)
    agent = pool.agent(make_state(pool), 0)
    trajectories = pool.meta_batch * pool.batch
    shape = trajectories, pool.episodes, pool.steps
    ones = jnp.ones(shape)
    weights = matrices(agent)
    for chunk in dict.fromkeys((layout.chunk, None)):
        batch = Batch(jnp.ones(shape, int), jnp.ones(shape, int), -ones, ones, ones, ones, chunk)
        taken, left = (_update_seconds(update, one, batch) for one in (agent, without_products(agent)))
        rows = (chunk or trajectories // update.minibatches) * pool.episodes * pool.steps
        repeats = update.epochs * trajectories * pool.episodes * pool.steps // rows
        seconds = sum(_product_seconds(weight, rows) for weight in weights) * repeats
        operations = sum(6 * weight.size for weight in weights) * rows * repeats
        what = f"{rows // (pool.episodes * pool.steps)} trajectories"
        times = (f"{value:.2f} s" for value in (taken, seconds, left))
        yield what, *times, f"{operations / seconds / 1e9:.0f}", f"{seconds / taken:.2f}"


def _update_seconds(update: PPO, agent: AbstractPolicy, batch: Batch) -> float:
    state = update.init(agent)
    compiled = eqx.filter_jit(lambda batch, key: eqx.filter(update.update(agent, state, batch, key), eqx.is_array))
    return shortest_seconds(lambda: compiled(batch, jax.random.key(1)), repeats=3)


class _Copies(eqx.Module):
    """Stand-in for a matrix: each output is a scaled input."""

    scale: Float[Array, " outputs"]

    @property
    def T(self) -> "_Copies":  # noqa: N802 (as arrays have it)
        return self

    @property
    def dtype(self) -> Any:
        return self.scale.dtype

    def __rmatmul__(self, features: Float[Array, "*steps inputs"]) -> Float[Array, "*steps outputs"]:
        times = -(-self.scale.size // features.shape[-1])
        return self.scale * jnp.concatenate([features] * times, axis=-1)[..., : self.scale.size]


class _CopyingLayer(eqx.Module):
    """Stand-in for a block-diagonal layer."""

    weight: _Copies
    bias: Float[Array, " outputs"]

    def __call__(self, features: Float[Array, "*steps inputs"]) -> Float[Array, "*steps outputs"]:
        return features @ self.weight + self.bias


def without_products(policy: AbstractPolicy) -> AbstractPolicy:
    """The policy with a scaling in place of each product of `matrices`. Everything elementwise stays."""

    def replaced(node: Any) -> Any:
        if isinstance(node, eqx.nn.Linear):
            return eqx.tree_at(lambda layer: layer.weight, node, _Copies(node.weight[:, 0]))
        if isinstance(node, BlockDiagonal):
            return _CopyingLayer(_Copies(node.weight[..., 0].reshape(-1)), node.bias.reshape(-1))
        return node

    return jax.tree.map(replaced, policy, is_leaf=lambda node: isinstance(node, eqx.nn.Linear | BlockDiagonal))


def matrices(policy: AbstractPolicy) -> list[Float[Array, "outputs inputs"]]:
    """Weight matrices of all products in one step of the policy. Block-diagonal ones include their zeros, as they are
    computed.
    """
    kinds = eqx.nn.Linear, BlockDiagonal
    layers = jax.tree.leaves(policy, is_leaf=lambda node: isinstance(node, kinds))
    return [
        layer.weight if isinstance(layer, eqx.nn.Linear) else jax.scipy.linalg.block_diag(*layer.weight).T
        for layer in layers
        if isinstance(layer, kinds)
    ]


def _product_seconds(weight: Array, rows: int) -> float:
    """Seconds of a linear layer's three products: outputs, gradients of inputs, and gradients of weights."""
    out, into = weight.shape
    inputs, gradients, times = jnp.ones((rows, into)), jnp.ones((rows, out)), 20

    def once(carry: Array, _: None) -> tuple[Array, None]:
        outputs = inputs @ (weight + carry).T
        back = gradients @ (weight + carry)
        return carry + 1e-9 * (outputs[0, 0] + back[0, 0]) + 1e-9 * (gradients.T @ (inputs + carry[0, 0])), None

    compiled = jax.jit(lambda: jax.lax.scan(once, jnp.zeros_like(weight), length=times)[0])
    return shortest_seconds(compiled, repeats=3) / times


def _growth() -> Iterator[tuple[str, ...]]:
    first = None
    lengths = ((8, 5, 10), (8, 10, 10), (8, 20, 10), (8, 20, 20), (16, 5, 10), (32, 5, 10))
    for (batch, episodes, steps), kept in (*((each, None) for each in lengths), ((8, 5, 10), 10), ((8, 20, 10), 10)):
        pool, layout = make_pool(4, batch, episodes, steps, rematerialise=kept)
        arrays, static = eqx.partition(make_state(pool), eqx.is_array)

        def iterate(arrays: Any, pool: Pool = pool, layout: Layout = layout, static: Any = static) -> Any:
            return eqx.filter(pool.iterate(eqx.combine(arrays, static), layout), eqx.is_array)

        compiled = jax.jit(iterate).lower(arrays).compile()
        memory = compiled.memory_analysis()
        each = batch * episodes * steps
        seconds = shortest_seconds(lambda c=compiled, a=arrays: c(a), repeats=3) / each
        held = (memory.temp_size_in_bytes if memory else float("nan")) / each
        first = first or (seconds, held)
        keeps = "all" if kept is None else f"{kept} steps"
        yield str(batch), str(episodes), str(steps), keeps, f"{seconds / first[0]:.2f}", f"{held / first[1]:.2f}"
