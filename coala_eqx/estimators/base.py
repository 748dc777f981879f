"""The contract of an estimator."""

import abc
from typing import Any, ClassVar, TypeGuard

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from coala_eqx.games import AbstractDrawnGame, AbstractEnumerableGame
from coala_eqx.learners import NoGradientLearner, gradient_learners
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, ShapingProblem, score_function

Gradient = Any
"""A pytree like the policy, with `None` in place of what is not an array of floating-point numbers."""


class EstimateInfo(eqx.Module):
    """What came along with a gradient estimate."""

    episode: MetaEpisode
    """The meta-episode that it was computed from."""

    shaping_return: Float[Array, ""]
    """(1/B) Σ_b Σ_l r_l^b of this meta-episode."""


class AbstractEstimator(eqx.Module):
    """A stochastic estimate of the gradient of an objective with respect to the ego agent's policy.

    It is a function of one sampled `MetaEpisode`, so that whatever can be sampled can also be enumerated:
    `coala_eqx.exact.moments` calls the same `from_episode` on every possible meta-episode.

    What an estimator claims and needs are class attributes; all have defaults.
    """

    unbiased_for: ClassVar[str | None] = None
    """The objective of which E[estimate] is the gradient, or `None` for no claim:

    - `"shaping_return"`: J̄ = E[(1/B) Σ_b Σ_l r_l^b] (paper, Eq. 2);
    - `"last_episode_return"`: the same with the rewards of the last inner episode only;
    - `"lookahead_return"`: J^i after `episodes − 1` expected updates of the co-players (paper, Eq. 4).

    `coala-eqx verify` holds an estimator to this claim.
    """

    measured_against: ClassVar[str] = "shaping_return"
    """The objective that it is compared with if it claims nothing."""

    exchangeable: ClassVar[bool] = False
    """Whether the estimate is unchanged when the trajectories of the batch are permuted.

    If so (and the learners are, too), exact functions enumerate unordered batches, which are far fewer.
    """

    needs_co_player_parameters: ClassVar[bool] = False
    """Whether it looks at the co-players' parameters."""

    needs_learning_rule: ClassVar[bool] = False
    """Whether it applies the co-players' learner itself."""

    needs_gradient_learner: ClassVar[bool] = False
    """Whether that learner must be an `AbstractGradientLearner`."""

    needs_table: ClassVar[bool] = False
    """Whether the game must be an `AbstractEnumerableGame`."""

    needs_differentiable_learner: ClassVar[bool] = False
    """Whether it differentiates through the co-players' updates."""

    @abc.abstractmethod
    def from_episode(self, problem: ShapingProblem, policy: AbstractPolicy, episode: MetaEpisode) -> Gradient:
        """The estimate from one sampled meta-episode: a pytree like `policy`."""

    @eqx.filter_jit
    def __call__(
        self, problem: ShapingProblem, policy: AbstractPolicy, key: Key[Array, ""]
    ) -> tuple[Gradient, EstimateInfo]:
        """Play one meta-episode and estimate the gradient from it: compiled, and fit for `vmap` over keys.

        **Returns** the estimate, and an `EstimateInfo`.

        **Raises** `ValueError` if this estimator cannot be applied to this problem.
        """
        self.check_problem(problem)
        episode = problem.play(policy, key)
        gradient = self.from_episode(problem, policy, episode)
        return gradient, EstimateInfo(episode=episode, shaping_return=episode.shaping_return)

    def check_problem(self, problem: ShapingProblem) -> None:
        """Check that the problem offers what this estimator needs; raises `Inapplicable` that says what is missing."""
        if self.needs_table and not isinstance(problem.game, AbstractEnumerableGame):
            raise Inapplicable(
                f"{type(self).__name__} cannot be applied: {type(problem.game).__name__} cannot be written as a table."
            )
        if self.needs_table and isinstance(problem.game, AbstractDrawnGame):
            game = type(problem.game).__name__
            raise Inapplicable(
                f"{type(self).__name__} cannot be applied: the table of {game} is made by trying all states, which a "
                f"compiled program cannot do. If there are few enough, use {game}(…).table() as the game."
            )
        if self.needs_learning_rule and any(problem.remembering):
            raise Inapplicable(f"{type(self).__name__} cannot be applied: co-players that remember do not learn.")
        random = dict.fromkeys(type(learner).__name__ for learner in problem.learners if learner.uses_key)
        if self.needs_learning_rule and random:
            raise Inapplicable(
                f"{type(self).__name__} cannot be applied: it repeats the co-players' updates, and a meta-episode does "
                f"not tell what {' and '.join(random)} drew. Take a learner that uses no key."
            )
        if self.needs_gradient_learner:
            try:
                gradient_learners(problem.learners)
            except NoGradientLearner as error:
                raise Inapplicable(f"{type(self).__name__} cannot be applied: {error}") from error


class Inapplicable(ValueError):
    """An estimator cannot be applied to a problem; the message says what is missing."""


class AbstractScoreFunctionEstimator(AbstractEstimator):
    """ĝ = Σ_b Σ_l ∇_φ log π(a_l^b | h_l^b; φ) · C_l^b; what C is, is all that a subclass says."""

    @abc.abstractmethod
    def coefficients(self, rewards: Any, values: Any = None) -> Float[Array, "batch episodes steps"]:
        """C_l^b from the rewards, and from the critic's values V̂(h_l^b) if there is a critic.

        **Arguments:**

        - `rewards` `[batch, episodes, steps]`: JAX or NumPy.
        - `values`: the same shape; the value after the last step is taken to be 0.

        **Raises** `ValueError` for other shapes.
        """

    critic_of: ClassVar[str] = "shaping_return"
    """The return that the values are an estimate of: `"shaping_return"`, of all that is left of the own trajectory, or
    `"last_episode_return"`, of its last inner episode.
    """

    def critic_rewards(self, rewards: Array) -> Float[Array, "batch episodes steps"]:
        """The rewards of which the critic expects the return (Eq. 10): those that `critic_of` leaves, the others 0."""
        if self.critic_of == "shaping_return":
            return rewards
        if self.critic_of == "last_episode_return":
            is_last = np.arange(rewards.shape[1]) == rewards.shape[1] - 1
            return jnp.where(is_last[:, None], rewards, 0)
        raise ValueError(
            f"{type(self).__name__}.critic_of must be 'shaping_return' or 'last_episode_return', but is "
            f"{self.critic_of!r}."
        )

    def checked_coefficients(self, rewards: Array, values: Array | None) -> Float[Array, "batch episodes steps"]:
        """The coefficients; raises `ValueError` if what a subclass returns has not the shape of the rewards."""
        coefficients = self.coefficients(rewards, values)
        if jnp.shape(coefficients) != rewards.shape:
            raise ValueError(
                f"{type(self).__name__}.coefficients must return an array of the shape of the rewards, [batch, "
                f"episodes, steps] = {rewards.shape}, but returned shape {jnp.shape(coefficients)}."
            )
        return coefficients

    def from_episode(self, problem: ShapingProblem, policy: AbstractPolicy, episode: MetaEpisode) -> Gradient:
        return weigh_scores(policy, episode, self.checked_coefficients(episode.rewards, episode.values))


def trains_by_coefficients(estimator: AbstractEstimator) -> TypeGuard[AbstractScoreFunctionEstimator]:
    """Whether an estimator is a score function whose `coefficients` say everything: what is trained, and certified."""
    kind, base = type(estimator), AbstractScoreFunctionEstimator
    return isinstance(estimator, base) and all(getattr(kind, name) is getattr(base, name) for name in _FINAL[base])


def check_contract(estimator: AbstractEstimator) -> None:
    """**Raises** `ValueError` if an estimator replaces a method by which it is trained or certified.

    Training calls `coefficients` of a score function, and `from_episode` of any other estimator. If one of the methods
    in between were replaced, something else would be certified.
    """
    kind = type(estimator)
    for base, names in _FINAL.items():
        if isinstance(estimator, base):
            for name in names:
                if getattr(kind, name) is not getattr(base, name):
                    raise ValueError(
                        f"{kind.__name__} replaces `{name}` of {base.__name__}, so that what is certified would not be "
                        f"what trains. Write `coefficients` only, or derive from AbstractEstimator and write "
                        f"`from_episode`."
                    )


_FINAL: dict[type[AbstractEstimator], tuple[str, ...]] = {
    AbstractEstimator: ("__call__",),
    AbstractScoreFunctionEstimator: ("from_episode", "checked_coefficients"),
}
"""Methods that are not to be replaced."""


def weigh_scores(
    policy: AbstractPolicy, episode: MetaEpisode, coefficients: Float[Array, "batch episodes steps"]
) -> Gradient:
    """Σ_b Σ_l ∇_φ log π(a_l^b | h_l^b; φ) · C_l^b, for the ego agent's actions in one meta-episode."""
    weigh = score_function(policy, episode.observations, episode.actions)
    return weigh(coefficients)
