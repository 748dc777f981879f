"""Algorithms, learning rules and critics that the settings of sampled figures describe.

Source: Meulemans et al. (2025), App. B.
"""

import dataclasses
from typing import Any

import optax

from coala_eqx import learners
from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator
from coala_eqx.foreign.loading import is_source, load_object
from coala_eqx.learners import AbstractLearner, PolicyGradient, clip_by_global_norm
from coala_eqx.training import A2C, PPO, CriticTraining, Follow
from coala_eqx.training.algorithms import AbstractActorCritic
from experiments.groups import AgentSettings, CriticSettings, LearnerSettings


def follow(agent: AgentSettings, episodes: int, *, looks_ahead: bool) -> Follow:
    """The algorithm of agents whose estimators return gradients. `episodes`: M.

    **Raises** `ValueError` for as many look-aheads as inner episodes.
    """
    if looks_ahead and agent.look_aheads >= episodes:
        raise ValueError(
            f"`agent.look_aheads` must be below episodes = {episodes}, to see their effect, but is {agent.look_aheads}."
        )
    return Follow(_optimiser(agent), agent.look_aheads + 1 if looks_ahead else None)


def actor_critic(agent: AgentSettings, iterations: int) -> AbstractActorCritic:
    """The algorithm of agents whose estimators return advantages."""
    optimiser = _optimiser(agent)
    entropy: Any = agent.entropy_coefficient
    if entropy:
        entropy = optax.linear_schedule(entropy, 0.0, max(1, round(agent.entropy_until * iterations)))
    shared: dict[str, Any] = {
        "value_coefficient": agent.value_coefficient,
        "entropy_coefficient": entropy,
        "reward_scale": agent.reward_scale,
        "td_lambda": agent.td_lambda,
        "leave_one_out": agent.leave_one_out,
        "centre": agent.centre,
    }
    if agent.algorithm == "a2c":
        return A2C(optimiser, **shared)
    return PPO(optimiser, epochs=agent.epochs, minibatches=agent.minibatches, clip=agent.clip, **shared)


def make_learner(learner: LearnerSettings, *, looked_through: bool) -> AbstractLearner:
    """The learning rule. `looked_through`: whether an estimator differentiates through it."""
    if is_source(learner.algorithm):
        return load_object(learner.algorithm, AbstractLearner, "learner")
    if learner.algorithm == "ppo":
        return learners.PPO(
            _optimiser(learner, learner.smoothing if looked_through else 0.0),
            epochs=learner.epochs,
            minibatches=learner.minibatches,
            clip=learner.clip,
            discount=learner.discount,
            normalise_advantages=True,
            reward_scale=learner.reward_scale,
        )
    return PolicyGradient(
        optimiser=_optimiser(learner, learner.smoothing if looked_through else 0.0),
        discount=learner.discount,
        baseline="critic",
        normalise_advantages=True,
        reward_scale=learner.reward_scale,
    )


def _optimiser(kind: AgentSettings | LearnerSettings, smoothing: float = 0.0) -> optax.GradientTransformation:
    """The optimiser, which clips the gradient's global norm first."""
    adam = kind.optimiser == "adam"
    step = optax.adam(kind.rate, eps=1e-5, eps_root=smoothing) if adam else optax.sgd(kind.rate)
    return optax.chain(clip_by_global_norm(kind.norm), step)


def with_critic(
    estimator: AbstractEstimator, critic: CriticSettings
) -> tuple[AbstractEstimator, CriticTraining | None]:
    """An estimator and the critic that it takes, if any. The κ of the settings replaces its own, unless it is 1."""
    takes_one = isinstance(estimator, AbstractScoreFunctionEstimator) and estimator.takes_shaping
    if not (critic.use and takes_one):
        return estimator, None
    if critic.kappa != 1 and hasattr(estimator, "kappa"):
        estimator = dataclasses.replace(estimator, kappa=critic.kappa)
    return estimator, critic.make()
