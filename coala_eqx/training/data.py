"""The data from which an agent's algorithm learns: made from its meetings in an iteration."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from coala_eqx.estimators import AbstractLearnerCritic, AbstractScoreFunctionEstimator
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode
from coala_eqx.training.agent import Agent
from coala_eqx.training.algorithms import AbstractActorCritic, Follow
from coala_eqx.training.batch import Batch
from coala_eqx.training.critics import CriticState
from coala_eqx.training.groups import equal
from coala_eqx.training.layout import Layout
from coala_eqx.training.play import Met, without_co_players

if TYPE_CHECKING:
    from coala_eqx.training.pool import Pool


def data_of(
    pool: "Pool",
    group: tuple[int, ...],
    index: Array,
    agent: AbstractPolicy,
    met: list[Met],
    layout: Layout,
    *,
    critic: AbstractLearnerCritic | None = None,
    updates: Array | None = None,
) -> Any:
    """The data of an agent's algorithm: a batch of trajectories, or a gradient for `Follow`.

    **Arguments:**

    - `group`, `index`: numbers of the agents that are trained together, and the agent's index among them.
    - `agent`: the agent's policy.
    - `met`: the agent's meetings, by line-up.
    - `critic`: the critic that sees the learner, if the agents have one.
    - `updates`: number of updates so far, for schedules of estimators.
    """
    first, played = pool.agents[group[0]], [one for one in met if one.line_up.meetings]
    if isinstance(first.algorithm, Follow):
        gradients = [
            first.algorithm.gradient(first.estimator, functools.partial(pool.problem, one.line_up), agent, one.episodes)
            for one in played
        ]
        return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *gradients)
    assert isinstance(first.algorithm, AbstractActorCritic)
    agents = [pool.agents[number] for number in group]
    batches = [_batch(agents, first.algorithm, index, one, critic, updates) for one in played]
    batch = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *batches)
    return dataclasses.replace(batch, chunk=layout.chunk)


def learn_critic(agent: Agent, state: CriticState | None, met: list[Met], key: Key[Array, ""]) -> CriticState | None:
    """The state of an agent's critic after it has learned from the meetings with naive learners."""
    played = [one.episodes for one in met if one.line_up.kind == "naive" and one.line_up.meetings]
    if agent.critic is None or state is None or not played:
        return state
    parts = [eqx.filter((one.rewards, one.features), eqx.is_array) for one in played]
    rewards, features = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    scale = agent.algorithm.reward_scale if isinstance(agent.algorithm, AbstractActorCritic) else 1.0
    return agent.critic.update(state, features, scale * rewards, getattr(agent.estimator, "discount", 1.0), key)


def _batch(
    agents: list[Agent],
    algorithm: AbstractActorCritic,
    index: Array,
    met: Met,
    critic: AbstractLearnerCritic | None,
    updates: Array | None,
) -> Batch:
    """The trajectories of one agent in one line-up, with its estimator's advantages."""
    against_naive, episodes = met.line_up.kind == "naive", without_co_players(met.episodes)
    kinds = [agent.estimator if against_naive else agent.against_meta for agent in agents]
    estimators = [kind for kind in kinds if isinstance(kind, AbstractScoreFunctionEstimator)]
    critic = critic if against_naive else None

    def make(estimator: AbstractScoreFunctionEstimator, episodes: MetaEpisode) -> Batch:
        return algorithm.batch(estimator.at(updates), episodes, critic)

    if all(equal(estimators[0], other) for other in estimators):
        batch = make(estimators[0], episodes)
    else:
        batch = jax.lax.switch(index, [functools.partial(make, one) for one in estimators], episodes)
    if not against_naive:
        return batch
    weights = jnp.asarray([agent.naive_weight for agent in agents], float)
    return dataclasses.replace(batch, advantages=weights[index] * batch.advantages)
