"""Whether the settings of a pool fit each other, and whether any of them would be set in vain."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from coala_eqx.arrays import (
    check_flag,
    check_not_negative,
    check_positive,
    check_share,
    check_whole,
    concrete,
)
from coala_eqx.estimators import AbstractEstimator
from coala_eqx.estimators.base import check_contract
from coala_eqx.games import AbstractGame, MatrixGame
from coala_eqx.learners import check_learner
from coala_eqx.learners.optimising import is_optimiser
from coala_eqx.policies import AbstractPolicy
from coala_eqx.training.updates import AbstractUpdate

if TYPE_CHECKING:
    from coala_eqx.training.pool import Pool

IN_VAIN = {
    "leave_one_out": False,
    "centre": False,
    "discount": 1.0,
    "td_lambda": 1.0,
    "gae_lambda": 1.0,
    "reward_scale": 1.0,
    "naive_weight": 1.0,
    "entropy_until": None,
}
"""Settings of a pool that do not apply to estimators without advantages, and their values then."""


def is_look_ahead(estimator: AbstractEstimator) -> bool:
    """Whether an estimator is of a look-ahead, such as LOLA-DiCE: it claims its gradient, or is measured against it."""
    return (estimator.unbiased_for or estimator.measured_against) == "lookahead_return"


def check_pool(pool: "Pool") -> None:
    """**Raises** `ValueError` for settings of wrong types, that do not fit each other, or that nothing heeds."""
    check_kinds(pool)
    check_numbers(pool)
    check_opponents(pool)
    check_baselines(pool)
    check_discounts(pool)
    if pool.num_meta or pool.dynamic_naive:
        check_symmetric(pool.game)
    if not pool.by_advantages:
        check_followed_directly(pool)
    elif pool.horizon is not None:
        raise ValueError(
            "`horizon` is of estimators that are no score functions, and the pool's see all inner episodes: leave it "
            f"out, but it is {pool.horizon}."
        )


def check_kinds(pool: "Pool") -> None:
    """**Raises** `ValueError` unless game, learner, update and estimators are what they are called."""
    if not isinstance(pool.game, AbstractGame):
        raise ValueError(
            "`game` must be a game (an AbstractGame), such as games.iterated_prisoners_dilemma(), but is "
            f"{pool.game!r}."
        )
    if pool.game.num_players != 2:
        raise ValueError(f"A pool plays games of two players, but the game has {pool.game.num_players}.")
    check_learner("learner", pool.learner)
    if not isinstance(pool.update, AbstractUpdate):
        given = "an optax optimiser" if is_optimiser(pool.update) else repr(pool.update)
        raise ValueError(f"`update` must be one of agents, such as PPO(optimiser=optax.adam(1e-3)), but is {given}.")
    check_estimators(pool.estimators)


def check_estimators(estimators: Any) -> None:
    """**Raises** `ValueError` unless they are a tuple of estimators, at least one."""
    if not isinstance(estimators, tuple):
        raise ValueError(f"`estimators` must be a tuple, of one for each agent, but is {estimators!r}.")
    if not estimators:
        raise ValueError("A pool needs an estimator for each of its agents, but `estimators` is empty.")
    for estimator in estimators:
        if not isinstance(estimator, AbstractEstimator):
            raise ValueError(f"`estimators` must be estimators, such as CoalaPG(), but one of them is {estimator!r}.")
        check_contract(estimator)


def check_numbers(pool: "Pool") -> None:
    """**Raises** `ValueError` for numbers and flags that mean nothing by themselves."""
    for name in ("p_naive", "discount", "td_lambda", "gae_lambda"):
        check_share(name, getattr(pool, name))
    for name in ("dynamic_naive", "leave_one_out", "centre"):
        check_flag(name, getattr(pool, name))
    for name in ("entropy_until", "group", "horizon"):
        if (value := getattr(pool, name)) is not None:
            check_whole(name, value, 1)
    check_positive("reward_scale", pool.reward_scale)
    weights = pool.naive_weight if isinstance(pool.naive_weight, tuple) else (pool.naive_weight,)
    for weight in weights:
        check_not_negative("naive_weight", weight)
    if isinstance(pool.naive_weight, tuple) and len(weights) != len(pool.estimators):
        raise ValueError(
            f"`naive_weight` must be one number, or one for each of {len(pool.estimators)} agents, but is "
            f"{pool.naive_weight}."
        )


def check_opponents(pool: "Pool") -> None:
    """**Raises** `ValueError` unless a whole number of opponents is of each kind, and there are others to meet."""
    if abs(pool.p_naive * pool.meta_batch - pool.num_naive) > 1e-9:
        raise ValueError(
            f"p_naive · meta_batch must be a whole number of opponents, but is {pool.p_naive} · {pool.meta_batch}; "
            f"{pool.num_naive / pool.meta_batch:g} would do."
        )
    if pool.num_meta and len(pool.estimators) < 2:
        raise ValueError(
            f"An agent does not play itself: with p_naive = {pool.p_naive} below 1 a pool needs two agents or more."
        )


def check_baselines(pool: "Pool") -> None:
    """**Raises** `ValueError` for a baseline that there are too few opponents for, or two that are one."""
    if pool.leave_one_out and 1 in {pool.num_naive, pool.num_meta}:
        raise ValueError(
            "`leave_one_out` needs two opponents of a kind or more, but there are "
            f"{pool.num_naive} naive and {pool.num_meta} meta opponents."
        )
    if pool.leave_one_out and pool.centre:
        raise ValueError(
            "With `leave_one_out` the mean of all advantages is 0, and `centre` does nothing: set it False."
        )


def check_discounts(pool: "Pool") -> None:
    """**Raises** `ValueError` unless the estimators discount as the pool's critics do."""
    if not pool.by_advantages:
        return  # there is no critic
    for estimator in pool.estimators:
        name, discount = type(estimator).__name__, getattr(estimator, "discount", None)
        if not concrete(discount) or not concrete(pool.discount):
            continue
        if discount is None and pool.discount != 1:
            raise ValueError(
                f"{name} does not discount, as it has no `discount`, and the pool, for its critics, must not either: "
                f"leave its `discount` at 1, but it is {pool.discount}."
            )
        if discount is not None and discount != pool.discount:
            raise ValueError(
                f"{name} and the pool, for its critics, must discount alike, but `discount` is {discount} and "
                f"{pool.discount}."
            )


def check_followed_directly(pool: "Pool") -> None:
    """**Raises** `ValueError` for settings that estimators without advantages do not heed, which would be in vain, and
    for a `horizon` that cuts off what an estimator is of.
    """
    name = type(pool.estimators[0]).__name__
    for setting, unset in IN_VAIN.items():
        value = getattr(pool, setting)
        if all(concrete(one) and one != unset for one in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(
                f"`{setting}` is of advantages, which the pool's estimators, {name}, do not give: leave it at {unset}, "
                f"but it is {value}."
            )
    for setting in pool.update.set_in_vain():
        raise ValueError(
            f"`{type(pool.update).__name__}({setting})` is of a loss, but {name} is followed directly, by one step of "
            "the optimiser: leave this setting out."
        )
    if len(set(map(type, pool.estimators))) > 1 or pool.num_meta:
        raise ValueError(
            "Estimators that are no score functions are trained in pools of their own against naive learners, "
            f"but the pool has {pool.estimators} and p_naive = {pool.p_naive}."
        )
    if pool.looks_ahead:
        if not 1 < pool.length <= pool.episodes:
            raise ValueError(f"`horizon` must lie between 2 and episodes = {pool.episodes}, but is {pool.length}.")
    elif pool.length != pool.episodes:
        raise ValueError(
            f"{name} is of all of a meta-episode, not of a look-ahead, and would climb the first {pool.length} of "
            f"{pool.episodes} inner episodes only: leave `horizon` out, but it is {pool.horizon}."
        )


def check_symmetric(game: AbstractGame) -> None:
    """**Raises** `ValueError` unless the game is the same for both of its players, as far as can be seen: by numbers of
    observations and actions, and the payoffs of a `MatrixGame`.
    """
    alike = game.num_observations[0] == game.num_observations[1] and game.num_actions[0] == game.num_actions[1]
    if alike and isinstance(game, MatrixGame) and concrete(game.payoffs):
        own, others = np.asarray(game.payoffs)
        alike = np.array_equal(own.T, others)
    if not alike:
        raise ValueError(
            "Agents learn as player 0 and some are met as player 1, so that the game must be symmetric, the same seen "
            f"from either seat, but this {type(game).__name__} is not. Number the second player's actions so that it "
            "is, or let agents meet naive learners only (p_naive = 1) of a population that has not learned before."
        )


def check_makes_policies(name: str, value: Any) -> None:
    """**Raises** `ValueError` unless the value can be a function key → policy."""
    given = None
    if isinstance(value, AbstractPolicy):
        given = f"a policy, {type(value).__name__}"
    elif isinstance(value, type):
        given = f"a class, {value.__name__}"
    elif not callable(value):
        given = repr(value)
    if given is not None:
        raise ValueError(
            f"`{name}` must be a function key → policy, such as lambda key: GRU(5, 2, key=key), but is {given}."
        )


def static_number(value: Any) -> Any:
    """An array of one number as that number, so that it can be a static field; all else as it is."""
    return value.item() if isinstance(value, jax.Array | np.ndarray) and concrete(value) and value.ndim == 0 else value
