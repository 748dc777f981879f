"""A critic that sees the learner: COALA-PG with counterfactual baselines and TD over inner episodes.

X_m is everything that matters from inner episode m on: the co-players' parameters ψ_m, their learners' states, and the
ego agent's memories. F_m = Σ_{k>m} r̄_k is the mean return over the batch after inner episode m. W is any function of
such X, and X_{m+1}^(−b) is X_{m+1} with the co-players as they would be without trajectory b, and with the memories of
the other trajectories only. The coefficient of an action of trajectory b in inner episode m is

    C = (own − V̂(h))/B + F̂_m − W(X_{m+1}^(−b)),    F̂_m = (1 − κ)·W(X_{m+1}) + κ·(r̄_{m+1} + F̂_{m+1}),    F̂_M = 0,

where `own` is the rest of the own inner episode, and V̂ any function of the own history.

**Claim.** With κ = 1, E[ĝ] = ∇J̄ for any W, any learner, and any number of players.

**Why.** F̂_m = F_m is sampled, so that E[ĝ] = ∇J̄ without the last term (Theorem 3.1). Given everything up to inner
episode m, trajectories are independent of each other in it: the co-players learn only after it. X_{m+1}^(−b) is a
function of what came before and of the other trajectories, and so independent of the action, whose score has mean zero.

**Claim.** If W(X) = E[F | X], E[ĝ] = ∇J̄ for any κ. The same holds for the hybrid, whose W is the mean over the other
trajectories; and for ĝ = Σ_b Σ_l Σ_a ∇π(a | h)·Q(a), where Q averages over all ways in which trajectory b can go on.

**Why.** The action and its score are known at X_{m+1}, so E[∇log π·F_m] = E[∇log π·E[F_m | X_{m+1}]].

**Claim.** With any W, the bias is E[Σ ∇log π · Σ_{j≥1} (1 − κ)·κ^{j−1}·ε_{m+j}], where ε_k = W(X_k) − E[F_{k−1} | X_k]
is W's error before inner episode k. So only what the action changes in W's error makes a bias.

**Traps.** These are biased, although each looks like the right one: W at the update with b in it; the linearisation of
W around ψ_{m+1} (around ψ_m it is right); W with b's own memory; and a critic V̂(h, ψ) of the learner's parameters
inside Eqs 13–14, which subtract the other trajectories' values at the next inner episode, when ψ has learned from b.

**Drawn at random.** As for Theorem 3.1: W is a random network on a probe's features. The exact W is tabulated over all
outcomes of small problems.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, note

import coala_eqx as ce
from coala_eqx.estimators import AbstractScoreFunctionEstimator, CoalaHybrid, CoalaPG, LearnerCritic, ShapingValues
from coala_eqx.estimators.advantages import batch_advantages
from coala_eqx.estimators.critics import fitting_critic, others, statistics
from coala_eqx.exact.learner_values import ExactLearnerValues
from coala_eqx.shaping import LearnerFeatures, probe_game
from proofs_checks.common.cases import Case, cases, examples
from proofs_checks.common.ledger import differs, holds
from proofs_checks.common.rounding import rounding
from proofs_checks.common.trees import distance, norm
from proofs_checks.common.unbiased import check_unbiased

ANY_W = "Learner's critic: unbiased at κ = 1 for any W (relative)"
EXACT_W = "Learner's critic: unbiased at any κ with W = E[F | X] (relative)"
HYBRID = "Learner's critic: the hybrid is unbiased with its exact W (relative)"
ALL_ACTIONS = "Learner's critic: all actions, weighed by the exact Q, are unbiased (relative)"
OTHERWISE = "Learner's critic: the bias at κ < 1 with any W, closed form (relative)"
LINEARISED = "Learner's critic: linearised at ψ_m it is unbiased (relative)"
TRAPS = {
    "with b": "Learner's critic: bias of W at the update with b in it",
    "linearised after": "Learner's critic: bias of W linearised at ψ_{m+1}",
    "own memory": "Learner's critic: bias of W with b's own memory",
    "inside 13-14": "Learner's critic: bias of a critic of ψ inside Eqs 13–14",
}

LEAST = {"with b": 0.1, "linearised after": 1e-3, "own memory": 0.1, "inside 13-14": 0.1}
"""Relative bias that each trap has at least, in the cases that are tried. The error of a linearisation is of second
order, and so is its bias."""


def random_critic(problem: ce.ShapingProblem, policy: Any, kind: Any = None, seed: int = 0) -> LearnerCritic:
    """A critic with random weights. `kind`: a class that derives from `LearnerCritic`."""
    probe, key = probe_game(problem.game), jax.random.key(seed)
    critic = fitting_critic(problem, policy, probe, kind or LearnerCritic, width=6, last=3.0, key=key)
    return eqx.tree_at(lambda one: one.scale, critic, 0.3 * critic.scale)  # steep, so that it is far from linear


class WithB(LearnerCritic):
    """W at the update that trajectory b is part of."""

    def values(self, features: LearnerFeatures) -> ShapingValues:
        right = super().values(features)
        return dataclasses.replace(right, without=jnp.broadcast_to(right.after, right.without.shape))


class OwnMemory(LearnerCritic):
    """W at the counterfactual update, with the memories of all trajectories after the inner episode."""

    def values(self, features: LearnerFeatures) -> ShapingValues:
        right, episodes = super().values(features), features.before.shape[0]
        seen = statistics(features.memories)

        def one(without: jax.Array) -> jax.Array:
            later = [self.predict(without[m], seen[m + 1], m + 1, episodes)[0] for m in range(episodes - 1)]
            return jnp.stack([*later, jnp.zeros(())])

        return dataclasses.replace(right, without=jax.vmap(one)(features.without))


class Linearised(LearnerCritic):
    """W to first order in the features of the co-players, around those before the inner episode."""

    ahead: ClassVar[int] = 0
    """1: around those after it."""

    def values(self, features: LearnerFeatures) -> ShapingValues:
        right, (episodes, batch) = super().values(features), (features.before.shape[0], len(features.memories))
        left = jax.vmap(statistics)(features.memories[others(batch, batch)])

        def one(without: jax.Array, left: jax.Array) -> jax.Array:
            made = []
            for m in range(episodes - 1):
                around = features.before[m + self.ahead]

                def at(shown: jax.Array, m: int = m) -> jax.Array:
                    return self.predict(shown, left[m + 1], m + 1, episodes)[0]

                value, slope = jax.jvp(at, (around,), (without[m] - around,))
                made.append(value + slope)
            return jnp.stack([*made, jnp.zeros(())])

        return dataclasses.replace(right, without=jax.vmap(one)(features.without, left))


class LinearisedAfter(Linearised):
    """The same around the features after the inner episode."""

    ahead: ClassVar[int] = 1


class Inside(CoalaPG):
    """Eqs 13–14 with V̂(h, ψ) = V̂(h) + W(ψ)."""

    def coefficients(self, rewards: Any, values: Any = None, shaping: Any = None) -> jax.Array:
        if shaping is None:
            return super().coefficients(rewards, values)
        of_learner = jnp.concatenate([jnp.zeros(1), shaping.after[:-1]])
        both = jnp.zeros_like(rewards) if values is None else values
        return batch_advantages(
            rewards,
            both + of_learner[:, None],
            average_future_episodes=True,
            normalize_current_episode=True,
        )


def check_any_critic(estimator: AbstractScoreFunctionEstimator, case: Case, kind: Any = None) -> None:
    """Check that E[ĝ] = ∇J̄ with random W and random values. `kind`: the class of W."""
    problem, policy = case.build_with_random_critic()
    with_critic = dataclasses.replace(estimator, critic=random_critic(problem, policy, kind, case.seed))
    check_unbiased(ANY_W, with_critic, problem, policy, objective="shaping_return")


def relative_bias(estimator: AbstractScoreFunctionEstimator, problem: ce.ShapingProblem, policy: Any) -> float:
    """‖E[ĝ] − ∇J̄‖ / ‖∇J̄‖."""
    truth = ce.exact.gradient(problem, policy)
    return distance(ce.exact.moments(estimator, problem, policy).mean, truth) / norm(truth)


@given(
    case=cases(
        cover=("steps", "alone", "three players", "networks", "adam", "nonlinear", "ordered", "one player", "static"),
        limit=40_000,
        tabulated=True,
    )
)
@examples(ci=9, deep=300)
def test_any_critic_of_the_learner(case):
    note(case.describe())
    check_any_critic(CoalaPG(), case)


SMALL = (
    Case(ego="FullHistory", episodes=3),
    Case(ego="FullHistory", batch=3, learner="adam"),
    Case(ego="GRU", learner="a2c"),
    Case(actions=(2, 2, 2), ego="FullHistory", learner="momentum"),
    Case(ego="FullHistory", batch=1, steps=2, learner="nonlinear"),
    Case(sights=("some", "all"), states=2, ego="FullHistory", learner="ordered"),
)


@given(case=cases(cover=SMALL, limit=20_000, population=(1,)), kappa=st.sampled_from([0.0, 0.3, 0.8]))
@examples(ci=8, deep=100)
def test_an_exact_critic_of_the_learner(case, kappa):
    note(case.describe())
    problem, policy = case.build()
    exact = ExactLearnerValues(problem, policy)
    unit = np.linalg.norm(exact.gradient) or 1.0
    kappas = np.random.default_rng(case.seed).random(case.episodes) if kappa == 0.8 else kappa
    made: list[tuple[str, np.ndarray]] = [
        (EXACT_W, exact.estimates(CoalaPG(kappa=kappas), shaped=True)),
        (HYBRID, exact.estimates(CoalaHybrid(), shaped=True)),
        (ALL_ACTIONS, exact.all_action_estimates()),
    ]
    for claim, estimates in made:
        size = np.sqrt(exact.weights @ (estimates**2).sum(axis=1))
        error = np.linalg.norm(exact.weights @ estimates - exact.gradient)
        holds(claim, error / unit, rounding(problem, len(exact.weights), size / unit, size / unit))


@given(case=cases(cover=SMALL[:2], limit=20_000, population=(1,)), kappa=st.sampled_from([0.0, 0.4]))
@examples(ci=3, deep=100)
def test_the_bias_with_another_critic(case, kappa):
    """W is the exact one plus a random error, which is the same wherever X is."""
    note(case.describe())
    problem, policy = case.build()
    exact = ExactLearnerValues(problem, policy)
    errors = exact.random_values(np.random.default_rng(case.seed))
    wrong = dataclasses.replace(exact.values, after=exact.values.after + errors)
    estimates = exact.estimates(CoalaPG(kappa=kappa), shaped=wrong)
    bias = exact.weights @ estimates - exact.gradient
    episodes = problem.episodes
    ahead = np.zeros_like(errors)
    for m in range(episodes):
        for j in range(1, episodes - m):
            ahead[:, m] += (1 - kappa) * kappa ** (j - 1) * errors[:, m + j - 1]
    expected = exact.weights @ exact.weigh(np.broadcast_to(ahead[:, None, :, None], exact.rewards.shape))
    size = np.sqrt(exact.weights @ (estimates**2).sum(axis=1)) / np.linalg.norm(expected)
    bound = rounding(problem, len(exact.weights), size, size)
    holds(OTHERWISE, np.linalg.norm(bias - expected) / np.linalg.norm(expected), bound)


def traps(case: Case) -> dict[str, float]:
    """The relative bias of each trap."""
    problem, policy = case.build_with_random_critic()
    kinds: dict[str, Callable[..., Any]] = {
        "with b": WithB,
        "linearised after": LinearisedAfter,
        "own memory": OwnMemory,
    }
    found = {
        name: relative_bias(CoalaPG(critic=random_critic(problem, policy, kind, case.seed)), problem, policy)
        for name, kind in kinds.items()
    }
    found["inside 13-14"] = relative_bias(
        Inside(critic=random_critic(problem, policy, seed=case.seed)), problem, policy
    )
    return found


TRAPPED = (Case(ego="FullHistory", episodes=3), Case(ego="FullHistory", batch=3, learner="adam"))


def test_what_looks_right_and_is_not():
    for case in TRAPPED:
        for name, bias in traps(case).items():
            differs(TRAPS[name], bias, LEAST[name])


@given(case=cases(cover=TRAPPED, limit=20_000, tabulated=True))
@examples(ci=2, deep=50)
def test_linearised_before_the_inner_episode(case):
    problem, policy = case.build_with_random_critic()
    critic = random_critic(problem, policy, Linearised, case.seed)
    if len(eqx.filter(critic, eqx.is_array).centre) and problem.batch > 1 and problem.co_players:
        check_unbiased(LINEARISED, CoalaPG(critic=critic), problem, policy, objective="shaping_return")
