"""LOLA with exact expectations."""

from typing import ClassVar

import equinox as eqx
from jaxtyping import Array

from coala_eqx.estimators.base import AbstractEstimator, Gradient
from coala_eqx.learners import AbstractGradientLearner, gradient_learners, init_rule
from coala_eqx.policies import AbstractPolicy
from coala_eqx.returns import episode_returns
from coala_eqx.shaping import MetaEpisode, ShapingProblem


class LolaExact(AbstractEstimator):
    """LOLA with exact expectations: ∇ J^i(φ, φ^{-i} + Σ_{q=1..n} Δ_q) with n = `episodes` − 1 expected updates.

    Nothing is sampled, so the variance is 0 unless the co-players are drawn. J^i is the expected return of one inner
    episode. Δ_q is the step of the co-player's learner along the exact gradient of its own J^{-i} (not J^i, as the
    paper prints). The derivative is total: it passes through every update. Of the meta-episode, only the co-players are
    used.

    Baselines and the normalisation of advantages do not enter, because the step follows the exact gradient.

    The ego agent's memory is fresh in that one inner episode. For a policy that remembers earlier inner episodes, the
    estimate describes its behaviour in the first.

    It needs a game that can be tabulated, and learners that ascend a gradient.

    Source: Meulemans et al. (2025), Eq. 4; Foerster et al. (2018).
    """

    unbiased_for: ClassVar[str | None] = "lookahead_return"
    exchangeable: ClassVar[bool] = True
    needs_co_player_parameters: ClassVar[bool] = True
    needs_learning_rule: ClassVar[bool] = True
    needs_gradient_learner: ClassVar[bool] = True
    needs_table: ClassVar[bool] = True
    needs_differentiable_learner: ClassVar[bool] = True

    def from_episode(self, problem: ShapingProblem, policy: AbstractPolicy, episode: MetaEpisode) -> Gradient:
        learners = gradient_learners(problem.learners)

        def lookahead_return(policy: AbstractPolicy) -> Array:
            co_players = list(episode.co_player_policies)
            states = [init_rule(learner, p) for learner, p in zip(learners, co_players, strict=True)]
            for _ in range(problem.episodes - 1):
                gradients = [
                    _own_gradient(problem, policy, co_players, index, learner) for index, learner in enumerate(learners)
                ]
                for index, learner in enumerate(learners):
                    co_players[index], states[index] = learner.ascend(
                        co_players[index], states[index], gradients[index]
                    )
            return episode_returns(problem.game, (policy, *co_players), problem.steps)[0]

        return eqx.filter_grad(lookahead_return)(policy)


def _own_gradient(
    problem: ShapingProblem,
    policy: AbstractPolicy,
    co_players: list[AbstractPolicy],
    index: int,
    learner: AbstractGradientLearner,
) -> Gradient:
    """∂J^j/∂φ^j of co-player j in one inner episode, with everybody else fixed."""

    def own_return(own: AbstractPolicy) -> Array:
        players = (policy, *co_players[:index], own, *co_players[index + 1 :])
        returns = episode_returns(problem.game, players, problem.steps, learner.discount)
        return learner.reward_scale * returns[index + 1]

    return eqx.filter_grad(own_return)(co_players[index])
