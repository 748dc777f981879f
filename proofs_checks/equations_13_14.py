"""Equations 13–14: subtracting a critic keeps COALA-PG unbiased, for any function V̂ of the ego agent's own history.

**Claim.** With A_l^b = C_l^b − (1/B)·V̂(h_l^b) − (1/B) Σ_{b'≠b} V̂(h^{b'}_{T·m_l+1}) in place of C_l^b, E[ĝ] = ∇J̄
for ANY V̂.

**Why.** V̂(h_l^b) is known before a_l^b, and the score has mean zero given the past. h^{b'}_{T·m_l+1} is the history of
trajectory b' ≠ b when the next inner episode starts: its own steps of this inner episode, and the first observation of
the next. Given the past of all trajectories at step l, these steps are independent of a_l^b, which meets them in the
co-player's update only. So the product with the score has mean zero again.

**The condition.** The first observation of the next inner episode comes after the update. It must not depend on what
the co-player has learned. (It does not where games are reset independently of the players, as in the paper.) If it
reveals the update, it reveals a_l^b, and the subtracted term correlates with the score. The bias is then

    − (1/B) Σ_m Σ_b Σ_{b'≠b} ∂E[V̂(h^{b'}_{T·m+1})]/∂φ_{m,b},

and it disappears with V̂: without a critic the theorem holds in such worlds, too.

**Claim.** Eqs 9 and 14 replace the average of fut^{b'}, the rewards of later inner episodes, over the batch by that of
one trajectory. Given h_l^b the two have the same mean if the ego agent has no memory across inner episodes, and not
otherwise: fut^b continues from h_l^b, which the policy remembers. As baselines both leave COALA-PG unbiased.

**Drawn at random.** As for Theorem 3.1, with tables of random values, and the random value heads of networks; for the
condition, a world with two trajectories of two one-step episodes, random policy and critic.
"""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, note

import coala_eqx as ce
from coala_eqx.estimators import AbstractEstimator, CoalaPG
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from coala_eqx.exact.critics import Target
from coala_eqx.policies import FullHistory
from proofs_checks.common.cases import COVER, EXCHANGEABLE, Case, cases, examples
from proofs_checks.common.hand_made import World, exact_gradient, mean_estimate, rounding_by_hand
from proofs_checks.common.ledger import as_printed, differs, holds
from proofs_checks.common.rounding import rounding
from proofs_checks.common.unbiased import check_unbiased

ANY_CRITIC = "Eqs 13–14: COALA-PG with any critic of the own history is unbiased (relative)"
LEAK = "Eqs 13–14: bias where the first observation reveals the update, closed form"
BIASED = "Eqs 13–14: that bias, relative to ∇J̄, for a critic that differs there"
NO_CRITIC = "Eqs 13–14: no bias there without a critic"
SAME_FUTURE = "Eqs 9, 14: E[fut^{b'}; h^b] = E[fut^b; h^b] for an ego agent without memory"
OTHER_FUTURE = "Eqs 9, 14: largest |E[fut^{b'} | h^b] − E[fut^b | h^b]| with memory, one game: 0.42 (last digit)"
NO_LEAK = "Eqs 13–14: no bias with a critic where nothing is revealed"

_BLIND = np.zeros(3)


def check_any_critic(estimator: AbstractEstimator, case: Case) -> None:
    """Check that E[ĝ] = ∇J̄ with random values."""
    problem, policy = case.build_with_random_critic()
    check_unbiased(ANY_CRITIC, estimator, problem, policy, objective="shaping_return")


def leaky_world(values: np.ndarray, *, leaks: bool) -> World:
    """A world with B = 2, M = 2, T = 1.

    The co-player rewards both trajectories in the second episode if both cooperated (action 0) in the first. The
    observation is 0 at first. Then it is 1, or 2 if the co-player rewards them and this is revealed.

    `values` `[3]`: V̂ of each observation.
    """

    def observations(actions: jax.Array) -> jax.Array:
        both = jnp.all(actions[:, 0] == 0)
        second = 1 + jnp.where(leaks & both, 1, 0)
        return jnp.stack([jnp.zeros_like(actions[:, 0]), jnp.broadcast_to(second, actions[:, 0].shape)], axis=1)

    def log_probs(logits: jax.Array, actions: jax.Array) -> jax.Array:
        rows = jax.nn.log_softmax(logits)[observations(actions)]
        return jnp.take_along_axis(rows, actions[..., None], axis=-1)[..., 0]

    def rewards(actions: jax.Array) -> jax.Array:
        kind = jnp.all(actions[:, 0] == 0)
        return actions + jnp.stack([jnp.zeros((2, 1)), jnp.full((2, 1), 3.0) * kind], axis=1)

    return World(2, 2, 1, log_probs, rewards, lambda actions: jnp.asarray(values)[observations(actions)])


def check_leak(estimator: AbstractScoreFunctionEstimator, logits: np.ndarray, values: np.ndarray) -> float:
    """Check that the bias is the closed form. **Returns** it relative to ∇J̄.

    E[V̂(second observation)] = v_1 + (v_2 − v_1)·p_1·p_2, where p_b are the probabilities to cooperate. The formula
    gives −(1/2)·2·(v_2 − v_1)·p·∂p/∂φ, and ∂p/∂φ = p(1 − p)·(1, −1) for a softmax of two logits.
    """
    world = leaky_world(values, leaks=True)
    bias = mean_estimate(estimator, world, logits) - (truth := exact_gradient(world, logits))
    p = 1 / (1 + np.exp(logits[0, 1] - logits[0, 0]))
    expected = np.zeros((3, 2))
    expected[0] = -(values[2] - values[1]) * p * p * (1 - p) * np.array([1.0, -1.0])
    holds(LEAK, np.linalg.norm(bias - expected), _bound(values))
    return float(np.linalg.norm(bias) / np.linalg.norm(truth))


def _bound(values: np.ndarray) -> float:
    return rounding_by_hand(10 + np.abs(values).max())


@given(case=cases(cover=("alone", "three players", "networks", "adam"), limit=1_000_000, tabulated=True))
@examples(ci=8, deep=300)
def test_any_critic_of_the_own_history(case):
    note(case.describe())
    check_any_critic(CoalaPG(), case)


@given(seed=st.integers(0, 10_000))
@examples(ci=8, deep=500)
def test_a_first_observation_that_reveals_the_update(seed):
    generator = np.random.default_rng(seed)
    logits, values = generator.uniform(-1, 1, size=(3, 2)).round(1), generator.uniform(-2, 2, size=3).round(1)
    check_leak(CoalaPG(), logits, values)
    worlds = {NO_CRITIC: leaky_world(_BLIND, leaks=True), NO_LEAK: leaky_world(values, leaks=False)}
    for claim, world in worlds.items():
        error = mean_estimate(CoalaPG(), world, logits) - exact_gradient(world, logits)
        holds(claim, np.linalg.norm(error), _bound(values))


def test_the_bias_is_not_small():
    differs(BIASED, check_leak(CoalaPG(), np.zeros((3, 2)), np.array([0.0, 0.0, 3.0])), 0.3)


def check_futures(own: Target, other: Target, case: Case) -> None:
    """Check that, without memory, both targets have the same mean given any history. Targets are functions (rewards,
    values) → target.
    """
    problem, policy = case.build()
    table = FullHistory.tabulate(policy, problem.game, case.episodes * case.steps)
    found = [ce.exact.sums_by_history(problem, table, target)[0] for target in (own, other)]
    largest = 4.0 * case.batch * case.episodes * case.steps
    holds(SAME_FUTURE, np.abs(found[0] - found[1]).max(), rounding(problem, case.count(), largest))


def own_future(rewards: jax.Array, values: jax.Array) -> jax.Array:
    """fut^b: the rewards of the later inner episodes in the own trajectory, `[batch, episodes, steps]`."""
    del values
    later = jnp.cumsum(rewards.sum(axis=2)[:, ::-1], axis=1)[:, ::-1] - rewards.sum(axis=2)
    return jnp.broadcast_to(later[..., None], rewards.shape)


def other_future(rewards: jax.Array, values: jax.Array) -> jax.Array:
    """The mean of fut^{b'} over the other trajectories."""
    own = own_future(rewards, values)
    return (own.sum(axis=0) - own) / (len(own) - 1)


@given(case=cases(cover=(Case(), Case(steps=2)), limit=40_000, ego=("MemoryOne",), batch=(2, 3), learner=EXCHANGEABLE))
@examples(ci=4, deep=100)
def test_the_future_without_memory(case):
    note(case.describe())
    check_futures(own_future, other_future, case)


def test_the_future_with_memory():
    problem, policy = COVER["steps"].build()
    own, other = (ce.exact.sums_by_history(problem, policy, target) for target in (own_future, other_future))
    apart = np.abs(own[0] - other[0]) / np.where(own[1] > 0, own[1], 1)
    as_printed(OTHER_FUTURE, [float(apart.max())], ["0.42"])
