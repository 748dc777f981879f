"""Expected discounted returns of two memory-one policies in the infinitely iterated matrix game, in closed form."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from coala_eqx.arrays import concrete, numbers
from coala_eqx.policies import AbstractMemoryOne, AbstractPolicy
from coala_eqx.policies.probabilities import log_probabilities

_SLACK = 1e-3
"""Tolerance for rows of probabilities: half precision stays within it, and logits do not."""


def discounted_returns(
    policy_1: AbstractPolicy, policy_2: AbstractPolicy, payoffs: Any, discount: Any, normalise: bool = True
) -> Float[Array, "2"]:
    """E[Σ_{t≥0} discount^t r_t] of both players of the infinitely iterated matrix game, times 1 − discount if
    `normalise`.

    The result is exact up to rounding, differentiable to any order, and traceable.

    **Arguments:**

    - `policy_1`, `policy_2`: `MemoryOne` policies of A_1 and A_2 actions, with logits `[1 + A_1·A_2, A_1]` and `[1 +
      A_1·A_2, A_2]`, or `BinaryMemoryOne` policies for A_i = 2. Each observes what it would in a `MatrixGame`: 0 at the
      start, then 1 + the index of the last joint action, with its own action as the most significant digit.
    - `payoffs` `[2, A_1, A_2]`: payoffs of both players, indexed by the first player's action, then the second's.
    - `discount`: a number in [0, 1).
    - `normalise`: whether step t weighs (1 − discount)·discount^t, which puts returns on the scale of the payoffs.

    **Returns** the returns of player 1 and player 2.

    **Raises** `ValueError` for policies that see more than the last joint action, and as `memory_one_returns` does.

    Source: Meulemans et al. (2025), Eq. 16, with the second player's observation swapped as it must be.
    """
    tables = []
    for number, policy in enumerate((policy_1, policy_2), start=1):
        if not isinstance(policy, AbstractMemoryOne):
            raise ValueError(
                f"The closed form needs policies that see the last joint action only, but policy {number} is a "
                f"{type(policy).__name__}; use `MemoryOne`, or `episode_returns` for finitely many steps."
            )
        tables.append(jnp.exp(log_probabilities(policy.action_logits)))
    return memory_one_returns(tables[0], tables[1], payoffs, discount, normalise)


def memory_one_returns(
    probabilities_1: Any, probabilities_2: Any, payoffs: Any, discount: Any, normalise: bool = True
) -> Float[Array, "2"]:
    """`discounted_returns` as a function of probabilities; differentiable also where some of them are 0 or 1.

    It is a rational function of its arguments: J = s_0ᵀ (I − γP)⁻¹ r, with the distribution s_0 of the first joint
    action, the matrix P of transitions between joint actions (rows: from) and the payoffs r.

    **Arguments:**

    - `probabilities_1` `[1 + A_1·A_2, A_1]`, `probabilities_2` `[1 + A_1·A_2, A_2]`: probability of each action, given
      each observation.
    - `payoffs`, `discount`, `normalise`: as for `discounted_returns`.

    **Raises** `ValueError` if shapes do not fit, if a row of probabilities is not a distribution, if the discount is
    outside [0, 1) once it is rounded to the precision of the probabilities, or if a number is not finite. Traced values
    are not checked.
    """
    payoffs = numbers("payoffs", payoffs)
    if payoffs.ndim != 3 or payoffs.shape[0] != 2 or 0 in payoffs.shape:
        raise ValueError(
            f"`payoffs` must have shape [2, actions of player 1, actions of player 2] (two players with two actions "
            f"each: [2, 2, 2]), but has {payoffs.shape}."
        )
    _, actions_1, actions_2 = payoffs.shape
    joint_actions = actions_1 * actions_2
    first = _distributions(1, probabilities_1, (1 + joint_actions, actions_1))
    second = _distributions(2, probabilities_2, (1 + joint_actions, actions_2))
    dtype = jnp.result_type(first, second, 0.0)
    first, second = jnp.asarray(first, dtype), jnp.asarray(second, dtype)
    discount = _discount(discount, dtype)
    other_side = np.arange(joint_actions).reshape(actions_2, actions_1).T.ravel()
    second = jnp.concatenate([second[:1], second[1:][other_side]])
    moves = jnp.einsum("oi,oj->oij", first, second).reshape(1 + joint_actions, joint_actions)
    rewards = jnp.asarray(payoffs, dtype).reshape(2, joint_actions).T
    returns = _vecmat(_visits(discount, moves[0], moves[1:]), rewards)
    return (1 - discount) * returns if normalise else returns


def _visits(
    discount: Any, start: Float[Array, " states"], transition: Float[Array, "states states"]
) -> Float[Array, " states"]:
    """start·(I − discount·transition)⁻¹ = Σ_t start·(discount·transition)ᵗ: discounted visits to all states.

    Derivatives of every order are further solutions of this kind with the same inverse, by the implicit function
    theorem. No derivative passes through the elimination, and all products are of vectors with matrices.
    """
    inverse = _resolvent(*jax.lax.stop_gradient((discount, transition)))
    moves = discount * transition
    return jax.lax.custom_linear_solve(
        lambda visits: visits - _vecmat(visits, moves),
        start,
        solve=lambda _, start: _vecmat(start, inverse),
        transpose_solve=lambda _, rewards: _vecmat(rewards, inverse.T),
    )


def _vecmat(vector: Float[Array, " rows"], matrix: Float[Array, "rows columns"]) -> Float[Array, " columns"]:
    """The product of a vector and a matrix. For small ones in batches it is faster than `jnp.matmul`, and it has full
    precision on every device.
    """
    return jnp.sum(vector[:, None] * matrix, axis=0)


def _resolvent(discount: Any, transition: Float[Array, "states states"]) -> Float[Array, "states states"]:
    """(I − discount·transition)⁻¹ for a stochastic matrix.

    States are eliminated one after the other by censoring (Grassmann, Taksar and Heyman, 1985): what is left is again a
    chain with a chance to stop. The chance to leave a state is the sum of its chances to go elsewhere, not 1 minus the
    chance to stay. So only sums, products and quotients of numbers ≥ 0 occur: nothing cancels, and an exact zero stays
    one. No rows need to be exchanged.

    `jnp.linalg.solve` is not used: on a CPU, two batches of small systems at a time can deadlock.
    """
    states = len(transition)
    rows = jnp.concatenate([discount * transition, jnp.eye(states, dtype=transition.dtype)], axis=1)
    stops = jnp.full(states, 1 - discount, dtype=transition.dtype)
    for state in range(states):
        leaves = stops[state] + jnp.sum(rows[state, state + 1 : states])
        row = (rows[state] / leaves).at[state].set(0)
        to_state = rows[:, state].at[state].set(0)
        stops += to_state * (stops[state] / leaves)
        rows = (rows + to_state[:, None] * row[None]).at[state].set(row).at[:, state].set(0)
    return rows[:, states:]


def _distributions(number: int, probabilities: Any, shape: tuple[int, int]) -> Any:
    """The table of probabilities, checked if it is not traced."""
    name = f"probabilities_{number}"
    table = numbers(name, probabilities)
    if table.shape != shape:
        raise ValueError(
            f"Player {number} must have one row for the start and one for every joint action, and one column for each "
            f"of its own actions, {list(shape)} by the payoffs, but its table has shape {list(table.shape)}."
        )
    if concrete(table):
        errors = np.maximum(np.abs(table.sum(axis=1) - 1), -table.min(axis=1))
        if errors.max() > _SLACK:
            row = int(np.argmax(errors))
            raise ValueError(
                f"`{name}` must hold a distribution in every row, but row {row} is {table[row].tolist()}; "
                f"pass logits to `discounted_returns` instead."
            )
    return table


def _discount(discount: Any, dtype: Any) -> Any:
    """The discount in the precision of the computation: a NumPy scalar unless it is traced."""
    discount = numbers("discount", discount)
    if discount.ndim != 0:
        raise ValueError(f"`discount` must be one number, but has shape {discount.shape}; use `jax.vmap` for several.")
    if not concrete(discount):
        return discount.astype(dtype)
    rounded = np.asarray(discount, dtype)[()]
    if not 0 <= rounded < 1:
        raise ValueError(f"`discount` must lie in [0, 1), but is {discount}, which is {rounded} in {dtype}.")
    return rounded
