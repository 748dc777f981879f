"""Exact critics that see the learner: E[F | X] of small problems, by enumeration.

X_{m+1}, all that matters after inner episode m, follows from what all players have done until then. So E[F_m | X_{m+1}]
is the mean over all ways to go on. Had trajectory b not been played, the trajectory after it stands in for it in inner
episode m: that has happened, too, in some outcome, and its exact value is in the same table.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from coala_eqx.estimators import AbstractScoreFunctionEstimator, ShapingValues
from coala_eqx.exact.ego import EgoTrajectories, digits
from coala_eqx.exact.enumeration import LIMIT, Enumeration
from coala_eqx.exact.precision import to_float64
from coala_eqx.exact.seen import see
from coala_eqx.interpreter.compiled import evaluating
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import ShapingProblem


class ExactMoments(NamedTuple):
    """Mean and total variance of a gradient estimate."""

    mean: Float[np.ndarray, " parameters"]
    variance: float


class ExactLearnerValues:
    """All outcomes of a small problem with their exact `ShapingValues`.

    **Arguments:**

    - `problem`, `policy`: the problem, with a single possible co-player in each seat, and the ego agent's policy.
    - `limit`: the largest number of outcomes, ordered batches of trajectories.

    **Raises** `ValueError` as `exact.moments` does, and if co-players are drawn or learners draw.
    """

    def __init__(self, problem: ShapingProblem, policy: AbstractPolicy, *, limit: int = LIMIT):
        with jax.enable_x64(True), evaluating():
            problem, policy = to_float64((problem, policy))
            space = Enumeration(problem, policy, exchangeable=False, limit=limit)
            if len(space.meetings) > 1 or space.draws.any:
                raise ValueError(
                    "Exact values of the learner need one policy in each seat, and learners that draw nothing."
                )
            self.ego = EgoTrajectories(policy, space.outcomes, problem.episodes)
            parts = [(chunk, see(space, self.ego, co_players, chunk)) for _, co_players, chunk in space]
            self._scores = self.ego.scores(np.arange(self.ego.count))
            log_probs, self._values = self.ego.log_probs_and_values(np.arange(self.ego.count))
            self._probabilities = np.exp(log_probs)
        kept = [np.asarray(chunk.multiplicities) > 0 for chunk, _ in parts]
        pairs = [*zip(kept, (seen for _, seen in parts), strict=True)]
        self.batch, self.episodes, self.steps = problem.batch, problem.episodes, problem.steps
        self.inner = len(space.outcomes.chance)
        self.trajectories = np.concatenate([seen.trajectories[keep] for keep, seen in pairs])
        self.weights = np.concatenate([seen.weights[keep] for keep, seen in pairs])
        self.rewards = np.concatenate([np.asarray(seen.episodes.rewards)[keep] for keep, seen in pairs])
        self._outcomes = space.outcomes
        numbers = np.asarray(digits(self.trajectories, self.inner, self.episodes))  # [outcomes, batch, episodes]
        self._numbers = numbers
        self._places = self.inner ** np.arange(self.batch)
        self._joint = np.tensordot(numbers, self._places, axes=(1, 0))  # [outcomes, episodes]

    @property
    def _many(self) -> int:
        """Number of joint outcomes of all trajectories in one inner episode."""
        return self.inner**self.batch

    @functools.cached_property
    def _chances(self) -> list[np.ndarray]:
        """P(what happens in inner episode m | what happened before), `[many] · (m + 1)`, for each m. 0 where what
        happened before is impossible.
        """
        together = np.zeros((self._many,) * self.episodes)
        together[tuple(self._joint.T)] = self.weights
        found, whole = [], together
        for _ in range(self.episodes):
            before = whole.sum(axis=-1)
            found.append(np.divide(whole, before[..., None], out=np.zeros_like(whole), where=before[..., None] > 0))
            whole = before
        return found[::-1]

    def _to_come(self, earned: Float[np.ndarray, " many"]) -> list[np.ndarray]:
        """E[Σ_{k>m} earned | everything up to m], `[many] · (m + 1)`, for each m."""
        later = np.zeros((self._many,) * self.episodes)
        found = [later]
        for chance in reversed(self._chances[1:]):
            later = (chance * (earned + later)).sum(axis=-1)
            found.append(later)
        return found[::-1]

    @functools.cached_property
    def _earned(self) -> Float[np.ndarray, "batch many"]:
        """The return of each trajectory in each joint outcome of an inner episode."""
        each = np.asarray(self._outcomes.rewards)[:, :, 0].sum(axis=1)
        return each[self._alone]

    @functools.cached_property
    def _alone(self) -> np.ndarray:
        """The inner outcome of each trajectory in each joint outcome, `[batch, many]`."""
        return np.arange(self._many) // self._places[:, None] % self.inner

    def _replace(self, joint: np.ndarray, trajectory: int, outcome: np.ndarray) -> np.ndarray:
        """The joint outcome with another inner outcome of one trajectory."""
        place = self._places[trajectory]
        return joint + (outcome - joint // place % self.inner) * place

    @functools.cached_property
    def values(self) -> ShapingValues:
        """The exact values of all outcomes, leaves `[outcomes, …]`."""
        later = self._to_come(self._earned.mean(axis=0))
        shape = len(self.weights), self.batch, self.episodes
        before, after = np.zeros((shape[0], self.episodes)), np.zeros((shape[0], self.episodes))
        without, others = np.zeros(shape), np.zeros(shape)
        for m, (chance, table) in enumerate(zip(self._chances, later, strict=True)):
            past = tuple(self._joint[:, :m].T)
            before[:, m] = (chance * table).sum(axis=-1)[past]
            after[:, m] = table[(*past, self._joint[:, m])]
        for b in range(self.batch):
            rest = np.delete(self._earned, b, axis=0)
            theirs = self._to_come(rest.mean(axis=0)) if self.batch > 1 else later
            for m in range(self.episodes):
                past, joint = tuple(self._joint[:, :m].T), self._joint[:, m]
                stand_in = self._replace(joint, b, self._numbers[:, (b + 1) % self.batch, m])
                without[:, b, m] = later[m][(*past, stand_in)] if self.batch > 1 else before[:, m]
                others[:, b, m] = theirs[m][(*past, joint)]
        return ShapingValues(*map(jnp.asarray, (before, after, without, others)))

    def random_values(self, generator: np.random.Generator) -> Float[np.ndarray, "outcomes episodes"]:
        """Random numbers after each inner episode but the last, the same wherever the same has been played."""
        made = np.zeros((len(self.weights), self.episodes))
        for m in range(self.episodes - 1):
            made[:, m] = generator.normal(size=(self._many,) * (m + 1))[tuple(self._joint[:, : m + 1].T)]
        return made

    def estimates(
        self,
        estimator: AbstractScoreFunctionEstimator,
        *,
        shaped: bool | ShapingValues,
        own: np.ndarray | None = None,
    ) -> Float[np.ndarray, "outcomes parameters"]:
        """The estimate of each outcome.

        **Arguments:**

        - `shaped`: whether the estimator is given the exact values, or other ones, leaves `[outcomes, …]`.
        - `own` `[outcomes, batch, episodes, steps]`: values of the own critic. By default those of the policy.
        """
        if own is None:
            own = self._values[self.trajectories].reshape(self.rewards.shape)
        with jax.enable_x64(True):
            given = jnp.asarray(self.rewards), jnp.asarray(own)
            shaping = [shaped] if isinstance(shaped, ShapingValues) else [self.values] if shaped else []
            made = np.asarray(jax.vmap(estimator.checked_coefficients)(*given, *shaping))
        return self.weigh(made)

    def weigh(self, coefficients: np.ndarray) -> Float[np.ndarray, "outcomes parameters"]:
        """Σ C·∇log π of each outcome, from coefficients `[outcomes, batch, episodes, steps]`."""
        flat = coefficients.reshape(len(self.weights), self.batch, -1)
        total = np.zeros((len(self.weights), self.ego.parameters))
        for b in range(self.batch):
            scores = self._scores[self.trajectories[:, b]]
            total += np.einsum("nl,nlp->np", flat[:, b], scores)
        return total

    def moments_of(self, estimates: Float[np.ndarray, "outcomes parameters"]) -> ExactMoments:
        """Mean and variance of estimates, one for each outcome."""
        mean = self.weights @ estimates
        return ExactMoments(mean, float(self.weights @ ((estimates - mean) ** 2).sum(axis=1)))

    @functools.cached_property
    def gradient(self) -> Float[np.ndarray, " parameters"]:
        """∇J̄, by REINFORCE on whole batches, which needs no theorem: E[return · Σ scores]."""
        earned = self.rewards.sum(axis=(2, 3)).mean(axis=1)
        scores = self._scores.sum(axis=1)
        return np.sum([(self.weights * earned) @ scores[self.trajectories[:, b]] for b in range(self.batch)], axis=0)

    def own_values(self, *, whole: bool) -> Float[np.ndarray, "outcomes batch episodes steps"]:
        """An exact own critic: the mean return that is left, given the own history.

        **Arguments:**

        - `whole`: of the whole trajectory, as the paper's critic (Eq. 10). Otherwise of the inner episode, given also
          X_m, everything that was played in earlier ones.
        """
        flat = self.rewards.reshape(len(self.weights), self.batch, -1)
        left = np.flip(np.cumsum(np.flip(flat, 2), axis=2), 2)
        if not whole:
            inner = np.flip(np.cumsum(np.flip(self.rewards, 3), axis=3), 3)
            left = inner.reshape(flat.shape)
        made = np.zeros_like(left)
        for long in range(flat.shape[2]):
            m, t = divmod(long, self.steps)
            seen = self._seen(t)  # number of the own history before the action, for each inner outcome
            for b in range(self.batch):
                rows = [seen[self._numbers[:, b, m]]]
                if whole:
                    rows += [self._seen_whole[self._numbers[:, b, k]] for k in range(m)]
                else:
                    rows += [self._joint[:, k] for k in range(m)]
                _, groups = np.unique(np.stack(rows), axis=1, return_inverse=True)
                groups = groups.ravel()
                total = np.bincount(groups, weights=self.weights)
                mean = np.bincount(groups, weights=self.weights * left[:, b, long])
                made[:, b, long] = np.divide(mean, total, out=np.zeros_like(mean), where=total > 0)[groups]
        return made.reshape(self.rewards.shape)

    @functools.cached_property
    def _seen_whole(self) -> np.ndarray:
        """The number of what the ego agent sees and does in each inner outcome."""
        some = [np.asarray(self._outcomes.observations)[:, :, 0], np.asarray(self._outcomes.actions)[:, :, 0]]
        return np.unique(np.concatenate(some, axis=1), axis=0, return_inverse=True)[1].ravel()

    def _seen(self, t: int) -> np.ndarray:
        """The number of what the ego agent has seen and done before its action at step t, of each inner outcome."""
        seen, done = np.asarray(self._outcomes.observations)[:, :, 0], np.asarray(self._outcomes.actions)[:, :, 0]
        some = np.concatenate([seen[:, : t + 1], done[:, :t]], axis=1)
        return np.unique(some, axis=0, return_inverse=True)[1].ravel()

    def all_action_estimates(self) -> Float[np.ndarray, "outcomes parameters"]:
        """Σ_b Σ_l Σ_a ∇π(a | h_l^b)·Q_l^b(a), with the exact Q given X_m and all other trajectories of the episode.

        Q_l^b(a) is the mean of (1/B)·(rest of the own inner episode) + F_m over all ways in which trajectory b can go
        on after a. The co-players are updated anew for each.
        """
        later = self._to_come(self._earned.mean(axis=0))
        actions = np.asarray(self._outcomes.actions)[:, :, 0]
        rewards = np.asarray(self._outcomes.rewards)[:, :, 0]
        rest = np.flip(np.cumsum(np.flip(rewards, 1), axis=1), 1)
        total = np.zeros((len(self.weights), self.ego.parameters))
        for m, (chance, table) in enumerate(zip(self._chances, later, strict=True)):
            past, joint = tuple(self._joint[:, :m].T), self._joint[:, m]
            power = self.inner ** (self.episodes - 1 - m)
            for b in range(self.batch):
                own = self._numbers[:, b, m]
                alone = np.stack([chance[..., self._alone[b] == o].sum(axis=-1) for o in range(self.inner)], axis=-1)
                alone = np.broadcast_to(alone[past], (len(own), self.inner))  # P(own outcome | X_m)
                after = np.stack(
                    [table[(*past, self._replace(joint, b, np.full_like(joint, o)))] for o in range(self.inner)], axis=1
                )
                for t in range(self.steps):
                    seen = self._seen(t)
                    for action in np.unique(actions[:, t]):
                        fits = (seen[own][:, None] == seen) & (actions[:, t] == action)
                        weights = alone * fits
                        sums = weights.sum(axis=1)
                        quality = (weights * (rest[:, t] / self.batch + after)).sum(axis=1)
                        quality = np.divide(quality, sums, out=np.zeros_like(sums), where=sums > 0)
                        example = np.argmax(fits, axis=1)
                        number = self.trajectories[:, b] + (example - own) * power
                        place = m * self.steps + t
                        factor = self._probabilities[number, place] * quality
                        total += factor[:, None] * self._scores[number, place]
        return total
