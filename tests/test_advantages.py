"""Algorithm 1 and its uses, against sums written out in loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx.estimators.advantages import batch_lambda_returns, next_values, td_errors

B, M, T = 3, 3, 2


@pytest.fixture
def rewards(getkey):
    return np.asarray(jax.random.normal(getkey(), (B, M, T)))


@pytest.fixture
def values(getkey):
    return np.asarray(jax.random.normal(getkey(), (B, M, T)))


def _own_and_future(rewards):
    """own_l^b and fut_l^b of the paper, in loops."""
    own, future = np.zeros((B, M, T)), np.zeros((B, M, T))
    for b, m, t in itertools.product(range(B), range(M), range(T)):
        own[b, m, t] = sum(rewards[b, m, k] for k in range(t, T))
        future[b, m, t] = sum(rewards[b, n, k] for n in range(m + 1, M) for k in range(T))
    return own, future


def test_coefficients_are_the_rows_of_the_table(rewards):
    own, future = _own_and_future(rewards)
    average = future.mean(axis=0)
    last_only = rewards * (np.arange(M) == M - 1)[:, None]
    last_own, last_future = _own_and_future(last_only)
    expected = {
        "CoalaPG": own / B + average,
        "Reinforce": np.broadcast_to((own + future).mean(axis=0), own.shape),
        "BatchUnaware": (own + future) / B,
        "MFOS": own + average,
        "LolaCoala": last_own / B + last_future.mean(axis=0),
    }
    for name, coefficients in expected.items():
        actual = getattr(ce.estimators, name)().coefficients(rewards)
        np.testing.assert_allclose(actual, coefficients, atol=1e-13, err_msg=name)


def test_values_are_subtracted_as_in_equations_13_and_14(rewards, values):
    """In loops: what a critic is subtracted from, and which of its values act as baselines."""
    own, future = _own_and_future(rewards)
    boundary = np.zeros((B, M))  # V̂ of the first history of the next inner episode, 0 after the last
    boundary[:, :-1] = values[:, 1:, 0]
    coala, unaware, reinforce, m_fos = (np.zeros((B, M, T)) for _ in range(4))
    for b, m, t in itertools.product(range(B), range(M), range(T)):
        others = sum(boundary[c, m] for c in range(B) if c != b)
        average = future[:, m, t].mean()
        coala[b, m, t] = own[b, m, t] / B + average - values[b, m, t] / B - others / B
        unaware[b, m, t] = (own[b, m, t] + future[b, m, t] - values[b, m, t]) / B
        reinforce[b, m, t] = (own[:, m, t] + future[:, m, t] - values[:, m, t]).mean()
        m_fos[b, m, t] = own[b, m, t] + boundary[b, m] - values[b, m, t] + average - boundary[:, m].mean()
    expected = {"CoalaPG": coala, "BatchUnaware": unaware, "Reinforce": reinforce, "MFOS": m_fos}
    for name, coefficients in expected.items():
        actual = getattr(ce.estimators, name)().coefficients(rewards, values)
        np.testing.assert_allclose(actual, coefficients, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("discount", "lambda_"), [(1.0, 1.0), (0.9, 1.0), (1.0, 0.7), (0.8, 0.6), (0.9, 0.0)])
def test_the_scan_is_the_double_sum(average, normalize, discount, lambda_, rewards, values):
    """An independent O(L²B) sum: each later step's TD(λ) term, by how it enters this step's return.

    A term of the same inner episode enters discounted and over `norm`; a term of a later one enters from
    the same trajectory over `norm` or, if averaged, from all of them over B.
    """
    next_ = np.asarray(next_values(jnp.asarray(values))).reshape(B, -1)
    terms = rewards.reshape(B, -1) + discount * (1 - lambda_) * next_
    bootstraps = discount * (1 - lambda_) * next_
    norm = B if normalize else 1
    expected = np.zeros((B, M * T))
    for b, here in itertools.product(range(B), range(M * T)):
        for there in range(here, M * T):
            weight = (discount * lambda_) ** (there - here)
            if here // T == there // T or not average:
                # Only the reward is divided by the norm; Algorithm 1 leaves the bootstrap as it is.
                expected[b, here] += weight * (rewards.reshape(B, -1)[b, there] / norm + bootstraps[b, there])
            else:
                expected[b, here] += weight * terms[:, there].mean()
    actual = batch_lambda_returns(
        rewards,
        next_values(jnp.asarray(values)),
        discount=discount,
        lambda_=lambda_,
        average_future_episodes=average,
        normalize_current_episode=normalize,
    )
    np.testing.assert_allclose(actual, expected.reshape(B, M, T), atol=1e-12)


def test_td_errors_telescope(rewards, values):
    """Σ_{k≥l} δ_k = (rest of the return) − V̂(h_l), also across inner episodes."""
    summed = np.asarray(td_errors(rewards, values)).reshape(B, -1)[:, ::-1].cumsum(axis=1)[:, ::-1]
    rest = rewards.reshape(B, -1)[:, ::-1].cumsum(axis=1)[:, ::-1]
    np.testing.assert_allclose(summed, rest - values.reshape(B, -1), atol=1e-13)


def test_integer_rewards_are_not_truncated():
    rewards = np.ones((3, 2, 1), dtype=int)
    np.testing.assert_allclose(ce.estimators.CoalaPG().coefficients(rewards)[:, :, 0], [[1 / 3 + 1, 1 / 3]] * 3)


@pytest.mark.parametrize("name", ["CoalaPG", "MFOS", "BatchUnaware", "Reinforce", "LolaCoala"])
def test_other_shapes_are_named(name, rewards, values):
    estimator = getattr(ce.estimators, name)()
    with pytest.raises(
        ValueError, match=r"`values` must have the shape of `rewards`.*\(3, 3, 2\), but has \(3, 2, 3\)"
    ):
        estimator.coefficients(rewards, values.swapaxes(1, 2))
    with pytest.raises(ValueError, match=r"shape \[batch, episodes, steps\], but has \(3, 6\)"):
        estimator.coefficients(rewards.reshape(B, -1))
