"""What an agent learns from: whole trajectories, with advantages by the estimator and targets for the critic."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, Shaped

from coala_eqx.arrays import check_flag, check_positive, check_share
from coala_eqx.estimators import AbstractScoreFunctionEstimator
from coala_eqx.estimators.advantages import batch_lambda_returns, next_values
from coala_eqx.shaping import MetaEpisode


class Batch(eqx.Module):
    """Trajectories of one agent, those of all meta-episodes in a row: arrays `[trajectories, episodes, steps]`."""

    observations: Shaped[Array, "trajectories episodes steps *features"]
    actions: Int[Array, "trajectories episodes steps"]

    log_probs: Float[Array, "trajectories episodes steps"]
    """Of the actions, by the policy that played them."""

    values: Float[Array, "trajectories episodes steps"]
    """Its critic's, then."""

    advantages: Float[Array, "trajectories episodes steps"]
    """B·C, with C the estimator's coefficients: the mean over trajectories of Σ_l A_l ∇log π(a_l | h_l) is the
    estimator's gradient, averaged over meta-episodes."""

    targets: Float[Array, "trajectories episodes steps"]
    """What the critic should say: the TD(λ) return of Eq. 10, of the rewards that the estimator's critic is of."""


def make_batch(
    estimator: AbstractScoreFunctionEstimator,
    episodes: MetaEpisode,
    *,
    reward_scale: float = 1.0,
    td_lambda: float = 1.0,
    discount: float = 1.0,
    leave_one_out: bool = False,
    centre: bool = False,
) -> Batch:
    """The batch of meta-episodes `[meta_batch, batch, episodes, steps]`.

    **Arguments:**

    - `estimator`: the very one that is verified.
    - `reward_scale`: multiplies the rewards that advantages and targets are made from; the critic is of that scale.
    - `td_lambda`, `discount`: of the critic's targets, per step; the estimator has its own.
    - `leave_one_out`: whether `less_the_others` is taken of the advantages, which leaves the estimate unbiased.
    - `centre`: whether the mean advantage, over everything, is subtracted. It biases the estimate
      (`docs/proofs.md`, normalisation), and is what the paper calls advantage normalisation (App. A.4).

    **Raises** `ValueError` for an estimator without advantages, a scale that is not positive, shares outside of [0, 1],
    or flags that are neither True nor False.
    """
    if not isinstance(estimator, AbstractScoreFunctionEstimator):
        raise ValueError(f"`estimator` must be one that gives advantages, such as CoalaPG(), but is {estimator!r}.")
    check_positive("reward_scale", reward_scale)
    check_share("td_lambda", td_lambda)
    check_share("discount", discount)
    check_flag("leave_one_out", leave_one_out)
    check_flag("centre", centre)
    rewards = reward_scale * episodes.rewards
    advantages = jax.vmap(estimator.checked_coefficients)(rewards, episodes.values) * rewards.shape[1]
    if leave_one_out:
        advantages = less_the_others(advantages)
    if centre:
        advantages -= advantages.mean()

    def target(rewards: Array, values: Array) -> Array:
        return batch_lambda_returns(
            estimator.critic_rewards(rewards),
            next_values(values),
            discount=discount,
            lambda_=td_lambda,
            average_future_episodes=False,
            normalize_current_episode=False,
        )

    return Batch(
        observations=in_a_row(episodes.observations),
        actions=in_a_row(episodes.actions),
        log_probs=in_a_row(episodes.log_probs),
        values=in_a_row(episodes.values),
        advantages=in_a_row(advantages),
        targets=in_a_row(jax.vmap(target)(rewards, episodes.values)),
    )


def in_a_row(array: Shaped[Array, "meta_episodes batch *rest"]) -> Shaped[Array, "trajectories *rest"]:
    """The trajectories of all meta-episodes."""
    return array.reshape(-1, *array.shape[2:])


def less_the_others(
    coefficients: Float[Array, "meta_episodes batch episodes steps"],
) -> Float[Array, "meta_episodes batch episodes steps"]:
    """Less their mean at the same time in all other meta-episodes, if there are any: a baseline that does not depend
    on what was done in this one, and so leaves the estimate unbiased (`docs/proofs.md`, normalisation).

    It takes most of the noise of COALA-PG's future part, which B scores multiply, where a critic tells little of
    what learners will do: on a larger map of CleanUp-lite, and not in the dilemma (`docs/small_size.md`).
    """
    number, means = len(coefficients), coefficients.mean(axis=1, keepdims=True)
    return coefficients - (means.sum(axis=0) - means) / max(1, number - 1)
