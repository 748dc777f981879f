"""Measurements of an iteration of a pool."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from coala_eqx.games import AbstractDrawnGame, AbstractGame, ActionSpace, Discrete
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode
from coala_eqx.training.algorithms import UpdateInfo


class PoolInfo(eqx.Module):
    """Measurements of one iteration. Rewards are per step, in the game's own scale."""

    ego: Float[Array, "agents episodes"]
    """Rewards of the agents against naive learners, in each inner episode."""

    co_player: Float[Array, "agents episodes"]
    """Mean rewards of these naive learners; NaN in a game of one player."""

    ego_actions: Float[Array, "agents episodes actions"]
    """Frequencies of the agents' actions in these meetings. If actions are vectors, means of their components."""

    co_player_actions: Float[Array, "agents episodes naive_actions"]
    """The same for the first naive learner; of length 0 in a game of one player."""

    vs_meta: Float[Array, " agents"]
    """Rewards of the agents in meetings with other agents; NaN if there are none."""

    measures: dict[str, Float[Array, "agents episodes"]]
    """The game's own measures in meetings with naive learners."""

    measures_vs_meta: dict[str, Float[Array, " agents"]]
    """The game's own measures in meetings with other agents."""

    update: UpdateInfo
    """Measurements of the update, `[agents]`."""

    finite: Bool[Array, " agents"]
    """Whether all parameters are finite. Those of −∞, which mask an action and stay −∞, do not count."""


def info_of(
    game: AbstractGame,
    naive: Sequence[MetaEpisode],
    meta: Sequence[MetaEpisode],
    actions: tuple[ActionSpace, ...],
    update: UpdateInfo,
    finite: Bool[Array, " agents"],
) -> PoolInfo:
    """The measurements of agents with leaves `[agents, …]`.

    **Arguments:**

    - `naive`, `meta`: meta-episodes of the agents with naive learners only, and with other agents: leaves
      `[agents, meetings, batch, …]`, one entry for each seat.
    - `actions`: the action spaces of the agents and of the first naive learner, if there is one.
    """
    against_naive, against_meta = (
        jax.tree.map(lambda *leaves: jnp.concatenate(leaves, 1), *kind) for kind in (naive, meta)
    )
    own = _frequencies(against_naive.actions, actions[0])
    others, other = jnp.full_like(against_naive.rewards, jnp.nan), own[..., :0]
    if against_naive.co_players:
        others = jnp.stack([one.rewards for one in against_naive.co_players]).mean(axis=0)
        other = _frequencies(against_naive.co_players[0].actions, actions[1])
    return PoolInfo(
        ego=_by_episode(against_naive.rewards),
        co_player=_by_episode(others),
        ego_actions=own,
        co_player_actions=other,
        vs_meta=against_meta.rewards.mean(axis=(1, 2, 3, 4)),
        measures={name: by.mean(axis=(1, 2)) for name, by in measures(game, against_naive).items()},
        measures_vs_meta={name: by.mean(axis=(1, 2, 3)) for name, by in measures(game, against_meta).items()},
        update=update,
        finite=finite,
    )


def in_order(infos: Sequence[PoolInfo], groups: Sequence[Sequence[int]]) -> PoolInfo:
    """The measurements of all agents, ordered by number, from those of groups. Frequencies of missing actions are 0."""
    if len(infos) == 1:
        return infos[0]
    order = np.argsort([number for group in groups for number in group])

    def together(*leaves: Array) -> Array:
        most = [max(sizes) for sizes in zip(*(leaf.shape[1:] for leaf in leaves), strict=True)]
        filled = [
            jnp.pad(leaf, [(0, 0), *((0, size - own) for size, own in zip(most, leaf.shape[1:], strict=True))])
            for leaf in leaves
        ]
        return jnp.concatenate(filled)[order]

    return jax.tree.map(together, *infos)


def measures(game: AbstractGame, episodes: MetaEpisode) -> dict[str, Float[Array, "*axes batch episodes"]]:
    """The game's measures of meta-episodes that are stacked along any axes. Empty if the game has none."""
    if not isinstance(game, AbstractDrawnGame):
        return {}
    actions = jnp.stack([episodes.actions, *(one.actions for one in episodes.co_players)], axis=-1)
    measure: Any = game.measures
    for _ in range(actions.ndim - 2):
        measure = jax.vmap(measure)
    return measure(episodes.observations, actions)


def all_finite(agents: AbstractPolicy, before: AbstractPolicy) -> Bool[Array, " agents"]:
    """Whether each agent's parameters are finite. Those that are −∞ and were −∞ before do not count."""
    leaves = [jax.tree.leaves(eqx.filter(policies, eqx.is_inexact_array)) for policies in (agents, before)]
    finite = [
        (jnp.isfinite(new) | jnp.isneginf(new) & jnp.isneginf(old)).all(axis=tuple(range(1, new.ndim)))
        for new, old in zip(*leaves, strict=True)
    ]
    return jnp.stack(finite).all(axis=0)


def _by_episode(rewards: Float[Array, "agents opponents batch episodes steps"]) -> Float[Array, "agents episodes"]:
    return rewards.mean(axis=(1, 2, 4))


def _frequencies(
    actions: Shaped[Array, "agents opponents batch episodes steps *action"], space: ActionSpace
) -> Float[Array, "agents episodes actions"]:
    counted = jax.nn.one_hot(actions, space.n) if isinstance(space, Discrete) else actions
    return counted.mean(axis=(1, 2, 4))
