"""Random critics that see the learner, for certificates."""

import dataclasses

import jax

from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator, Inapplicable
from coala_eqx.estimators.critics import fitting_critic
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import ShapingProblem, probe_game


def with_random_critic(
    estimator: AbstractEstimator, problem: ShapingProblem, policy: AbstractPolicy, seed: int = 0
) -> AbstractEstimator:
    """The estimator with a critic of random weights, if it takes a critic that sees the learner.

    What is unbiased with it is so for any critic, but for a coincidence.
    """
    if not isinstance(estimator, AbstractScoreFunctionEstimator) or not estimator.takes_shaping:
        return estimator
    critic = fitting_critic(problem, policy, probe_game(problem.game), width=8, last=2.0, key=jax.random.key(seed))
    return dataclasses.replace(estimator, critic=critic)


def check_critic(estimator: AbstractEstimator) -> None:
    """**Raises** `Inapplicable` if an estimator lacks the critic that it needs."""
    by_coefficients = isinstance(estimator, AbstractScoreFunctionEstimator)
    if by_coefficients and estimator.needs_shaping and estimator.critic is None:
        name = type(estimator).__name__
        raise Inapplicable(
            f"{name} cannot be applied: it needs a critic that sees the learner, such as {name}(…, critic=W); "
            f"`coala-eqx verify --critic learner` gives it a random one."
        )
