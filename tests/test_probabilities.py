"""Log-probabilities of nearly deterministic policies and of masked actions, against other formulas."""

from decimal import Decimal, getcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coala_eqx.policies.probabilities import chosen_log_probs, log_probabilities


def test_they_are_those_of_a_softmax(getkey):
    logits = 3 * jax.random.normal(getkey(), (7, 5))
    np.testing.assert_allclose(log_probabilities(logits), jax.nn.log_softmax(logits), atol=2e-15)
    hessian = jax.hessian(lambda row: log_probabilities(row)[1])(logits[0])
    np.testing.assert_allclose(hessian, jax.hessian(lambda row: jax.nn.log_softmax(row)[1])(logits[0]), atol=2e-15)


@pytest.mark.parametrize("scale", [1, 8, 10, 20, 50, 300])
def test_nothing_cancels_near_certainty(scale):
    """Two logits ±s: log p = −log(1 + e^(−2s)), and its derivative in the likelier action's is 1/(1 + e^(2s))."""
    getcontext().prec = 400
    logits = jnp.array([float(scale), -float(scale)])
    small = (Decimal(-2 * scale)).exp()
    value, slope = jax.value_and_grad(lambda z: chosen_log_probs(z, jnp.array(0)))(logits)
    np.testing.assert_allclose(float(value), float(-(1 + small).ln()), rtol=1e-14)
    expected = float(small / (1 + small))
    np.testing.assert_allclose(slope, [expected, -expected], rtol=1e-14)


def test_a_masked_action_is_as_if_it_were_not_there(getkey):
    logits = jax.random.normal(getkey(), (3,))
    masked = jnp.array([logits[0], -jnp.inf, logits[1], -jnp.inf, logits[2]])
    others = np.array([0, 2, 4])
    np.testing.assert_allclose(log_probabilities(masked)[others], log_probabilities(logits), rtol=1e-15)
    assert np.isneginf(log_probabilities(masked)[1])
    slopes = np.asarray(jax.jacobian(log_probabilities)(masked))
    np.testing.assert_allclose(slopes[np.ix_(others, others)], jax.jacobian(log_probabilities)(logits), rtol=1e-14)
    assert (slopes[:, [1, 3]] == 0).all()
    assert (slopes[[1, 3]] == 0).all()


@pytest.mark.parametrize("logits", [[-np.inf, -np.inf], [np.nan, 0.0], [np.inf, 0.0]])
def test_what_is_no_distribution_is_nan(logits):
    assert np.isnan(log_probabilities(jnp.array(logits))).any()
