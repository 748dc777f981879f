"""Exact critics as tables over the own history."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from coala_eqx.estimators.advantages import batch_lambda_returns
from coala_eqx.exact.enumeration import LIMIT
from coala_eqx.exact.expectation import expectation
from coala_eqx.exact.precision import in_float64
from coala_eqx.policies import AbstractPolicy, FullHistory
from coala_eqx.shaping import MetaEpisode, ShapingProblem

Target = Callable[[Array, Array], Array]
"""(rewards, values) → the targets of a critic; all arrays `[batch, episodes, steps]`."""


def own_return(rewards: Array, values: Array) -> Array:
    """Σ_{k≥l} r_k^b, the rest of the own meta-trajectory: the target of the paper's critic (Eq. 10)."""
    del values
    return batch_lambda_returns(rewards, average_future_episodes=False, normalize_current_episode=False)


@in_float64
def exact_critic(problem: ShapingProblem, policy: FullHistory, target: Target, *, limit: int = LIMIT) -> FullHistory:
    """The policy with the critic V(h) = E[target_l^b | h_l^b = h], and 0 for histories that cannot occur.

    **Arguments:**

    - `target`: the critic's target, a function of the rewards and of the values of the policy's present critic. It
      must permute its results if the trajectories are permuted: `own_return` for the paper's Eq. 10, an estimator's
      `coefficients` for Eq. 8.
    - `limit`: as in `expectation`.

    **Raises** `ValueError` if the policy is not a table, and as `expectation` does.

    Source: Meulemans et al. (2025), Eqs 8 and 10.
    """
    total, visits = sums_by_history(problem, policy, target, limit=limit)
    return policy.with_critic(jnp.where(visits > 0, total / jnp.where(visits > 0, visits, 1.0), 0.0))


@in_float64
def sums_by_history(
    problem: ShapingProblem, policy: AbstractPolicy, target: Target, *, limit: int = LIMIT
) -> tuple[Float[Array, " histories"], Float[Array, " histories"]]:
    """E[Σ_b Σ_l 1{h_l^b = h} · target_l^b] and E[Σ_b Σ_l 1{h_l^b = h}] for every row h of the policy's table.

    Their ratio is E[target | h]; where the second is 0, the history cannot occur. Arguments and errors are those of
    `exact_critic`.
    """
    if not isinstance(policy, FullHistory):
        raise ValueError(
            f"Histories are rows of a table, but the policy is a {type(policy).__name__}; make one by "
            f"`FullHistory.tabulate(policy, game, steps)`."
        )
    return expectation(_SumsByHistory(target), problem, policy, exchangeable=True, limit=limit)


class _SumsByHistory(eqx.Module):
    """The sums of one meta-episode. A module, not a closure, so that it is compiled once for each target."""

    target: Target

    def __call__(self, problem: ShapingProblem, policy: AbstractPolicy, episode: MetaEpisode) -> tuple[Array, Array]:
        assert isinstance(policy, FullHistory)  # for the type checker
        long = (problem.batch, problem.episodes * problem.steps)
        rows = policy.rows(episode.observations.reshape(long), episode.actions.reshape(long)).ravel()
        blank = jnp.zeros(policy.logits.shape[0])
        targets = self.target(episode.rewards, episode.values).ravel()
        return blank.at[rows].add(targets), blank.at[rows].add(1.0)
