"""The record of one meta-episode."""

import equinox as eqx
from jaxtyping import Array, Float, Shaped

from coala_eqx.learners import Experience
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping.probing import LearnerFeatures


class MetaEpisode(eqx.Module):
    """B meta-trajectories of M inner episodes of T steps, played against the same learning co-players.

    The unprefixed arrays are the ego agent's, `[batch, episodes, steps]`.
    """

    observations: Shaped[Array, "batch episodes steps *features"]
    """Its observations before each action."""

    actions: Shaped[Array, "batch episodes steps *action"]
    """Its actions: integers, or vectors along the last axis."""

    rewards: Float[Array, "batch episodes steps"]
    """Its rewards for them."""

    log_probs: Float[Array, "batch episodes steps"]
    """log π(action | long history; φ) of the actions; log-densities where actions are vectors."""

    values: Float[Array, "batch episodes steps"]
    """Its critic's V̂(long history); 0 for a policy without a critic."""

    co_players: tuple[Experience, ...]
    """Observations, actions and rewards of each co-player, arrays `[batch, episodes, steps, …]`."""

    co_player_policies: tuple[AbstractPolicy, ...]
    """The co-players' policies before their first update."""

    features: LearnerFeatures | None = None
    """What a probe shows of co-players and memories, if there is one."""

    @property
    def shaping_return(self) -> Float[Array, ""]:
        """(1/B) Σ_b Σ_l r_l^b, whose expectation is the objective (paper, Eq. 2)."""
        return self.rewards.sum(axis=(1, 2)).mean()
