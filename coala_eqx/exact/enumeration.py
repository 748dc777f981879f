"""Sums over every outcome of a whole shaping problem."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from coala_eqx.arrays import concrete, in_words
from coala_eqx.estimators import AbstractEstimator
from coala_eqx.exact.batches import Chunk, count_batches, enumerate_batches, log_count_batches
from coala_eqx.exact.chunks import Run, meet_chunk, replay_chunk, sum_chunk, values_of
from coala_eqx.exact.draws import Draws, count_draws, draws_of_update, log_count_draws
from coala_eqx.exact.exchangeability import STRICT, TOLERANCE, Leaves, OrderMatters, largest_deviations
from coala_eqx.exact.outcomes import InnerOutcomes, count_inner_outcomes, list_inner_outcomes
from coala_eqx.exact.rounding import Sum
from coala_eqx.games import AbstractEnumerableGame, Box, TabularGame
from coala_eqx.interpreter.compiled import QUICK_BELOW
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import AbstractProbe, Population, ShapingProblem
from coala_eqx.shaping.learning import Policies

LIMIT = 20_000_000
"""The largest number of outcomes that is enumerated, unless another limit is given."""

Progress = Callable[[int, int], None]
"""A function that is called with (outcomes done, outcomes in all) now and then."""

_TOTAL_TOLERANCE = 1e-9
"""The rounding of the sum is below 1e-12: probabilities are products of some dozens of rounded factors."""

_MOST_DIGITS = 300
"""Longer numbers are not computed exactly: binomials of astronomical numbers take for ever."""

_CHUNK_BYTES = 32 * 2**20
"""The size of a chunk. As measured, larger ones spend their time on fresh memory pages, smaller ones on dispatch."""


def count_outcomes(problem: ShapingProblem, *, exchangeable: bool = True) -> int:
    """The number of outcomes that exact functions enumerate for this problem.

    **Arguments:**

    - `exchangeable`: whether unordered batches are counted, where the learners allow it, or ordered ones.

    **Returns** the exact number; a power of two near it where it has more than 300 digits.

    **Raises** `ValueError` if the problem cannot be enumerated.
    """
    inner = count_inner_outcomes(_table(problem), problem.steps)
    exchangeable = exchangeable and learners_exchangeable(problem)
    log_count = log_count_batches(inner, problem.batch, problem.episodes, exchangeable=exchangeable)
    log_count += log_count_draws(problem)
    if log_count > _MOST_DIGITS * math.log(10):
        return 1 << round(log_count / math.log(2))
    batches = count_batches(inner**problem.episodes, problem.batch, exchangeable=exchangeable)
    return batches * count_draws(problem) * len(list_meetings(problem))


def learners_exchangeable(problem: ShapingProblem) -> bool:
    """Whether all learners declare that the order of the trajectories does not matter to them, and none draws.

    A draw may name trajectories by their numbers, as minibatches do. Such a learner ignores the order on average over
    its draws at most, which no comparison of single outcomes could check.
    """
    return all(learner.exchangeable and not learner.uses_key for learner in problem.learners)


class Enumeration:
    """Every outcome of `problem`: co-players, actions of all players, draws of the game and of the learners.

    **Arguments:**

    - `problem`, `policy`: the problem, and the ego agent's policy, which must fit it.
    - `exchangeable`: whether the summed function ignores the order of the trajectories.
    - `limit`: the largest number of outcomes that is enumerated.
    - `chunk`: number of outcomes at a time; from the sizes of the problem and the policy unless given.
    - `probe`: shows the features that are noted in each meta-episode.

    **Raises** `ValueError` if the game cannot be tabulated, a co-player is a function of a key, a learner uses a key
    and declares no finite set of draws, the policy does not fit, or there are too many outcomes.
    """

    def __init__(
        self,
        problem: ShapingProblem,
        policy: AbstractPolicy,
        *,
        exchangeable: bool,
        limit: int,
        chunk: int | None = None,
        progress: Progress | None = None,
        probe: AbstractProbe | None = None,
    ):
        problem.check_policy(policy)
        if probe is not None:
            problem.check_probe(probe)
            # Groups are made in order, so that the order of a batch matters to them.
            exchangeable = exchangeable and probe.groups_of(problem.batch) in (1, problem.batch)
        self.problem = problem
        self.policy = policy
        self.probe = probe
        self.meetings = list_meetings(problem)
        self.exchangeable = exchangeable and learners_exchangeable(problem)
        self.count = count_outcomes(problem, exchangeable=exchangeable)
        if self.count > limit:
            raise ValueError(_too_many(problem, self.count, limit, exchangeable))
        self.outcomes = list_outcomes(problem, limit)
        self.draws = Draws(problem)
        self.trajectories = len(self.outcomes.chance) ** problem.episodes
        self.chunk = chunk or self._chunk_size()
        self.quick = self.count < QUICK_BELOW
        self.progress = progress

    def __iter__(self) -> Iterator[tuple[Float[Array, ""], Policies, Chunk]]:
        """Yields the probability of meeting these co-players, the co-players, and some batches."""
        done, each = 0, self.count // len(self.meetings)
        for probability, co_players in self.meetings:
            batches = enumerate_batches(
                self.trajectories,
                self.problem.batch,
                exchangeable=self.exchangeable,
                chunk=self.chunk,
                draws=self.draws,
            )
            for number, chunk in enumerate(batches):
                yield probability, co_players, chunk
                if self.progress is not None:
                    self.progress(done + min((number + 1) * self.chunk, each), self.count)
            done += each

    def expectation(self, function: Callable[..., Any], run: Run = sum_chunk) -> Any:
        """Add up `run(function, problem, policy, co_players, outcomes, chunk)` over all chunks.

        **Raises** `ValueError` unless the probabilities add up to one, and if `function` or a learner
        turns out to depend on the order of the trajectories although it is declared not to.
        """
        if self.exchangeable and self.problem.batch > 1 and self.concrete:
            self.check_learners()
            if run is sum_chunk:
                self._check_function(function)
        sums, on_host = None, Sum()
        for probability, co_players, chunk in self:
            part = run(function, self.problem, self.policy, co_players, self.outcomes, chunk, quick=self.quick)
            weighed = jax.tree.map(lambda leaf, p=probability: p * leaf, part)
            if all(map(concrete, jax.tree.leaves(weighed))):
                on_host.add(weighed)
            else:
                sums = weighed if sums is None else jax.tree.map(jnp.add, sums, weighed)
        total, value = sums if sums is not None else jax.tree.map(jnp.asarray, on_host.value)
        check_total(total)
        return value

    @functools.cached_property
    def concrete(self) -> bool:
        """Whether no array of the problem or the policy is traced."""
        return all(map(concrete, jax.tree.leaves((self.problem, self.policy))))

    def check_learners(self) -> None:
        """**Raises** `OrderMatters` if a learner depends on the order of its batch, against any co-players."""
        for _, co_players in self.meetings:

            def likelihoods(chunk: Chunk, co_players: Policies = co_players) -> Sequence[Leaves]:
                made = meet_chunk(self.problem, co_players, self.outcomes, chunk, quick=self.quick)
                return [likelihood_leaves(np.asarray(made[0]))]

            self.check_order(likelihoods, [self.names_of_learners], STRICT)

    @property
    def names_of_learners(self) -> str:
        """The learners' class names, for messages."""
        return " or ".join(dict.fromkeys(type(learner).__name__ for learner in self.problem.learners))

    def _check_function(self, function: Callable[..., Any]) -> None:
        for _, co_players in self.meetings:

            def values(chunk: Chunk, co_players: Policies = co_players) -> Sequence[Leaves]:
                weights, episodes = replay_chunk(
                    self.problem, self.policy, co_players, self.outcomes, chunk, quick=self.quick
                )
                made = values_of(function, self.problem, self.policy, co_players, episodes, quick=self.quick)
                return [[*map(np.asarray, jax.tree.leaves(made)), np.asarray(weights) > 0]]

            self.check_order(values, [getattr(function, "__name__", type(function).__name__)], STRICT)

    def check_order(
        self, values: Callable[[Chunk], Iterable[Leaves]], names: Sequence[str], tolerance: float = TOLERANCE
    ) -> list[float]:
        """**Returns** how much results depend on the order of batches (`largest_deviations`); raises `OrderMatters`.

        `names`: the owner of each result, for messages.
        """
        deviations = largest_deviations(values, self.trajectories, self.problem.batch, self.chunk)
        for name, deviation in zip(names, deviations, strict=True):
            if not deviation <= tolerance:
                raise OrderMatters(
                    f"{name} is declared exchangeable, but the result changes with the order of the trajectories of "
                    f"the batch; set `exchangeable` to False, and all ordered batches are enumerated."
                )
        return deviations

    def _chunk_size(self) -> int:
        """The power of two that keeps the arrays of one chunk near `_CHUNK_BYTES`, and no larger than needed."""
        problem = self.problem
        parameters = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self.policy, eqx.is_inexact_array)))
        others = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self.meetings[0][1], eqx.is_inexact_array)))
        steps = problem.batch * problem.episodes * problem.steps * problem.game.num_players
        floats = parameters // 2 + 4 * others + 16 * steps
        fits = max(1, _CHUNK_BYTES // (8 * floats))
        needed = self.count // len(self.meetings)
        return 1 << min(fits.bit_length() - 1, (needed - 1).bit_length())


def shared_probe(estimators: Sequence[AbstractEstimator]) -> AbstractProbe | None:
    """The probe whose features some estimators need. **Raises** `ValueError` if they need different ones."""
    probes = [one.probe for one in estimators if one.probe is not None]
    if any(not eqx.tree_equal(probes[0], other) for other in probes[1:]):
        raise ValueError("Estimators that are enumerated together must have critics with the same probe.")
    return probes[0] if probes else None


def likelihood_leaves(log_probs: Float[np.ndarray, " chunk"]) -> Leaves:
    """Leaves from the co-players' log-probabilities; their relative differences say how much learners differ."""
    known = np.isfinite(log_probs)  # if some are NaN, so is the sum of all probabilities
    return np.where(known, log_probs - 1.0, 0.0), known


def _table(problem: ShapingProblem) -> TabularGame:
    actions = problem.game.action_spaces[0]
    if isinstance(actions, Box):
        raise ValueError(
            f"{type(problem.game).__name__} cannot be enumerated: its actions are continuous, {actions}. The "
            f"certificate for all games, ce.verification.certify_structure(estimator), needs no enumeration. To check "
            f"one problem, compare the mean of many sampled estimates with its standard error."
        )
    if not isinstance(problem.game, AbstractEnumerableGame):
        raise ValueError(
            f"{type(problem.game).__name__} cannot be enumerated: it is no AbstractEnumerableGame. Use a small version "
            f"of it that can be written as a TabularGame."
        )
    return problem.game.table()


def list_outcomes(problem: ShapingProblem, limit: int) -> InnerOutcomes:
    """The outcomes of one inner episode; raises `ValueError` if there are more than `limit`."""
    table = _table(problem)
    count = count_inner_outcomes(table, problem.steps)
    if count > limit:
        raise ValueError(
            f"One inner episode of {problem.steps} steps has {in_words(count)} outcomes, more than the limit of "
            f"{limit:,}; lower `steps`, or raise the limit."
        )
    return list_inner_outcomes(table, problem.steps)


def list_meetings(problem: ShapingProblem) -> list[tuple[Any, Policies]]:
    """Every combination of co-players that the ego agent can meet, with its probability."""
    choices = []
    for index, co_player in enumerate(problem.co_players):
        if isinstance(co_player, Population):
            probabilities = co_player.probabilities / co_player.probabilities.sum()
            choices.append(list(zip(probabilities, co_player.policies, strict=True)))
        elif isinstance(co_player, AbstractPolicy):
            choices.append([(1.0, co_player)])
        else:
            raise ValueError(
                f"co_players[{index}] is a function of a key, which can be sampled but not enumerated; give a policy, "
                f"or a Population of finitely many."
            )
    meetings = []
    for combination in itertools.product(*choices):
        probability = 1.0
        for factor, _ in combination:
            probability = probability * factor
        meetings.append((probability, tuple(policy for _, policy in combination)))
    return meetings


def _too_many(problem: ShapingProblem, count: int, limit: int, exchangeable: bool) -> str:
    message = (
        f"The problem has {in_words(count)} outcomes to enumerate (batch {problem.batch}, episodes {problem.episodes}, "
        f"steps {problem.steps}), more than the limit of {limit:,}; lower one of these, or raise the limit."
    )
    drawing = {type(one).__name__: draws_of_update(one, problem.batch) for one in problem.learners if one.uses_key}
    for name, draws in drawing.items():
        message += (
            f" {name} has {in_words(draws)} draws in each of {problem.episodes - 1} updates, which multiply them: "
            f"settings with fewer draws help, too."
        )
    sizes = {name: getattr(problem, name) for name in ("batch", "episodes", "steps")}
    changes = [
        found
        for name, size in sizes.items()
        if (found := _largest_that_fits(problem, lambda value, n=name: {n: value}, size, limit, exchangeable))
    ]
    if not changes:  # one of them is not enough

        def all_up_to(value: int) -> dict[str, int]:
            return {name: min(size, value) for name, size in sizes.items()}

        changes = filter(None, [_largest_that_fits(problem, all_up_to, max(sizes.values()), limit, exchangeable)])
    for change, fewer in changes:
        message += f" With {', '.join(f'{name}={value}' for name, value in change.items())} there are {fewer:,}."
    return message


def _largest_that_fits(
    problem: ShapingProblem, change: Callable[[int], dict[str, int]], size: int, limit: int, exchangeable: bool
) -> tuple[dict[str, int], int] | None:
    """The largest change of sizes, by a number below `size`, that is within the limit, and its number of outcomes."""

    def count(value: int) -> int:
        try:
            return count_outcomes(dataclasses.replace(problem, **change(value)), exchangeable=exchangeable)
        except ValueError:  # a learner cannot divide a batch of this size
            return limit + 1

    least, most = 0, size
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if count(middle) <= limit else (least, middle)
    return (change(least), count(least)) if least else None


def check_total(total: Any) -> None:
    """**Raises** `ValueError` unless all probabilities add up to one; skipped where the sum is traced."""
    if concrete(total) and not abs(float(total) - 1) < _TOTAL_TOLERANCE:
        raise ValueError(
            f"The probabilities of all outcomes add up to {float(total)!r} instead of 1: a policy's logits are NaN or "
            f"infinite for some history, a learner makes them so (by a learning rate that is NaN or too large, say), "
            f"or a row of the game's tables does not sum to one to rounding."
        )
