"""Direct ascent along an estimate, for estimators without advantages."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from coala_eqx._checks import check_whole
from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator
from coala_eqx.estimators.base import Gradient
from coala_eqx.learners.optimising import ascend, check_optimiser
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, ShapingProblem
from coala_eqx.training.algorithms.base import AbstractAlgorithm, AlgorithmState, UpdateInfo


class Follow(AbstractAlgorithm[Gradient]):
    """One step of the optimiser along the mean estimate of a meta-batch. There is no loss, and no critic learns.

    **Arguments:**

    - `optimiser`: any optax gradient transformation.
    - `horizon`: number of inner episodes, from the first one on, that an estimator of a look-ahead, such as LOLA-DiCE,
      sees of each meta-episode. This makes horizon − 1 look-aheads. The default is 2. All other estimators see all
      inner episodes.

    **Raises** `ValueError` unless the optimiser is one of optax and the horizon is at least 2.
    """

    uses_key: ClassVar[bool] = False

    optimiser: optax.GradientTransformation = eqx.field(static=True)
    horizon: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        check_optimiser("optimiser", self.optimiser)
        if self.horizon is not None:
            check_whole("horizon", self.horizon, 2, "as a look-ahead ends in an inner episode after the first")

    def check_estimator(self, estimator: AbstractEstimator) -> None:
        name = type(estimator).__name__
        if isinstance(estimator, AbstractScoreFunctionEstimator):
            raise ValueError(
                "Follow(…) needs an estimator without advantages, such as LolaDice(), but the agent has "
                f"{name}(): train it by PPO(optimiser) or A2C(optimiser)."
            )
        if self.horizon is not None and not is_look_ahead(estimator):
            raise ValueError(
                f"{name} estimates the gradient of a whole meta-episode, not of a look-ahead, and would climb only its "
                f"first {self.horizon} inner episodes: leave `horizon` out."
            )

    def length(self, estimator: AbstractEstimator, episodes: int) -> int:
        """Number of inner episodes, out of `episodes`, that the estimator sees.

        **Raises** `ValueError` if there are fewer than it needs.
        """
        if not is_look_ahead(estimator):
            return episodes
        horizon = self.horizon or 2
        if horizon > episodes:
            raise ValueError(f"`horizon` must lie between 2 and episodes = {episodes}, but is {horizon}.")
        return horizon

    def gradient(
        self,
        estimator: AbstractEstimator,
        make_problem: Callable[[tuple[AbstractPolicy, ...], int], ShapingProblem],
        policy: AbstractPolicy,
        episodes: MetaEpisode,
    ) -> Gradient:
        """The mean estimate over meta-episodes `[meetings, batch, …]`, which hold their co-players' policies.

        `make_problem` makes the problem of a meta-episode from co-players and a number of inner episodes.
        """
        length = self.length(estimator, episodes.actions.shape[2])

        def cut(leaf: Array) -> Array:
            return leaf[:, :length]

        def one(episode: MetaEpisode) -> Gradient:
            co_players = episode.co_player_policies
            episode = eqx.tree_at(lambda episode: episode.co_player_policies, episode, ())
            episode = eqx.tree_at(lambda episode: episode.co_player_policies, jax.tree.map(cut, episode), co_players)
            return estimator.from_episode(make_problem(co_players, length), policy, episode)

        return jax.tree.map(lambda leaf: leaf.mean(axis=0), eqx.filter_vmap(one)(episodes))

    def update(
        self, policy: AbstractPolicy, state: AlgorithmState, data: Gradient, key: Any = None
    ) -> tuple[AbstractPolicy, AlgorithmState, UpdateInfo]:
        norm = optax.tree.norm(data)
        unknown = jnp.full_like(norm, jnp.nan)
        info = UpdateInfo(unknown, unknown, gradient_norm=norm, entropy=unknown, clipped=unknown)
        policy, optimiser = ascend(self.optimiser, policy, state.optimiser, data)
        return policy, AlgorithmState(optimiser, state.updates + 1), info


def is_look_ahead(estimator: AbstractEstimator) -> bool:
    """Whether an estimator claims the gradient of a look-ahead, as LOLA-DiCE does, or is measured against it."""
    return (estimator.unbiased_for or estimator.measured_against) == "lookahead_return"
