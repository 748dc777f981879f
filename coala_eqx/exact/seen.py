"""A chunk of outcomes with its meta-episodes, and the exact moments of all of them."""

import dataclasses

import equinox as eqx
import numpy as np
from jaxtyping import Float

from coala_eqx.exact.batches import Chunk
from coala_eqx.exact.chunks import features_chunk, meet_chunk
from coala_eqx.exact.ego import EgoTrajectories
from coala_eqx.exact.enumeration import Enumeration
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
    """Numbers of the trajectories, `[chunk, batch]`."""

    weights: Float[np.ndarray, " chunk"]
    """Probabilities of the batches, times multiplicities."""

    episodes: MetaEpisode
    """The meta-episodes, leaves `[chunk, batch, episodes, steps]`, without the co-players' policies."""

    co_players_log_probs: Float[np.ndarray, " chunk"]
    """Log-probabilities of all actions of all co-players."""

    least_log_prob: float
    """The least log-probability of a batch whose weight is not 0."""


def see(space: Enumeration, ego: EgoTrajectories, co_players: Policies, chunk: Chunk) -> Seen:
    """A chunk of `space`, met with these co-players."""
    log_probs, chance, episodes = meet_chunk(space.problem, co_players, space.outcomes, chunk, quick=space.quick)
    trajectories = np.asarray(chunk.trajectories)
    own, values = ego.log_probs_and_values(trajectories)
    log_probs, chance = np.asarray(log_probs), np.asarray(chance)
    with np.errstate(invalid="ignore"):  # learners may make NaN of what cannot happen, or infinite logits
        ego_log_probs = own.sum(axis=(1, 2))
        # An action that the ego agent never takes has probability 0, also where learners make NaN of it.
        impossible = np.isneginf(ego_log_probs) | np.isneginf(log_probs)
        together = np.where(impossible, -np.inf, ego_log_probs + log_probs)
        weights = np.exp(together) * chance
    least = float(np.where(weights > 0, together, 0.0).min())
    filled = [one.reshape(np.shape(episodes.actions)) for one in (own, values)]
    episodes = eqx.tree_at(lambda some: [some.log_probs, some.values], episodes, filled)
    if space.probe is not None:
        features = features_chunk(
            space.problem, space.policy, co_players, space.outcomes, space.probe, chunk, quick=space.quick
        )
        episodes = eqx.tree_at(lambda some: some.features, episodes, features, is_leaf=lambda leaf: leaf is None)
    return Seen(trajectories, weights, episodes, log_probs, least)


def earned(episodes: MetaEpisode) -> Float[np.ndarray, "chunk players episodes"]:
    """Returns of all players in each inner episode, means over the batch; meta-episodes have leaves `[chunk, …]`."""
    everyone = (episodes.rewards, *(one.rewards for one in episodes.co_players))
    return np.stack([np.asarray(one).sum(axis=3).mean(axis=1) for one in everyone], axis=1)
