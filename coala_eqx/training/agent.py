"""The members of a pool: meta agents, and the naive learners that they meet."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
from jaxtyping import Array, Key

from coala_eqx._checks import check_not_negative, check_whole
from coala_eqx.arrays import concrete
from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator, BatchUnaware
from coala_eqx.estimators.base import check_contract
from coala_eqx.games import AbstractGame, ActionSpace, ObservationSpace
from coala_eqx.learners import AbstractLearner, check_learner
from coala_eqx.learners.optimising import is_optimiser
from coala_eqx.policies import AbstractPolicy, Hawk
from coala_eqx.training.algorithms import AbstractAlgorithm
from coala_eqx.training.critics import CriticTraining

MakePolicy = Callable[[Key[Array, ""]], AbstractPolicy]
"""A function key → policy."""


class Agent(eqx.Module):
    """A meta agent: its estimator, its algorithm, its network, and its seats in the game.

    **Arguments:**

    - `estimator`: the gradient estimator, the same module that is verified.
    - `algorithm`: `PPO` or `A2C` for estimators that return advantages, `Follow` for all others.
    - `policy`: a function key → policy. By default it makes a Hawk of width 32 that starts from a uniform policy.
    - `seats`: the players that the agent learns to be. By default the agent learns as player 0, and others meet it in
      any seat; the game must then be symmetric. Meetings are divided evenly among several seats, which must have equal
      numbers of observations and actions.
    - `naive_weight`: factor of the gradients of meetings with naive learners. Agents climb p_naive · naive_weight times
      their return in these meetings plus 1 − p_naive times their return in all others.
    - `meta_estimator`: the estimator for meetings with meta agents, who do not learn within a meeting. By default it is
      the plain policy gradient, `BatchUnaware`, with the discount and λ of `estimator`.
    - `critic`: a critic that sees the learner, and how it is trained. Its values are the `shaping` of `estimator`, in
      meetings with naive learners; the agent's own critic then predicts the inner episode only.

    **Raises** `ValueError` for settings of a wrong type, or that do not fit each other.

    Source: Meulemans et al. (2025), Section 5 and App. A and B.
    """

    estimator: AbstractEstimator
    algorithm: AbstractAlgorithm
    policy: MakePolicy | None = eqx.field(static=True, default=None)
    seats: tuple[int, ...] | None = eqx.field(static=True, default=None)
    naive_weight: float = 1.0
    meta_estimator: AbstractScoreFunctionEstimator | None = None
    critic: CriticTraining | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        for name, estimator in (("estimator", self.estimator), ("meta_estimator", self.meta_estimator)):
            if not isinstance(estimator, AbstractEstimator) and (name == "estimator" or estimator is not None):
                raise ValueError(f"`{name}` must be an estimator, such as CoalaPG(), but is {estimator!r}.")
            if isinstance(estimator, AbstractEstimator):
                check_contract(estimator)
        if not isinstance(self.algorithm, AbstractAlgorithm):
            given = "an optax optimiser" if is_optimiser(self.algorithm) else repr(self.algorithm)
            raise ValueError(
                f"`algorithm` must be an algorithm, such as PPO(optimiser=optax.adam(1e-3)), but is {given}."
            )
        self.algorithm.check_estimator(self.estimator)
        check_not_negative("naive_weight", self.naive_weight)
        if self.policy is not None:
            check_makes_policies("policy", self.policy)
        if self.seats is not None:
            _check_seats(self.seats)
        if not self.by_advantages and concrete(self.naive_weight) and self.naive_weight != 1:
            name = type(self.estimator).__name__
            raise ValueError(
                f"`naive_weight` balances meetings with naive learners and with meta agents, and {name} is trained "
                f"against naive learners only: leave it at 1, but it is {self.naive_weight}."
            )
        if self.meta_estimator is not None:
            _check_discounts(self.estimator, self.meta_estimator)
        _check_critic(self.estimator, self.critic)

    @property
    def by_advantages(self) -> bool:
        """Whether the estimator returns advantages."""
        return isinstance(self.estimator, AbstractScoreFunctionEstimator)

    @property
    def against_meta(self) -> AbstractScoreFunctionEstimator:
        """The estimator for meetings with meta agents."""
        if self.meta_estimator is not None:
            return self.meta_estimator
        own: dict[str, Any] = {name: getattr(self.estimator, name, 1.0) for name in ("discount", "gae_lambda")}
        return BatchUnaware(**own)

    def make(self, game: AbstractGame) -> MakePolicy:
        """The function key → policy of the agent."""
        return self.policy or default_policy(game, (self.seats or (0,))[0])


class NaiveLearners(eqx.Module):
    """The naive learners that meta agents meet.

    **Arguments:**

    - `learner`: the rule by which they learn between inner episodes.
    - `policy`: a function key → policy. By default it makes a Hawk of width 32 that starts from a uniform policy. If
      seats differ in their numbers of observations or actions, a tuple of functions, one for each seat.
    - `population`: number of fixed policies that they start from.
    - `pretraining`: number of updates that the population makes in pairs before training, by its learner.
    - `pretraining_batch`: number of games for each of these updates.

    **Raises** `ValueError` for settings of a wrong type, or numbers that are too small.
    """

    learner: AbstractLearner
    policy: MakePolicy | tuple[MakePolicy, ...] | None = eqx.field(static=True, default=None)
    population: int = eqx.field(static=True, default=10)
    pretraining: int = eqx.field(static=True, default=0)
    pretraining_batch: int = eqx.field(static=True, default=32)

    def __check_init__(self):
        check_learner("learner", self.learner)
        for make in self.policy if isinstance(self.policy, tuple) else (self.policy,):
            if make is not None:
                check_makes_policies("policy", make)
        check_whole("population", self.population, 1, "as many as the naive population has members")
        check_whole("pretraining", self.pretraining, 0)
        check_whole("pretraining_batch", self.pretraining_batch, 1)

    def make(self, game: AbstractGame, seat: int) -> MakePolicy:
        """The function key → policy of one seat."""
        if isinstance(self.policy, tuple):
            return self.policy[seat]
        return self.policy or default_policy(game, seat)


def default_policy(game: AbstractGame, seat: int) -> MakePolicy:
    """The default network of a seat: a Hawk of width 32 with read-outs that start at 0.

    Source: Meulemans et al. (2025), App. B.
    """
    return functools.partial(_hawk, (game.observation_spaces[seat], game.action_spaces[seat]))


def _hawk(spaces: tuple[ObservationSpace, ActionSpace], key: Key[Array, ""]) -> AbstractPolicy:
    return Hawk(*spaces, width=32, heads=2, head_scale=0.0, key=key)


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


def _check_seats(seats: Any) -> None:
    whole = isinstance(seats, tuple) and all(isinstance(seat, int) and not isinstance(seat, bool) for seat in seats)
    if not whole or not seats or len(set(seats)) < len(seats) or min(seats) < 0:
        raise ValueError(f"`seats` must be a tuple of different players, such as (0,) or (0, 1), but is {seats!r}.")


def _check_critic(estimator: AbstractEstimator, critic: Any) -> None:
    """**Raises** `ValueError` unless the estimator has the critic that it needs, and takes the one that it has."""
    name = type(estimator).__name__
    if critic is not None and not isinstance(critic, CriticTraining):
        raise ValueError(f"`critic` must be a CriticTraining, such as CriticTraining(), but is {critic!r}.")
    by_advantages = isinstance(estimator, AbstractScoreFunctionEstimator)
    if critic is not None and not (by_advantages and estimator.takes_shaping):
        raise ValueError(
            f"`critic` gives `shaping` to an estimator, and {name}.coefficients has no such argument: leave it out."
        )
    if by_advantages and estimator.critic is not None:
        raise ValueError(
            f"The critic of {name} in a pool is trained with the agent: leave it out of {name}(…), and give the agent "
            f"`critic=CriticTraining(…)`."
        )
    if critic is None and by_advantages and estimator.needs_shaping:
        raise ValueError(
            f"{name} needs a critic that sees the learner here (its κ is below 1, or it has no other way): give the "
            f"agent `critic=CriticTraining()`."
        )


def _check_discounts(estimator: AbstractEstimator, meta_estimator: AbstractEstimator) -> None:
    """**Raises** `ValueError` unless both discount alike, as one critic serves both."""
    discounts = [getattr(one, "discount", 1.0) for one in (estimator, meta_estimator)]
    if all(map(concrete, discounts)) and discounts[0] != discounts[1]:
        raise ValueError(
            f"`estimator` and `meta_estimator` must discount alike, as one critic serves both, but `discount` is "
            f"{discounts[0]} and {discounts[1]}."
        )
