"""Names and arguments of the previous version. They still work, and warn."""

import dataclasses
import warnings
from typing import Any

import optax

from coala_eqx._checks import check_share, check_whole
from coala_eqx.arrays import concrete
from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator, BatchUnaware
from coala_eqx.learners.base import check_learner
from coala_eqx.learners.optimising import is_optimiser
from coala_eqx.training.agent import Agent, MakePolicy, NaiveLearners, check_makes_policies
from coala_eqx.training.algorithms import AbstractActorCritic, Follow

FORMER = {
    "AbstractUpdate": "coala_eqx.training.algorithms:AbstractActorCritic",
    "Checkpoints": "coala_eqx.runs:Checkpoints",
    "CorruptCheckpointWarning": "coala_eqx.runs:CorruptCheckpointWarning",
    "chunk_for_cache": "coala_eqx.training.layout:chunk_for_cache",
    "entropy_of": "coala_eqx.policies.base:entropy_of",
    "group_for_cache": "coala_eqx.training.layout:group_for_cache",
    "in_a_row": "coala_eqx.training.batch:flatten_meta_batch",
    "less_the_others": "coala_eqx.training.batch:subtract_leave_one_out",
}
"""Former names of `coala_eqx.training`, with their new modules and names."""

_OF_ADVANTAGES: dict[str, Any] = {
    "leave_one_out": False,
    "centre": False,
    "discount": 1.0,
    "td_lambda": 1.0,
    "gae_lambda": 1.0,
    "reward_scale": 1.0,
    "naive_weight": 1.0,
    "entropy_until": None,
}
"""Former arguments of a pool that do not apply to estimators without advantages, with their defaults."""


def warn(what: str, instead: str) -> None:
    """Warn, at the line of the user's call, that something is deprecated."""
    warnings.warn(f"{what} is deprecated: use {instead}.", DeprecationWarning, stacklevel=4)


def members_of(
    *,
    learner: Any,
    update: Any,
    estimators: Any,
    horizon: int | None = None,
    group: int | None = None,
    **settings: Any,
) -> tuple[tuple[Agent, ...], NaiveLearners]:
    """The agents and naive learners that the former arguments of `Pool` describe.

    **Raises** `ValueError` for values that the former `Pool` refused, `TypeError` for arguments that it did not have.
    """
    warn(
        "Pool(learner=…, update=…, estimators=…)",
        "Pool(agents=(Agent(estimator, algorithm),), naive=NaiveLearners(learner)), with `group` in Layout",
    )
    if unknown := sorted(set(settings) - set(_OF_ADVANTAGES)):
        raise TypeError(f"Pool has no argument {unknown[0]!r}.")
    if group is not None:
        check_whole("group", group, 1)
    check_learner("learner", learner)
    if not isinstance(update, AbstractActorCritic):
        given = "an optax optimiser" if is_optimiser(update) else repr(update)
        raise ValueError(f"`update` must be an algorithm, such as PPO(optimiser=optax.adam(1e-3)), but is {given}.")
    check_estimators(estimators)
    settings = _OF_ADVANTAGES | settings
    if all(isinstance(one, AbstractScoreFunctionEstimator) for one in estimators):
        if horizon is not None:
            raise ValueError(
                "`horizon` needs estimators without advantages, and the pool's return advantages and see all inner "
                f"episodes: leave it out, but it is {horizon}."
            )
        return _by_advantages(update, estimators, settings), NaiveLearners(learner)
    _check_in_vain(update, estimators, settings)
    return tuple(Agent(one, Follow(update.optimiser, horizon)) for one in estimators), NaiveLearners(learner)


def check_estimators(estimators: Any) -> None:
    """**Raises** `ValueError` unless they are a tuple of one estimator or more."""
    if not isinstance(estimators, tuple):
        raise ValueError(f"`estimators` must be a tuple with one estimator for each agent, but is {estimators!r}.")
    if not estimators:
        raise ValueError("A pool needs an estimator for each of its agents, but `estimators` is empty.")
    for estimator in estimators:
        if not isinstance(estimator, AbstractEstimator):
            raise ValueError(f"`estimators` must be estimators, such as CoalaPG(), but one of them is {estimator!r}.")


def _by_advantages(
    update: AbstractActorCritic, estimators: tuple[AbstractEstimator, ...], settings: dict[str, Any]
) -> tuple[Agent, ...]:
    for name in ("discount", "gae_lambda"):
        check_share(name, settings[name])
    for estimator in estimators:
        _check_discount(estimator, settings["discount"])
    entropy = update.entropy_coefficient
    if (until := settings["entropy_until"]) is not None:
        check_whole("entropy_until", until, 1)
        entropy = optax.linear_schedule(entropy, 0.0, until) if not callable(entropy) else entropy
    algorithm = dataclasses.replace(
        update,
        entropy_coefficient=entropy,
        **{name: settings[name] for name in ("reward_scale", "td_lambda", "leave_one_out", "centre")},
    )
    weights = settings["naive_weight"]
    if not isinstance(weights, tuple):
        weights = (weights,) * len(estimators)
    elif len(weights) != len(estimators):
        raise ValueError(
            f"`naive_weight` must be one number, or one for each of {len(estimators)} agents, but is {weights}."
        )
    meta = BatchUnaware(discount=settings["discount"], gae_lambda=settings["gae_lambda"])
    return tuple(
        Agent(estimator, algorithm, naive_weight=weight, meta_estimator=meta)
        for estimator, weight in zip(estimators, weights, strict=True)
    )


def _check_discount(estimator: AbstractEstimator, discount: Any) -> None:
    """**Raises** `ValueError` unless the estimator discounts as the pool's critics did."""
    name, own = type(estimator).__name__, getattr(estimator, "discount", None)
    if not concrete(own) or not concrete(discount):
        return
    if own is None and discount != 1:
        raise ValueError(
            f"{name} has no `discount`, so the pool must not discount for its critics either: leave its `discount` at "
            f"1, but it is {discount}."
        )
    if own is not None and own != discount:
        raise ValueError(
            f"{name} and the critics of the pool must discount alike, but `discount` is {own} and {discount}."
        )


def _check_in_vain(
    update: AbstractActorCritic, estimators: tuple[AbstractEstimator, ...], settings: dict[str, Any]
) -> None:
    """**Raises** `ValueError` for settings that estimators without advantages ignore."""
    name = next(type(one).__name__ for one in estimators if not isinstance(one, AbstractScoreFunctionEstimator))
    for setting, unset in _OF_ADVANTAGES.items():
        value = settings[setting]
        if all(concrete(one) and one != unset for one in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(
                f"`{setting}` needs estimators that return advantages, and {name} does not: leave it at {unset}, but "
                f"it is {value}."
            )
    followed = {"value_coefficient": 0, "entropy_coefficient": 0, "epochs": 1, "minibatches": 1, "value_clip": None}
    for field in dataclasses.fields(update):
        value = getattr(update, field.name)
        heeded = field.name == "optimiser" or not concrete(value) or callable(value)
        if not heeded and value not in (field.default, followed.get(field.name, field.default)):
            raise ValueError(
                f"`{type(update).__name__}({field.name}={value})` needs a loss, but {name} is followed directly, by "
                "one step of the optimiser: leave this setting out."
            )
    if len(set(map(type, estimators))) > 1:
        raise ValueError(
            "An estimator without advantages is trained in a pool of its own against naive learners, but the pool has "
            f"{estimators}."
        )


def with_policies(
    agents: tuple[Agent, ...], naive: NaiveLearners, make_agent: MakePolicy, make_naive: MakePolicy, num_naive: int
) -> tuple[tuple[Agent, ...], NaiveLearners]:
    """The agents and naive learners with the functions that the former `Pool.init` took."""
    warn("Pool.init(make_agent, make_naive, num_naive, key)", "Agent(…, policy), NaiveLearners(…, policy, population)")
    check_whole("num_naive", num_naive, 1, "as many as the naive population has members")
    check_makes_policies("make_agent", make_agent)
    check_makes_policies("make_naive", make_naive)
    agents = tuple(dataclasses.replace(agent, policy=make_agent) for agent in agents)
    return agents, dataclasses.replace(naive, policy=make_naive, population=int(num_naive))
