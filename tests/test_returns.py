"""Discounted returns in closed form: transformations, precision, symmetry, bad input. Their truth: Eq. 16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx.policies import GRU, MemoryOne
from coala_eqx.returns import memory_one_returns

DILEMMA = np.array([[[1.0, -1.0], [2.0, 0.0]], [[1.0, 2.0], [-1.0, 0.0]]])
DEFECT = np.tile([0.0, 1.0], (5, 1))
EPS = float(np.finfo(np.float64).eps)
SHAPES = [(2, 2), (2, 3), (3, 2), (1, 4)]


def _tables(seed, shape, dtype=np.float64):
    generator = np.random.default_rng(seed)
    observations = 1 + shape[0] * shape[1]
    return tuple(generator.dirichlet(np.ones(actions), observations).astype(dtype) for actions in shape)


def _payoffs(seed, shape):
    return np.random.default_rng(seed).uniform(-2, 2, (2, *shape))


def _policies(seed, shape):
    return tuple(MemoryOne(np.log(table)) for table in _tables(seed, shape))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("discount", [0.0, 0.3, 0.95, 0.9999])
def test_elimination_agrees_with_a_solver_and_with_doubling(shape, discount):
    """(I − A)⁻¹ = Π_k (I + A^(2^k)); the condition number of I − A is at most 2/(1 − γ), each a few dozen roundings."""
    (first, second), payoffs = _tables(0, shape), _payoffs(1, shape)
    joint = list(np.ndindex(*shape))
    swapped = [0, *(1 + b * shape[0] + a for a, b in joint)]
    moves = np.einsum("oi,oj->oij", first, second[swapped]).reshape(1 + len(joint), -1)
    matrix = discount * moves[1:]
    vectors = rewards = payoffs.reshape(2, -1).T
    while np.abs(matrix).max() > EPS:
        vectors, matrix = vectors + matrix @ vectors, matrix @ matrix
    solved = np.linalg.solve(np.eye(len(joint)) - discount * moves[1:], rewards)
    returns = memory_one_returns(first, second, payoffs, discount)
    for other in (solved, vectors):
        np.testing.assert_allclose(returns, (1 - discount) * moves[0] @ other, rtol=0, atol=200 * EPS / (1 - discount))


def test_nothing_cancels_at_discounts_close_to_one():
    """Two who never change their minds: the return is one payoff, where 1 − γ is a rounding error."""
    sure = np.array([[1.0, 0.0]] * 5)
    returns = memory_one_returns(sure, sure, DILEMMA, 1 - EPS)
    np.testing.assert_allclose(returns, 1.0, rtol=10 * EPS)


@pytest.mark.parametrize("shape", SHAPES)
def test_exchanging_the_players_exchanges_the_returns(shape):
    tables, payoffs = _tables(2, shape), _payoffs(3, shape)
    ours = memory_one_returns(*tables, payoffs, 0.9)
    theirs = memory_one_returns(*tables[::-1], payoffs[::-1].swapaxes(1, 2), 0.9)
    np.testing.assert_allclose(ours, theirs[::-1], rtol=0, atol=1000 * EPS)


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.95, 1 - 1e-6])
def test_one_at_every_step_is_worth_one_or_the_sum_of_the_series(discount):
    ones = np.ones((2, 2, 3))
    policies = _policies(4, (2, 3))
    slack = 200 * EPS / (1 - discount)
    np.testing.assert_allclose(ce.exact.discounted_returns(*policies, ones, discount), 1.0, rtol=slack)
    unnormalised = ce.exact.discounted_returns(*policies, ones, discount, normalise=False)
    np.testing.assert_allclose(unnormalised, 1 / (1 - discount), rtol=slack)


def test_logits_and_probabilities_give_the_same_returns():
    policies = _policies(5, (2, 3))
    by_probabilities = memory_one_returns(*_tables(5, (2, 3)), _payoffs(6, (2, 3)), 0.95)
    by_logits = ce.exact.discounted_returns(*policies, _payoffs(6, (2, 3)), 0.95)
    np.testing.assert_allclose(by_logits, by_probabilities, rtol=1000 * EPS / 0.05)


def test_lists_and_whole_numbers_will_do():
    tit_for_tat = [[1, 0], [1, 0], [0, 1], [1, 0], [0, 1]]
    payoffs = [[[1, -1], [2, 0]], [[1, 2], [-1, 0]]]
    np.testing.assert_array_equal(memory_one_returns(tit_for_tat, DEFECT, payoffs, 0, True), [-1, 2])


@pytest.mark.parametrize("traced", ["policies", "discount too"])
def test_jit_vmap_and_grad_agree_with_one_at_a_time(traced):
    pairs = [_policies(seed, (2, 3)) for seed in range(3)]
    payoffs = _payoffs(7, (2, 3))

    def gradient(first, second, discount):
        return jax.grad(lambda policy: ce.exact.discounted_returns(policy, second, payoffs, discount)[0])(first).logits

    one_by_one = np.stack([gradient(*pair, 0.95) for pair in pairs])
    assert np.abs(one_by_one).max() > 0.01
    stacked = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *column) for column in zip(*pairs, strict=True)]
    together = {
        "policies": lambda: jax.jit(jax.vmap(lambda a, b: gradient(a, b, 0.95)))(*stacked),
        "discount too": lambda: jax.jit(jax.vmap(gradient))(*stacked, jnp.full(3, 0.95)),
    }[traced]()
    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=1000 * EPS / 0.05**2)


def test_float32_is_as_good_as_float32_can_be():
    """And is computed in float32: the error is of its order, eps/(1 − γ)."""
    tables, payoffs = _tables(8, (2, 3), np.float32), _payoffs(9, (2, 3))
    low = memory_one_returns(*tables, payoffs, 0.95)
    high = memory_one_returns(*(table.astype(np.float64) for table in tables), payoffs, 0.95)
    assert low.dtype == jnp.float32
    eps = float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(low, high, rtol=0, atol=200 * eps / 0.05)
    assert np.abs(np.asarray(low) - np.asarray(high)).max() > 0.01 * eps


def test_the_gradient_at_a_corner():
    """Both always defect. To cooperate instead, once in step t, costs 1; the other does not react.

    The start has weight 1 − γ, and DD, which is seen in all later steps, γ. CC, CD and DC are never seen.
    """

    def value(cooperate):
        table = jnp.stack([cooperate, 1 - cooperate], axis=1)
        return memory_one_returns(table, DEFECT, DILEMMA, 0.95)[0]

    gradient = jax.grad(value)(jnp.zeros(5))
    np.testing.assert_allclose(gradient, [-0.05, 0, 0, 0, -0.95], rtol=200 * EPS / 0.05)
    np.testing.assert_array_equal(gradient[1:4], 0)


def test_the_gradient_by_the_discount():
    """A payoff of 1 at every step is worth 1/(1 − γ), whose derivative is 1/(1 − γ)²."""
    derivative = jax.grad(lambda g: memory_one_returns(DEFECT, DEFECT, np.ones((2, 2, 2)), g, normalise=False)[0])(0.9)
    np.testing.assert_allclose(derivative, 100.0, rtol=1000 * EPS / 0.1)


@pytest.mark.parametrize(
    ("discount", "message"),
    [
        (1.0, r"`discount` must lie in \[0, 1\), but is 1.0"),
        (-0.1, "but is -0.1"),
        (1 - 1e-9, "which is 1.0 in float32"),
        (float("nan"), "`discount` must hold finite numbers"),
        ("0.9", "`discount` must hold numbers only"),
        ([0.9, 0.8], r"must be one number, but has shape \(2,\); use `jax.vmap`"),
    ],
)
def test_discounts_out_of_range_are_named(discount, message):
    single = DEFECT.astype(np.float32)
    with pytest.raises(ValueError, match=message):
        memory_one_returns(single, single, DILEMMA, discount)


@pytest.mark.parametrize(
    ("payoffs", "message"),
    [
        (DILEMMA[0], r"\[2, actions of player 1, actions of player 2\].*but has \(2, 2\)"),
        (np.ones((3, 2, 2)), r"but has \(3, 2, 2\)"),
        (np.ones((2, 2, 3)), r"Player 1 .* \[7, 2\] by the payoffs, but its table has shape \[5, 2\]"),
        (np.full((2, 2, 2), np.nan), "`payoffs` must hold finite numbers"),
        ([[[1, 2], [3]], [[1, 2], [3, 4]]], "its rows differ in length"),
    ],
)
def test_payoffs_that_do_not_fit_are_named(payoffs, message):
    with pytest.raises(ValueError, match=message):
        memory_one_returns(DEFECT, DEFECT, payoffs, 0.9)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.tile([0.0, 0.0, 1.0], (5, 1)), r"Player 2 .* \[5, 2\] by the payoffs, but its table has shape \[5, 3\]"),
        (np.tile([0.5, 0.6], (5, 1)), r"row 0 is \[0.5, 0.6\]; pass logits to `discounted_returns` instead"),
        (np.concatenate([DEFECT[:3], [[-0.5, 1.5]], DEFECT[4:]]), r"row 3 is \[-0.5, 1.5\]"),
    ],
)
def test_tables_that_are_no_distributions_are_named(table, message):
    with pytest.raises(ValueError, match=message):
        memory_one_returns(DEFECT, table, DILEMMA, 0.9)


def test_policies_that_do_not_fit_are_named(getkey):
    fitting = MemoryOne(np.zeros((5, 2)))
    with pytest.raises(ValueError, match="policy 2 is a GRU; use `MemoryOne`, or `episode_returns`"):
        ce.exact.discounted_returns(fitting, GRU(5, 2, width=2, key=getkey()), DILEMMA, 0.9)
    with pytest.raises(ValueError, match=r"Player 1 .*table has shape \[4, 2\]"):
        ce.exact.discounted_returns(MemoryOne(np.zeros((4, 2))), fitting, DILEMMA, 0.9)
