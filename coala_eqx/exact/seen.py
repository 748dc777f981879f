"""What is seen of one chunk of outcomes, and what is told of all of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from coala_eqx.exact.batches import Chunk
from coala_eqx.exact.chunks import meet_chunk
from coala_eqx.exact.ego import EgoTrajectories
from coala_eqx.exact.enumeration import Enumeration
from coala_eqx.exact.programs import compiled
from coala_eqx.learners import Experience
from coala_eqx.shaping import MetaEpisode
from coala_eqx.shaping.learning import Policies


@dataclasses.dataclass(frozen=True)
class Exact:
    """A vector over the policy's parameters, with a bound on its rounding error."""

    vector: np.ndarray
    """`[parameters]`, in the order of `ravel_pytree`."""

    error: float
    """A bound on the Euclidean norm of its rounding error."""


@dataclasses.dataclass(frozen=True)
class Estimated:
    """Exact moments of an estimator."""

    mean: Exact
    """E[ĝ]."""

    noise: float
    """√E‖ĝ − E[ĝ]‖²."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """A chunk of batches of trajectories."""

    trajectories: np.ndarray
    """`[chunk, batch]`: their numbers."""

    weights: Float[np.ndarray, " chunk"]
    """The probabilities, times multiplicities."""

    episodes: MetaEpisode
    """Leaves `[chunk, batch, episodes, steps]`; without the co-players' policies."""

    experiences: tuple[Experience, ...]
    """Everybody's."""

    least_log_prob: float
    """Of the batches whose weight is not 0."""


def see(space: Enumeration, ego: EgoTrajectories, co_players: Policies, chunk: Chunk) -> Seen:
    """A chunk of `space`, met with these co-players."""
    log_probs, chance, experiences = meet_chunk(space.problem, co_players, space.outcomes, chunk, quick=space.quick)
    trajectories = np.asarray(chunk.trajectories)
    own, values = ego.log_probs_and_values(trajectories)
    weights, least, episodes = _weigh(own, values, log_probs, chance, experiences, quick=space.quick)
    return Seen(trajectories, np.asarray(weights), episodes, experiences, float(least))


@compiled
def _weigh(
    ego: Float[Array, "chunk batch long"],
    values: Float[Array, "chunk batch long"],
    others: Float[Array, " chunk"],
    chance: Float[Array, " chunk"],
    experiences: tuple[Experience, ...],
) -> tuple[Float[Array, " chunk"], Float[Array, ""], MetaEpisode]:
    """The probability of each batch, log p of the least likely one that counts, and the meta-episodes."""
    # What the ego agent would never do has probability 0, whatever learners make of it.
    impossible = jnp.isneginf(ego.sum(axis=(1, 2))) | jnp.isneginf(others)
    log_probs = jnp.where(impossible, -jnp.inf, ego.sum(axis=(1, 2)) + others)
    weights = jnp.exp(log_probs) * chance
    least = jnp.where(weights > 0, log_probs, 0.0).min()
    return weights, least, jax.vmap(_episode)(ego, values, experiences)


def _episode(
    log_probs: Float[Array, "batch long"], values: Float[Array, "batch long"], experiences: tuple[Experience, ...]
) -> MetaEpisode:
    """One meta-episode, without the co-players' policies."""
    own, *others = experiences
    return MetaEpisode(
        observations=own.observations,
        actions=own.actions,
        rewards=own.rewards,
        log_probs=log_probs.reshape(own.actions.shape),
        values=values.reshape(own.actions.shape),
        co_players=tuple(others),
        co_player_policies=(),
    )
