"""Policies that share activations across the batch break the theorem.

**Claim.** Theorem 3.1 needs π̄(ā|h̄) = Π_b π(a^b|h^b; φ). If the trajectories of the batch share activations (batch
norm, attention over the batch), COALA-PG is biased, even if no co-player learns. Batch-level REINFORCE (Eq. 24) is
not.

**Why.** An action of one trajectory then changes the ego agent's actions in the others in the same inner episode.
COALA-PG leaves out their current rewards, because otherwise these cannot depend on the action; now they do. Eq. 24
leaves out only the past.

**Drawn at random.** Parameters, rewards, and how much is shared, in a world of two trajectories with one inner
episode of two steps: the second step's logit is w·(x^b − share·mean_b x) with x the own first action as ±1.
"""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given

from coala_eqx.estimators import CoalaPG, Reinforce
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator
from proofs_checks.common.cases import examples
from proofs_checks.common.hand_made import World, exact_gradient, mean_estimate, rounding_by_hand
from proofs_checks.common.ledger import as_printed, holds

BIASED = "Shared activations: relative bias of COALA-PG, centred over the batch, in the example is 0.38 (last digit)"
REINFORCE = "Shared activations: batch-level REINFORCE is unbiased all the same"
UNSHARED = "Shared activations: COALA-PG is unbiased where nothing is shared"


def batch_norm_world(share: float, payoffs: np.ndarray) -> World:
    """A world in which the second step's logit depends on the batch.

    `payoffs` `[2, 2]`: the reward of the second step by own first and second action.
    """

    def log_probs(weights: jax.Array, actions: jax.Array) -> jax.Array:
        first, second = actions[:, 0, 0], actions[:, 0, 1]
        x = 1.0 - 2.0 * first
        logits = jnp.stack([jnp.full(2, weights[0]), weights[1] * (x - share * x.mean())], axis=1)
        signs = 1.0 - 2.0 * jnp.stack([first, second], axis=1)
        return jax.nn.log_sigmoid(signs * logits)[:, None]

    def rewards(actions: jax.Array) -> jax.Array:
        earned = jnp.asarray(payoffs)[actions[:, 0, 0], actions[:, 0, 1]]
        return jnp.stack([jnp.zeros(2), earned], axis=1)[:, None]

    return World(2, 1, 2, log_probs, rewards, lambda actions: jnp.zeros(actions.shape))


def bias(estimator: AbstractScoreFunctionEstimator, world: World, weights: np.ndarray) -> tuple[float, float]:
    """‖E[ĝ] − ∇J̄‖ and ‖∇J̄‖."""
    truth = exact_gradient(world, weights)
    return float(np.linalg.norm(mean_estimate(estimator, world, weights) - truth)), float(np.linalg.norm(truth))


def check_sharing(estimator: AbstractScoreFunctionEstimator, claim: str, share: float, seed: int) -> None:
    """Check that E[ĝ] = ∇J̄ for random parameters and payoffs."""
    generator = np.random.default_rng(seed)
    weights, payoffs = generator.uniform(-2, 2, size=2).round(1), generator.uniform(-2, 2, size=(2, 2)).round(1)
    holds(claim, bias(estimator, batch_norm_world(share, payoffs), weights)[0], rounding_by_hand(10))


@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
@examples(ci=8, deep=500)
def test_only_batch_level_reinforce_survives_sharing(seed, share):
    check_sharing(Reinforce(), REINFORCE, share, seed)
    check_sharing(CoalaPG(), UNSHARED, 0.0, seed)


def test_coala_pg_does_not():
    """Check that COALA-PG misses the effect of an action on the other trajectory in the same inner episode."""
    error, size = bias(CoalaPG(), batch_norm_world(1.0, np.array([[1.0, 0.0], [0.0, 0.0]])), np.array([0.3, 1.5]))
    as_printed(BIASED, [error / size], ["0.38"])
