"""Random critics that see the learner, for certificates."""

import dataclasses

import jax

from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator, Inapplicable, LearnerCritic
from coala_eqx.estimators.critics import sizes_of
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import LearnerFeatures, ShapingProblem, probe_game


def with_random_critic(
    estimator: AbstractEstimator, problem: ShapingProblem, policy: AbstractPolicy, seed: int = 0
) -> AbstractEstimator:
    """The estimator with a critic of random weights, if it takes a critic that sees the learner.

    What is unbiased with it is so for any critic, but for a coincidence.
    """
    if not isinstance(estimator, AbstractScoreFunctionEstimator) or not estimator.takes_shaping:
        return estimator
    return dataclasses.replace(estimator, critic=random_critic(problem, policy, seed))


def random_critic(problem: ShapingProblem, policy: AbstractPolicy, seed: int = 0) -> LearnerCritic:
    """A critic of random weights, which fits a problem."""
    probe = probe_game(problem.game)

    def play() -> LearnerFeatures:
        features = problem.play(policy, jax.random.key(0), probe).features
        assert features is not None  # as there is a probe
        return features

    return LearnerCritic(probe, **sizes_of(jax.eval_shape(play)), width=8, last=2.0, key=jax.random.key(seed))


def check_critic(estimator: AbstractEstimator) -> None:
    """**Raises** `Inapplicable` if an estimator lacks the critic that it needs."""
    by_coefficients = isinstance(estimator, AbstractScoreFunctionEstimator)
    if by_coefficients and estimator.needs_shaping and estimator.critic is None:
        name = type(estimator).__name__
        raise Inapplicable(
            f"{name} cannot be applied: it needs a critic that sees the learner, such as {name}(…, critic=W); "
            f"`coala-eqx verify --critic learner` gives it a random one."
        )
