"""The objectives, computed from all outcomes."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from coala_eqx.estimators.objectives import OBJECTIVES
from coala_eqx.exact.outcomes import InnerOutcomes
from coala_eqx.learners import AbstractGradientLearner, gradient_learners, init_rule
from coala_eqx.policies import AbstractPolicy, replay_actions
from coala_eqx.shaping import MetaEpisode, ShapingProblem
from coala_eqx.shaping.learning import Policies


class EpisodeReturn(eqx.Module):
    """(1/B) Σ_b Σ_m weight_m · (return of trajectory b in inner episode m).

    The weights are an array, so that one compiled program serves all objectives of this form.
    """

    weights: Float[np.ndarray, " episodes"]

    def __call__(self, problem: ShapingProblem, policy: AbstractPolicy, episode: MetaEpisode) -> Float[Array, ""]:
        return episode.rewards.sum(axis=2).mean(axis=0) @ self.weights


def as_episode_return(objective: str, episodes: int) -> EpisodeReturn | None:
    """The objective as a function of a meta-episode whose expectation it is; `None` if there is no such function.

    **Raises** `ValueError` for an unknown objective.
    """
    if objective == "shaping_return":
        return EpisodeReturn(np.ones(episodes))
    if objective == "last_episode_return":
        return EpisodeReturn(np.eye(episodes)[-1])
    if objective == "lookahead_return":
        return None
    raise ValueError(f"Unknown objective {objective!r}; known are {', '.join(map(repr, OBJECTIVES))}.")


def lookahead_return(
    problem: ShapingProblem, policy: AbstractPolicy, co_players: Policies, outcomes: InnerOutcomes
) -> Float[Array, ""]:
    """J^i(φ, φ^{-i} + Σ_{q=1..M−1} Δ_q) of one inner episode, Δ_q along the exact ∂J^{-i}/∂φ^{-i} (paper, Eq. 4).

    All co-players step at once. This is a sum over listed outcomes, while `estimators.LolaExact` goes along the tree
    of histories: two routes to one number.
    """
    learners = gradient_learners(problem.learners)
    states = tuple(init_rule(learner, policy) for learner, policy in zip(learners, co_players, strict=True))
    for _ in range(problem.episodes - 1):
        players = (policy, *co_players)
        stepped = [
            learner.ascend(players[number], state, _own_gradient(players, number, outcomes, learner))
            for number, (learner, state) in enumerate(zip(learners, states, strict=True), start=1)
        ]
        co_players, states = tuple(p for p, _ in stepped), tuple(s for _, s in stepped)
    return _mean_return((policy, *co_players), 0, outcomes)


def _own_gradient(
    players: Policies, number: int, outcomes: InnerOutcomes, learner: AbstractGradientLearner
) -> AbstractPolicy:
    def own_return(own: AbstractPolicy) -> Array:
        changed = (*players[:number], own, *players[number + 1 :])
        return learner.reward_scale * _mean_return(changed, number, outcomes, learner.discount)

    return eqx.filter_grad(own_return)(players[number])


def _mean_return(players: Policies, number: int, outcomes: InnerOutcomes, discount: float = 1.0) -> Array:
    """The expected return of player `number` in one inner episode."""
    log_probs = jnp.zeros(len(outcomes.chance))
    for other, policy in enumerate(players):
        own = outcomes.observations[:, :, other], outcomes.actions[:, :, other]
        log_probs += replay_actions(policy, *own)[0].sum(axis=1)
    steps = outcomes.rewards.shape[1]
    returns = outcomes.rewards[:, :, number] @ discount ** jnp.arange(steps)
    return jnp.sum(outcomes.chance * jnp.exp(log_probs) * returns)
