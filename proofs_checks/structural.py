"""The coefficients that are unbiased for every game, learner and policy.

**Claim.** Let C_l^b = Σ K[l,b → k,c]·r_k^c + Σ V[l,b → k,c]·V̂(h_k^c). A reward r_k^c is *downstream* of the action
a_l^b if it comes at l or later in the same trajectory's inner episode, or in a later inner episode of any trajectory.
Then E[Σ_b Σ_l ∇log π(a_l^b|h_l^b)·C_l^b] = ∇J̄ for every game, learner and policy (that factorises over the batch) if

1. K = 1/B at every downstream entry, and
2. V = 0 wherever V̂(h_k^c) may depend on a_l^b: in the own trajectory after l, and in the others after the first step of
   the next inner episode (whose observation must not tell what co-players have learned, as Eqs 13–14 need).

All other entries are free. Conversely, if an entry breaks this, there is a game in which the estimator is biased. There
is one exception. In the first inner episode all trajectories are alike, whatever learners do later, so only the sum
Σ_b K[l,b → k,b] of the own entries matters there.

**Why.** The product of the score of a_l^b with anything that does not depend on a_l^b, given the past, has mean zero.
So free entries drop out, and with condition 1 Theorem 3.1's formula remains. For the converse, let the ego agent toss
fair coins: x = ±1 by its action at step l, and u = ±1 by its first action, which it remembers. Learners publish what
they saw in trajectories β and γ, and the game pays only at step k:

    r_k^c = x^c·u^γ·u^c  (own inner episode),     r_k^c = x^β·u^γ·u^c  (later ones).

u^γ·u^c is 1 for c = γ and has mean 0 for all others. So only the reward of trajectory γ correlates with an action: with
that of γ itself, or of β. If the entry there is 1/B + δ, then E[ĝ] − ∇J̄ is δ·E[x·∂log π] in the logit of that action
and 0 elsewhere: δ/2 for a fair coin.

**Drawn at random.** Sufficiency: all free and admissible entries, on the games, learners (also those that depend on
the order of the batch) and policies of Theorem 3.1. Necessity: the entry, δ, and all free entries.
"""

from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, note

import coala_eqx as ce
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from coala_eqx.structure.kernel import FREE, OWN, admissible_values, relations
from proofs_checks.common.cases import Case, cases, examples
from proofs_checks.common.hand_made import World, exact_gradient, mean_estimate
from proofs_checks.common.ledger import differs, holds
from proofs_checks.common.rounding import EPS
from proofs_checks.common.unbiased import check_unbiased

SUFFICIENT = "Structural: right downstream, anything elsewhere, is unbiased (relative)"
NECESSARY = "Structural: one wrong downstream entry has the bias δ/2 in the constructed game"
FORBIDDEN = "Structural: a value that depends on the action has the bias δ/2 in the constructed game"
SUMS = "Structural: against exchangeable learners sums over the other trajectories suffice (relative)"
FIRST = "Structural: in the first inner episode sums over the own trajectories suffice (relative)"
FLAGGED = "Structural: the certificate says 'biased' of it (1 if so)"

SIZE = (2, 2, 2)
"""Size (B, M, T) of the worlds that are enumerated by hand: 256 outcomes."""


class Linear(AbstractScoreFunctionEstimator):
    """Coefficients from two matrices, `[batch, episodes, steps, batch, episodes, steps]`."""

    rewards: Any
    values: Any

    def coefficients(self, rewards: Any, values: Any = None) -> Any:
        weighed = jnp.tensordot(self.rewards, rewards, axes=3)
        return weighed if values is None else weighed + jnp.tensordot(self.values, values, axes=3)


def random_estimator(size: tuple[int, int, int], generator: np.random.Generator) -> Linear:
    """A random estimator with 1/B at every downstream entry, and random numbers at every free or admissible entry."""
    relation = relations(*size)
    rewards = np.where(relation == FREE, generator.normal(size=relation.shape), 1 / size[0])
    values = np.where(admissible_values(*size), generator.normal(size=relation.shape), 0.0)
    return Linear(rewards, values)


def size_of(case: Case) -> tuple[int, int, int]:
    """(B, M, T)."""
    return case.batch, case.episodes, case.steps


def check_sufficiency(make: Any, claim: str, case: Case) -> None:
    """Check that the estimator from `make(size, generator)` is unbiased, with a random critic."""
    problem, policy = case.build_with_random_critic()
    estimator = make(size_of(case), np.random.default_rng(case.seed))
    check_unbiased(claim, estimator, problem, policy, "shaping_return")


@given(case=cases(limit=30_000, tabulated=True, batch=(1, 2, 3), sights=((), ("all", "all"), ("none", "all"))))
@examples(ci=10, deep=300)
def test_what_is_right_downstream_is_unbiased(case):
    note(case.describe())
    check_sufficiency(random_estimator, SUFFICIENT, case)


def with_sums_only(size: tuple[int, int, int], generator: np.random.Generator) -> Linear:
    """An estimator whose entries are wrong one by one, but whose sums over pairs of trajectories are right."""
    right = random_estimator(size, generator)
    relation, batch = relations(*size), size[0]
    off = generator.normal(size=relation.shape)
    total = np.zeros_like(off)
    for kind in set(np.unique(relation)) - {FREE}:
        here = relation == kind
        number = np.maximum(here.sum(axis=(0, 3), keepdims=True), 1)
        total += np.where(here, off - np.where(here, off, 0.0).sum(axis=(0, 3), keepdims=True) / number, 0.0)
    return Linear(right.rewards + total / batch, right.values)


@given(case=cases(limit=30_000, tabulated=True, batch=(2, 3), learner=("sgd", "adam", "momentum", "nonlinear"),
                  sights=((), ("all", "all"))))  # fmt: skip
@examples(ci=6, deep=200)
def test_sums_suffice_where_the_order_does_not_matter(case):
    note(case.describe())
    check_sufficiency(with_sums_only, SUMS, case)


def test_sums_suffice_in_the_first_inner_episode():
    """Check coefficients that use only the first trajectory's own reward, B times: they are right with M = 1 against
    any learner.
    """
    case = Case(ego="FullHistory", learner="ordered", batch=3, episodes=1, steps=1, seed=3)

    def first_only(size: tuple[int, int, int], generator: np.random.Generator) -> Linear:
        right = random_estimator(size, generator)
        own = np.einsum("bmtbns->bmtns", right.rewards)  # a view
        own[0] *= size[0]
        own[1:] = 0.0
        return right

    check_sufficiency(first_only, FIRST, case)
    estimator = first_only(size_of(case), np.random.default_rng(0))
    assert ce.verification.certify_structure(estimator, [size_of(case)]).verdict == "unbiased"


def coins(entry: tuple[int, ...], *, as_values: bool) -> World:
    """The world of the converse for the entry [b, m, t, c, n, s]. Payments may be values instead of rewards."""
    beta, episode, step, gamma, when, at = entry
    batch, episodes, steps = SIZE

    def log_probs(logits: jax.Array, actions: jax.Array) -> jax.Array:
        return jax.nn.log_sigmoid((1.0 - 2.0 * actions) * logits)

    def paid(actions: jax.Array) -> jax.Array:
        signs = 1.0 - 2.0 * actions
        coin = signs[:, 0, 1] if (episode, step) == (0, 0) else signs[:, 0, 0]
        # If the action is the coin's own toss, another coin is taken.
        x = signs[:, episode, step] if when == episode and beta == gamma else signs[beta, episode, step]
        return jnp.zeros(SIZE).at[:, when, at].set(x * coin[gamma] * coin)

    def nothing(actions: jax.Array) -> jax.Array:
        return jnp.zeros(SIZE)

    del batch, episodes, steps
    return World(*SIZE, log_probs, nothing if as_values else paid, paid if as_values else nothing)


def check_necessity(entry: tuple[int, ...], off: float, seed: int, *, as_values: bool) -> None:
    """Check that the bias is off/2 in the logit of the action and 0 elsewhere, and that the certificate finds it."""
    estimator = random_estimator(SIZE, np.random.default_rng(seed))
    (estimator.values if as_values else estimator.rewards)[entry] += off
    world = coins(entry, as_values=as_values)
    logits = np.zeros(SIZE[1:])
    bias = mean_estimate(estimator, world, logits) - exact_gradient(world, logits)
    expected = np.zeros(SIZE[1:])
    expected[entry[1:3]] = off / 2
    largest = float(np.abs(estimator.rewards).max() + np.abs(estimator.values).max())
    holds(FORBIDDEN if as_values else NECESSARY, np.abs(bias - expected).max(), 256 * 64 * EPS * largest)
    verdict = ce.verification.certify_structure(estimator, [SIZE]).verdict
    differs(FLAGGED, float(verdict == "biased"), 1.0)


DOWNSTREAM = [
    tuple(map(int, entry))
    for entry in np.argwhere(relations(*SIZE) != FREE)
    # In the first inner episode a single own entry cannot be wrong: its sum over the batch is.
    if not (relations(*SIZE)[tuple(entry)] == OWN and entry[1] == 0)
]
FORBIDDEN_VALUES = [
    tuple(map(int, entry))
    for entry in np.argwhere(~admissible_values(*SIZE))
    if not (entry[0] == entry[3] and entry[1] == entry[4] == 0)
]


@given(
    entry=st.sampled_from(DOWNSTREAM),
    off=st.sampled_from([-1.0, -0.3, 0.01, 0.5, 2.0]),
    seed=st.integers(0, 10_000),
)
@examples(ci=12, deep=400)
def test_one_wrong_downstream_entry_is_biased_somewhere(entry, off, seed):
    check_necessity(entry, off, seed, as_values=False)


@given(
    entry=st.sampled_from(FORBIDDEN_VALUES),
    off=st.sampled_from([-1.0, 0.01, 0.5]),
    seed=st.integers(0, 10_000),
)
@examples(ci=6, deep=200)
def test_a_value_that_depends_on_the_action_is_biased_somewhere(entry, off, seed):
    check_necessity(entry, off, seed, as_values=True)
