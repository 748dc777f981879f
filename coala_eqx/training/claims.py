"""Check that the estimators of a pool keep their claims at the size of the run."""

import jax.numpy as jnp

from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator
from coala_eqx.structure import certify_shaping, remark
from coala_eqx.training.agent import Agent
from coala_eqx.training.algorithms import Follow
from coala_eqx.training.pool import Pool


def broken_claims(pool: Pool) -> list[str]:
    """A sentence for each estimator that claims to be unbiased but is not, or cannot be judged, at this B, M and T.

    Some columns of each estimator's matrix are compared with Theorem 3.1 (`coala_eqx.structure.find_wrong`).
    """
    words: dict[str, None] = {}
    for agent in pool.agents:
        algorithm = agent.algorithm
        if agent.critic is not None:
            words[_with_critic(agent)] = None
        for estimator in _without_critic(agent):
            episodes = algorithm.length(estimator, pool.episodes) if isinstance(algorithm, Follow) else pool.episodes
            words[remark(estimator, pool.batch, episodes, pool.steps)] = None
    return [line for line in words if line]


def _without_critic(agent: Agent) -> tuple[AbstractEstimator, ...]:
    """The estimators that are used without a critic that sees the learner."""
    if not agent.by_advantages:
        return (agent.estimator,)
    return (agent.against_meta,) if agent.critic is not None else (agent.estimator, agent.against_meta)


def _with_critic(agent: Agent) -> str:
    """A sentence on an estimator that is given a critic that sees the learner; empty if its claim holds."""
    if agent.estimator.unbiased_for != "shaping_return":
        return ""
    assert isinstance(agent.estimator, AbstractScoreFunctionEstimator)  # as it takes a critic
    found = certify_shaping(agent.estimator.at(jnp.zeros((), int)), ((3, 3, 2),))
    if found.verdict == "unbiased":
        return ""
    name = type(agent.estimator).__name__
    if found.with_exact_critic == "unbiased":
        return (
            f"{name} puts predictions of its critic in the place of later rewards (κ below 1): it is unbiased for the "
            f"shaping_return only as far as the critic is exact."
        )
    return f"{name} is not unbiased for the shaping_return in this run: {found.note}."
