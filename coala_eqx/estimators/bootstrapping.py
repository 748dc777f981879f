"""Coefficients from a critic that sees the learner: counterfactual baselines, and TD(κ) over inner episodes.

`coala_eqx.estimators.critics` says what such a critic predicts, and when its values may be used.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from coala_eqx.arrays import Scalar, concrete
from coala_eqx.estimators.advantages import reward_and_value_arrays, td_errors
from coala_eqx.estimators.critics import check_shaping
from coala_eqx.loops import scan
from coala_eqx.returns.to_go import sums_to_go

Kappa = Any
"""κ: a number in [0, 1], one for each inner episode `[episodes]`, or a schedule over updates."""


def shaped_advantages(
    rewards: Any,
    values: Any,
    future: Float[Array, "batch episodes"],
    *,
    discount: Scalar = 1.0,
    gae_lambda: Scalar = 1.0,
    own_weight: Scalar,
) -> Float[Array, "batch episodes steps"]:
    """Generalised advantages of the own inner episode, weighted, plus a given advantage of everything after it.

    **Arguments:**

    - `rewards`, `values` `[batch, episodes, steps]`: rewards, and V̂(h_l) of what is left of this *inner episode*.
      `None` for no values.
    - `future`: the advantage of what comes after each inner episode, for the actions of each trajectory, as seen at the
      start of the next one.
    - `discount`, `gae_lambda`: factors per step. λ works within the inner episode only.
    - `own_weight`: weight of the own inner episode.

    **Raises** `ValueError` for other shapes.
    """
    rewards, values = reward_and_value_arrays("values", rewards, values)
    steps = rewards.shape[2]
    # Every inner episode is a trajectory of its own.
    alone = None if values is None else values.reshape(-1, 1, steps)
    errors = td_errors(rewards.reshape(-1, 1, steps), alone, discount)
    own = sums_to_go(errors.reshape(-1, steps), discount * gae_lambda).reshape(rewards.shape)
    return own_weight * own + discount ** (steps - jnp.arange(steps)) * future.astype(rewards.dtype)[..., None]


def bootstrapped_futures(
    rewards: Float[Array, "batch episodes steps"],
    after: Float[Array, " episodes"],
    *,
    discount: Scalar = 1.0,
    kappa: Any = 1.0,
) -> Float[Array, " episodes"]:
    """F̂_m, the mean return over the batch after inner episode m, in part sampled and in part predicted.

    F̂_m = (1 − κ_{m+1})·W_{m+1} + κ_{m+1}·(r̄_{m+1} + F̂_{m+1}), and 0 after the last. With κ = 1 it is sampled, with
    κ = 0 it is the prediction. This is TD(κ) from one inner episode to the next. Unlike with λ, the signal that passes
    through the co-players' learning does not fade: W_{m+1} knows what they have learned.

    **Arguments:**

    - `after`: W_{m+1}, the prediction after each inner episode.
    - `discount`: factor per step.
    - `kappa`: κ, a number or one for each inner episode `[episodes]`, of which the first is not used.
    """
    mean = inner_returns(rewards, discount).mean(axis=0)
    kappas = jnp.broadcast_to(jnp.asarray(kappa, mean.dtype), mean.shape)
    shorter = discount ** rewards.shape[2]

    def back(future: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        mean, after, kappa = inputs
        future = (1 - kappa) * after + kappa * (mean + shorter * future)
        return future, future

    inputs = mean[1:], after.astype(mean.dtype)[:-1], kappas[1:]
    nothing = jnp.zeros_like(mean[:1])
    if len(mean) == 1:
        return nothing
    _, futures = scan(back, nothing[0], inputs, reverse=True)
    return jnp.concatenate([futures, nothing])


def own_futures(
    rewards: Float[Array, "batch episodes steps"], *, discount: Scalar = 1.0
) -> Float[Array, "batch episodes"]:
    """The return of each trajectory after each inner episode."""
    earned = inner_returns(rewards, discount)
    later = jnp.concatenate([earned[:, 1:], jnp.zeros_like(earned[:, :1])], axis=1)
    return sums_to_go(later, discount ** rewards.shape[2])


def inner_returns(rewards: Float[Array, "batch episodes steps"], discount: Scalar) -> Float[Array, "batch episodes"]:
    """The return of each trajectory in each inner episode, as seen from its start."""
    return (rewards * discount ** jnp.arange(rewards.shape[2])).sum(axis=2)


def learner_aware_advantages(
    estimator: Any, rewards: Any, values: Any, shaping: Any, *, average_own: bool
) -> Float[Array, "batch episodes steps"]:
    """C = w·A(own inner episode) + F̂_m − W(X_{m+1}^(−b)), with F̂ by TD(κ), and w = 1/B if `average_own`, else 1.

    **Arguments:**

    - `estimator`: has `discount`, `gae_lambda` and `kappa`.
    - `rewards`, `values`, `shaping`: those of its `coefficients`.

    **Raises** `ValueError` for arrays of other shapes, and for κ that is not fixed or does not fit.
    """
    rewards, values = reward_and_value_arrays("values", rewards, values)
    shaping = check_shaping(shaping, rewards.shape)
    check_fixed(estimator.kappa, rewards.shape[1])
    future = bootstrapped_futures(rewards, shaping.after, discount=estimator.discount, kappa=estimator.kappa)
    return shaped_advantages(
        rewards,
        values,
        future - shaping.without.astype(rewards.dtype),
        discount=estimator.discount,
        gae_lambda=estimator.gae_lambda,
        own_weight=1 / len(rewards) if average_own else 1.0,
    )


def check_kappa(kappa: Kappa) -> None:
    """**Raises** `ValueError` unless κ lies in [0, 1], or is a schedule."""
    if callable(kappa) or not concrete(kappa):
        return
    try:
        numbers = np.asarray(kappa, float)
    except (TypeError, ValueError):
        numbers = np.full((), np.nan)
    if isinstance(kappa, bool | str) or numbers.ndim > 1 or not ((numbers >= 0) & (numbers <= 1)).all():
        raise ValueError(
            f"`kappa` must lie between 0 and 1, a number or one for each inner episode, or be a schedule, but is "
            f"{kappa!r}."
        )


def check_fixed(kappa: Kappa, episodes: int) -> None:
    """**Raises** `ValueError` if κ is a schedule, or has another number of entries than there are inner episodes."""
    if callable(kappa):
        raise ValueError(
            "`kappa` is a schedule, which has a value in training only: use `estimator.at(updates)` for its value "
            "after some updates."
        )
    if jnp.ndim(kappa) and jnp.shape(kappa) != (episodes,):
        raise ValueError(
            f"`kappa` must be a number or have one entry for each of {episodes} inner episodes, but has shape "
            f"{jnp.shape(kappa)}."
        )


def bootstraps(kappa: Kappa) -> bool:
    """Whether κ differs from 1, so that predictions take the place of samples. Traced values are not looked at."""
    return callable(kappa) or (concrete(kappa) and not np.all(np.asarray(kappa) == 1))


def check_unshaped(kappa: Kappa, name: str) -> None:
    """**Raises** `ValueError` if κ differs from 1 where there is no critic that sees the learner."""
    if bootstraps(kappa):
        raise ValueError(
            f"{name}(kappa={kappa}) puts predictions in the place of later inner episodes, and needs a critic that "
            f"sees the learner: train it with `Agent(…, critic=CriticTraining())`, pass `shaping` to `coefficients`, "
            f"or leave `kappa` at 1."
        )
