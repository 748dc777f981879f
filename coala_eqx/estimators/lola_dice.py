"""LOLA-DiCE."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from coala_eqx.estimators.base import AbstractEstimator, Gradient
from coala_eqx.learners import Experience
from coala_eqx.policies import AbstractPolicy, replay_actions
from coala_eqx.shaping import MetaEpisode, ShapingProblem, alternate, replay_ego


class LolaDice(AbstractEstimator):
    """LOLA-DiCE: differentiates through the co-players' sampled updates with the DiCE operator.

    The co-players' updates are replayed on the first `episodes` − 1 inner episodes. Each reward r_k is multiplied by
    ◻(Σ_{t≤k} Σ_players log π). This factor is 1, and its derivative is that of the log-probability of everything that
    led to r_k. The return of the last inner episode, with the same factors, is differentiated with respect to the ego
    agent's parameters, through the whole chain of updates.

    It claims nothing and is compared with the look-ahead objective of Eq. 4. At a finite batch the updates are sampled,
    and the gradient of a nonlinear function of a sampled update is biased for that objective. The ego policy should
    condition on the inner episode alone, as the objective does.

    Source: Meulemans et al. (2025), Eq. 4 and Appendix E; Foerster et al. (2018b), Section 4.
    """

    unbiased_for: ClassVar[str | None] = None
    measured_against: ClassVar[str] = "lookahead_return"
    exchangeable: ClassVar[bool] = True
    needs_co_player_parameters: ClassVar[bool] = True
    needs_learning_rule: ClassVar[bool] = True
    needs_differentiable_learner: ClassVar[bool] = True

    def from_episode(self, problem: ShapingProblem, policy: AbstractPolicy, episode: MetaEpisode) -> Gradient:
        ego = Experience(episode.observations, episode.actions, episode.rewards)
        by_episode = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), (ego, episode.co_players))

        def last_return(policy: AbstractPolicy) -> Array:
            ego_log_probs, _ = replay_ego(policy, episode.observations, episode.actions)

            def visit(
                carry: None, co_players: tuple[AbstractPolicy, ...], inputs: tuple[Array, Experience, Any]
            ) -> tuple[None, tuple[Experience, ...], Array]:
                log_probs, ego, experiences = inputs
                for co_player, experience in zip(co_players, experiences, strict=True):
                    log_probs += replay_actions(co_player, experience.observations, experience.actions)[0]
                factor = _magic_box(jnp.cumsum(_possible(log_probs), axis=1))
                replayed = tuple(Experience(e.observations, e.actions, e.rewards * factor) for e in experiences)
                return carry, replayed, (ego.rewards * factor).sum(axis=1).mean()

            inputs = (jnp.moveaxis(ego_log_probs, 1, 0), *by_episode)
            _, returns = alternate(problem.learners, episode.co_player_policies, visit, None, inputs)
            return returns[-1]

        return eqx.filter_grad(last_return)(policy)


def _possible(log_probs: Float[Array, "..."]) -> Float[Array, "..."]:
    """The log-probabilities with 0 for −∞: an impossible action has no derivative, and −∞ − (−∞) is NaN."""
    return jnp.where(jnp.isneginf(log_probs), 0, log_probs)


def _magic_box(log_probs: Float[Array, "..."]) -> Float[Array, "..."]:
    """◻(x) = exp(x − stop_gradient(x)): 1 in value, ◻(x)·∇x in derivative."""
    return jnp.exp(log_probs - jax.lax.stop_gradient(log_probs))
