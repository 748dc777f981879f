"""The data of an actor-critic: whole trajectories, the estimator's advantages, and targets for the critic."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, Shaped

from coala_eqx._checks import check_flag, check_positive, check_share
from coala_eqx.estimators import AbstractLearnerCritic, AbstractScoreFunctionEstimator
from coala_eqx.estimators.advantages import batch_lambda_returns, next_values
from coala_eqx.shaping import MetaEpisode


class Batch(eqx.Module):
    """Trajectories of one agent. Those of all meta-episodes follow one after the other."""

    observations: Shaped[Array, "trajectories episodes steps *features"]
    actions: Shaped[Array, "trajectories episodes steps *action"]

    log_probs: Float[Array, "trajectories episodes steps"]
    """Log-probabilities of the actions under the policy that played them."""

    values: Float[Array, "trajectories episodes steps"]
    """Values of that policy's critic."""

    advantages: Float[Array, "trajectories episodes steps"]
    """B·C, where C are the estimator's coefficients. The mean over trajectories of Σ_l A_l ∇log π(a_l | h_l) is the
    estimator's gradient, averaged over meta-episodes."""

    targets: Float[Array, "trajectories episodes steps"]
    """Targets of the critic: TD(λ) returns (Eq. 10) of the rewards for which the estimator takes its values."""

    chunk: int | None = eqx.field(static=True, default=None)
    """Number of trajectories whose gradient is computed at a time; `None` for all of a step."""


def make_batch(
    estimator: AbstractScoreFunctionEstimator,
    episodes: MetaEpisode,
    *,
    reward_scale: float = 1.0,
    td_lambda: float = 1.0,
    leave_one_out: bool = False,
    centre: bool = False,
    critic: AbstractLearnerCritic | None = None,
) -> Batch:
    """The batch of meta-episodes `[meta_batch, batch, episodes, steps]`.

    **Arguments:**

    - `estimator`: the same module that is verified. Its `discount`, if it has one, is also the critic's.
    - `reward_scale`: factor of the rewards in advantages and targets. The critic has this scale.
    - `td_lambda`: λ of the critic's targets, per step. The estimator has its own λ.
    - `leave_one_out`: whether `subtract_leave_one_out` is applied to the advantages. The estimate stays unbiased.
    - `centre`: whether the mean of all advantages is subtracted from each. This biases the estimate
      (`docs/proofs.md`, normalisation). The paper calls it advantage normalisation (App. A.4).
    - `critic`: a critic that sees the learner, in units of scaled rewards. Its values are the estimator's `shaping`.
      The policy's own critic then predicts what is left of the inner episode.

    **Raises** `ValueError` for an estimator without advantages, a scale that is not positive, shares outside of [0, 1],
    or flags that are neither True nor False.
    """
    if not isinstance(estimator, AbstractScoreFunctionEstimator):
        raise ValueError(f"`estimator` must return advantages, as CoalaPG() does, but is {estimator!r}.")
    check_positive("reward_scale", reward_scale)
    check_share("td_lambda", td_lambda)
    check_flag("leave_one_out", leave_one_out)
    check_flag("centre", centre)
    rewards = reward_scale * episodes.rewards
    shaping = None
    if critic is not None:
        assert episodes.features is not None  # as the critic's probe was there in play
        shaping = jax.vmap(critic.values)(episodes.features)
    advantages = jax.vmap(estimator.checked_coefficients)(rewards, episodes.values, shaping) * rewards.shape[1]
    if leave_one_out:
        advantages = subtract_leave_one_out(advantages)
    if centre:
        advantages -= advantages.mean()

    def target(rewards: Array, values: Array) -> Array:
        if shaping is not None:  # every inner episode is a trajectory of its own
            each = [leaf.reshape(-1, 1, leaf.shape[2]) for leaf in (rewards, values)]
            return of_trajectory(*each).reshape(rewards.shape)
        return of_trajectory(rewards, values)

    def of_trajectory(rewards: Array, values: Array) -> Array:
        return batch_lambda_returns(
            estimator.critic_rewards(rewards) if shaping is None else rewards,
            next_values(values),
            discount=getattr(estimator, "discount", 1.0),
            lambda_=td_lambda,
            average_future_episodes=False,
            normalize_current_episode=False,
        )

    return Batch(
        observations=flatten_meta_batch(episodes.observations),
        actions=flatten_meta_batch(episodes.actions),
        log_probs=flatten_meta_batch(episodes.log_probs),
        values=flatten_meta_batch(episodes.values),
        advantages=flatten_meta_batch(advantages),
        targets=flatten_meta_batch(jax.vmap(target)(rewards, episodes.values)),
    )


def flatten_meta_batch(
    array: Shaped[Array, "meta_episodes batch *rest"],
) -> Shaped[Array, "trajectories *rest"]:
    """The trajectories of all meta-episodes, one after the other."""
    return array.reshape(-1, *array.shape[2:])


def subtract_leave_one_out(
    coefficients: Float[Array, "meta_episodes batch episodes steps"],
) -> Float[Array, "meta_episodes batch episodes steps"]:
    """Subtract the mean at the same time in all other meta-episodes, if there are any.

    This baseline does not depend on the actions in its own meta-episode, so the estimate stays unbiased
    (`docs/proofs.md`, normalisation). It removes most of the noise of COALA-PG's future part, which B scores multiply,
    where a critic predicts little of what learners will do: on a larger map of CleanUp-lite, but not in the dilemma
    (`docs/small_size.md`).
    """
    number, means = len(coefficients), coefficients.mean(axis=1, keepdims=True)
    return coefficients - (means.sum(axis=0) - means) / max(1, number - 1)
