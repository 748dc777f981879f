"""One pass over all outcomes of a problem for moments of estimators, gradients of objectives, and returns."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from coala_eqx.estimators import AbstractEstimator
from coala_eqx.estimators.base import trains_by_coefficients
from coala_eqx.exact.batches import Chunk
from coala_eqx.exact.ego import EgoTrajectories
from coala_eqx.exact.enumeration import Enumeration, check_total, likelihood_leaves
from coala_eqx.exact.exchangeability import Leaves
from coala_eqx.exact.general import General, check_finite
from coala_eqx.exact.objectives import as_episode_return
from coala_eqx.exact.rounding import EPS, Sum, norm, operations
from coala_eqx.exact.scored import Scored
from coala_eqx.exact.seen import Estimated, Exact, Seen, earned, see
from coala_eqx.interpreter.compiled import evaluating
from coala_eqx.shaping.learning import Policies


@dataclasses.dataclass(frozen=True)
class Returns:
    """Moments of the players' returns in each inner episode, means over the batch: `[players, episodes]`."""

    mean: np.ndarray
    square: np.ndarray


@dataclasses.dataclass(frozen=True)
class Survey:
    """The results of one pass over all outcomes."""

    estimated: tuple[Estimated, ...]
    """Moments, one entry for each estimator."""

    gradients: dict[str, Exact]
    """∇J of each objective."""

    returns: Returns

    order: tuple[bool, ...]
    """Whether each estimator is a score function."""

    space: Enumeration
    ego: EgoTrajectories
    scored: Scored | None
    """The score-function estimators, in order."""

    general: tuple[General, ...]
    """The others, in order."""


def survey(space: Enumeration, estimators: Sequence[AbstractEstimator], objectives: Sequence[str] = ()) -> Survey:
    """Exact moments of estimators, and exact gradients of objectives, from one enumeration.

    An objective's gradient is the derivative of the enumerated sum Σ p·J, as p depends on the policy: one reverse pass
    through all trajectories' log-probabilities, in which no estimator is involved. All share the same probabilities,
    so that the rounding of learners is no error.

    **Arguments:**

    - `space`: the outcomes. If it is exchangeable, all estimators must declare themselves to be.
    - `objectives`: names of objectives that a meta-episode shows: `"shaping_return"`, `"last_episode_return"`.

    **Raises** `ValueError` unless probabilities add up to one, and for estimators that break their contract: a result
    unlike the policy, NaN, or one that depends on the order of the trajectories although it is declared not to.
    """
    with evaluating():
        return _Pass(space, tuple(estimators), tuple(objectives)).run()


class _Pass:
    def __init__(self, space: Enumeration, estimators: tuple[AbstractEstimator, ...], objectives: tuple[str, ...]):
        self.space = space
        self.estimators = estimators
        self.ego = EgoTrajectories(space.policy, space.outcomes, space.problem.episodes)
        scored = [one for one in estimators if trains_by_coefficients(one)]
        self.scored = Scored(scored, self.ego, space.quick) if scored else None
        self.general = [General(one, space) for one in estimators if not trains_by_coefficients(one)]
        self.deviation = 0.0
        """Change of the co-players' log-probabilities with the order of a batch, relative to 1 − log p."""

        self.truth = [_Truth(name, space, self.ego) for name in objectives]

    def run(self) -> Survey:
        space = self.space
        if space.exchangeable and space.problem.batch > 1:
            self._check_order()
        sums, least_log_prob = Sum(), 0.0
        for probability, co_players, chunk in space:
            seen = see(space, self.ego, co_players, chunk)
            weights = float(probability) * seen.weights
            least_log_prob = min(least_log_prob, seen.least_log_prob)
            sums.add((weights.sum(), _returns(weights, earned(seen.episodes))))
            if self.scored is not None:
                self.scored.add(seen, weights)
            for one in self.general:
                one.add(seen, co_players, weights)
            for one in self.truth:
                one.add(seen, weights)
        total, (mean, square) = sums.value
        check_total(total)
        problem = space.problem
        actions = problem.batch * problem.episodes * problem.steps
        factor = EPS * operations(problem.game.num_players, actions, space.chunk * problem.batch, -least_log_prob)
        factor += self.deviation * (1 - least_log_prob)  # the error of taking one order for all
        gradients = {one.name: one.result(factor) for one in self.truth}
        returns = Returns(mean, square)
        order = tuple(map(trains_by_coefficients, self.estimators))
        collectors = self.scored, tuple(self.general)
        return Survey(self._estimated(factor), gradients, returns, order, space, self.ego, *collectors)

    def _estimated(self, factor: float) -> tuple[Estimated, ...]:
        scored = iter(self.scored.result(factor) if self.scored is not None else ())
        general = iter(self.general)
        made = []
        for estimator in self.estimators:
            made.append(next(scored) if trains_by_coefficients(estimator) else next(general).result(factor))
            check_finite(estimator, made[-1].mean.vector)
        return tuple(made)

    def _check_order(self) -> None:
        """Measure how much learners and estimators depend on the order of a batch, against all possible co-players.

        **Raises** `OrderMatters` if they do.
        """
        scored = self.scored.estimators if self.scored is not None else ()
        estimators = [*scored, *(one.estimator for one in self.general)]
        names = [self.space.names_of_learners, *(type(one).__name__ for one in estimators)]
        for _, co_players in self.space.meetings:
            learners, *deviations = self.space.check_order(lambda chunk, c=co_players: self._leaves(chunk, c), names)
            self.deviation = max(self.deviation, learners)
            if self.scored is not None:
                self.scored.deviation = max(self.scored.deviation, *deviations[: len(scored)])
            for one, deviation in zip(self.general, deviations[len(scored) :], strict=True):
                one.deviation = max(one.deviation, deviation)

    def _leaves(self, chunk: Chunk, co_players: Policies) -> Iterator[Leaves]:
        """The leaves of the learners, of score functions, and of other estimators, in order."""
        seen = see(self.space, self.ego, co_players, chunk)
        yield likelihood_leaves(seen.co_players_log_probs)
        counts = seen.weights > 0
        if self.scored is not None:
            for leaves in self.scored.leaves(seen):
                yield leaves, counts
        for one in self.general:
            yield *one.leaves(seen, co_players), counts


class _Truth:
    """The gradient ∇J of an objective: the derivative of Σ p·J, as p depends on the ego agent's policy."""

    def __init__(self, name: str, space: Enumeration, ego: EgoTrajectories):
        self.name = name
        self.space = space
        self.ego = ego
        objective = as_episode_return(name, space.problem.episodes)
        assert objective is not None  # as a meta-episode shows it
        self.objective = objective
        # Where there are few trajectories, one reverse pass at the end serves all batches.
        self.gathers = ego.count <= 16 * space.chunk * space.problem.batch
        self._sums = Sum()

    def add(self, seen: Seen, weights: Float[np.ndarray, " chunk"]) -> None:
        batch, trajectories = self.space.problem.batch, seen.trajectories.ravel()
        pulls, sizes = _pulls(weights, np.asarray(seen.episodes.rewards), self.objective.weights)
        pulls, sizes = np.repeat(pulls, batch), np.repeat(sizes, batch)
        if self.gathers:
            count = self.ego.count
            part = [np.bincount(trajectories, weights=one, minlength=count) for one in (pulls, sizes)]
        else:
            norms = np.linalg.norm(self.ego.scores(trajectories), axis=-1).sum(axis=1)
            part = [self.ego.pull_back(trajectories, pulls), sizes @ norms]
        self._sums.add(part)

    def result(self, factor: float) -> Exact:
        vector, size = self._sums.value
        if self.gathers:
            everyone = np.arange(self.ego.count)
            vector, size = self.ego.pull_back(everyone, vector), self._total_norms(everyone) @ size
        return Exact(vector, factor * (float(size) + norm(vector)))

    def _total_norms(self, trajectories: np.ndarray) -> np.ndarray:
        """Σ_l ‖∇log π(a_l | h_l)‖ of each trajectory."""
        if self.ego.in_table:
            return self.ego.norms.sum(axis=1)
        parts = [
            self.ego.scores(trajectories[start : start + self.ego.block])
            for start in range(0, len(trajectories), self.ego.block)
        ]
        return np.concatenate([np.linalg.norm(part, axis=-1).sum(axis=1) for part in parts])


def _pulls(
    weights: Float[np.ndarray, " chunk"],
    rewards: Float[np.ndarray, "chunk batch episodes steps"],
    by_episode: Float[np.ndarray, " episodes"],
) -> tuple[Float[np.ndarray, " chunk"], Float[np.ndarray, " chunk"]]:
    """∂(Σ p·J)/∂(log p of a batch), and the same with the absolute values of the rewards."""
    pulls, sizes = (earned.sum(axis=3).mean(axis=1) @ by_episode for earned in (rewards, np.abs(rewards)))
    return weights * pulls, weights * sizes


def _returns(
    weights: Float[np.ndarray, " chunk"], returns: Float[np.ndarray, "chunk players episodes"]
) -> tuple[Float[np.ndarray, "players episodes"], Float[np.ndarray, "players episodes"]]:
    """Σ p·R and Σ p·R²; the latter may overflow."""
    weights, returns = weights[weights > 0], returns[weights > 0]
    with np.errstate(over="ignore"):
        return np.tensordot(weights, returns, axes=1), np.tensordot(weights, returns**2, axes=1)
