"""The data from which an agent's algorithm learns: made from its meetings in an iteration."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from coala_eqx.estimators import AbstractScoreFunctionEstimator
from coala_eqx.policies import AbstractPolicy
from coala_eqx.training.agent import Agent
from coala_eqx.training.algorithms import AbstractActorCritic, Follow
from coala_eqx.training.batch import Batch
from coala_eqx.training.groups import equal
from coala_eqx.training.layout import Layout
from coala_eqx.training.play import Met, without_co_players

if TYPE_CHECKING:
    from coala_eqx.training.pool import Pool


def data_of(
    pool: "Pool", group: tuple[int, ...], index: Array, agent: AbstractPolicy, met: list[Met], layout: Layout
) -> Any:
    """The data of an agent's algorithm: a batch of trajectories, or a gradient for `Follow`.

    **Arguments:**

    - `group`, `index`: numbers of the agents that are trained together, and the agent's index among them.
    - `agent`: the agent's policy.
    - `met`: the agent's meetings, by line-up.
    """
    first, played = pool.agents[group[0]], [one for one in met if one.line_up.meetings]
    if isinstance(first.algorithm, Follow):
        gradients = [
            first.algorithm.gradient(first.estimator, functools.partial(pool.problem, one.line_up), agent, one.episodes)
            for one in played
        ]
        return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *gradients)
    assert isinstance(first.algorithm, AbstractActorCritic)
    batches = [_batch([pool.agents[number] for number in group], first.algorithm, index, one) for one in played]
    batch = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *batches)
    return dataclasses.replace(batch, chunk=layout.chunk)


def _batch(agents: list[Agent], algorithm: AbstractActorCritic, index: Array, met: Met) -> Batch:
    """The trajectories of one agent in one line-up, with its estimator's advantages."""
    against_naive, episodes = met.line_up.kind == "naive", without_co_players(met.episodes)
    kinds = [agent.estimator if against_naive else agent.against_meta for agent in agents]
    estimators = [kind for kind in kinds if isinstance(kind, AbstractScoreFunctionEstimator)]
    if all(equal(estimators[0], other) for other in estimators):
        batch = algorithm.batch(estimators[0], episodes)
    else:
        batch = jax.lax.switch(index, [functools.partial(algorithm.batch, one) for one in estimators], episodes)
    if not against_naive:
        return batch
    weights = jnp.asarray([agent.naive_weight for agent in agents], float)
    return dataclasses.replace(batch, advantages=weights[index] * batch.advantages)
