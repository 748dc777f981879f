"""Benchmarks of enumeration, of sampled estimators and of closed-form shaping gradients."""

import sys
from collections.abc import Iterator
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from coala_eqx.benchmarks.shaping import LEARNERS as LEARNERS_MET
from coala_eqx.benchmarks.shaping import SEEDS, compare_shaping_gradients
from coala_eqx.benchmarks.timing import shortest_seconds
from coala_eqx.estimators import CoalaPG
from coala_eqx.exact import count_outcomes, expectation, gradient, moments
from coala_eqx.games import iterated_prisoners_dilemma
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, ShapingProblem
from coala_eqx.verification.loading import DEFAULT_ESTIMATORS
from coala_eqx.verification.problems import LEARNERS, NamedProblem, make_problem

_SIZES = ((2, 2, 1), (3, 2, 1), (5, 2, 1), (2, 2, 2), (6, 2, 1), (3, 2, 2))
"""(B, M, T), by growing number of outcomes: 136 to 2,829,056."""


def print_enumeration(console: Console) -> None:
    """Run these benchmarks and print a table for each. This takes a few minutes on two cores."""
    console.print(
        "A. Exact gradient and moments of CoalaPG, prisoner's dilemma, memory-one ego, by number of outcomes",
        soft_wrap=True,
    )
    table = Table(
        "B", "M", "T", "outcomes", "gradient", "moments", "µs per outcome", "peak memory", box=box.SIMPLE_HEAD
    )
    for row in _growth():
        table.add_row(*row)
    console.print(table)
    console.print("B. Unordered against ordered batches: the same expectation, B, M, T = 5, 2, 1")
    console.print(_exchangeability(), soft_wrap=True)
    console.print(
        "\nC. One sampled gradient, 1024 at a time, GRU ego, B, M, T = 4, 3, 4: time relative to CoalaPG",
        soft_wrap=True,
    )
    table = Table("estimator", "relative time", box=box.SIMPLE_HEAD)
    for row in _estimators():
        table.add_row(*row)
    console.print(table)
    console.print("(LolaExact does not depend on the sample, and is computed once for all 1024.)")
    console.print(
        f"\nD. Shaping gradient in closed form, {SEEDS} seeds × {LEARNERS_MET} learners × 20 steps: relative time",
        soft_wrap=True,
    )
    table = Table("how", "relative time", box=box.SIMPLE_HEAD)
    for row in compare_shaping_gradients():
        table.add_row(*row)
    console.print(table)


def _dilemma(policy: str, batch: int, episodes: int, steps: int) -> NamedProblem:
    return make_problem(
        iterated_prisoners_dilemma(),
        LEARNERS["sgd"](),
        policy=policy,
        batch=batch,
        episodes=episodes,
        steps=steps,
        seed=0,
        game_name="prisoner's dilemma",
        learner_name="sgd",
    )


def _growth() -> Iterator[tuple[str, ...]]:
    for sizes in _SIZES:
        named = _dilemma("memory-one", *sizes)
        count = count_outcomes(named.problem)
        for_gradient = shortest_seconds(lambda n=named: gradient(n.problem, n.policy), repeats=1)
        for_moments = shortest_seconds(lambda n=named: moments(CoalaPG(), n.problem, n.policy), repeats=1)
        each = 1e6 * (for_gradient + for_moments) / count
        timings = f"{for_gradient:.2f} s", f"{for_moments:.2f} s", f"{each:.2f}"
        yield (*map(str, sizes), f"{count:,}", *timings, _peak_memory())


def _exchangeability() -> str:
    named = _dilemma("full-history", 5, 2, 1)

    def total(_: ShapingProblem, __: AbstractPolicy, episode: MetaEpisode) -> Any:
        return episode.shaping_return

    seconds = {
        exchangeable: shortest_seconds(
            lambda e=exchangeable: expectation(total, named.problem, named.policy, exchangeable=e), repeats=3
        )
        for exchangeable in (True, False)
    }
    counts = [count_outcomes(named.problem, exchangeable=e) for e in (True, False)]
    return (
        f"{counts[0]:,} unordered against {counts[1]:,} ordered outcomes (ratio {counts[1] / counts[0]:.1f}): "
        f"time ratio {seconds[False] / seconds[True]:.1f}"
    )


def _estimators() -> Iterator[tuple[str, str]]:
    named = _dilemma("gru", 4, 3, 4)
    keys = jax.random.split(jax.random.key(0), 1024)
    reference = None
    for cls in DEFAULT_ESTIMATORS:
        estimator = cls()
        sample = jax.jit(jax.vmap(lambda key, e=estimator: e(named.problem, named.policy, key)[0]))
        seconds = shortest_seconds(lambda f=sample: f(keys), repeats=5)
        reference = reference or seconds
        yield cls.__name__, f"{seconds / reference:.2f}"


def _peak_memory() -> str:
    """Largest memory that this process has held on the host so far, in GB."""
    try:
        import resource  # noqa: PLC0415 (Windows has none)
    except ImportError:
        return "not known"
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.2f} GB"
