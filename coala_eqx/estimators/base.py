"""The contract of an estimator."""

import abc
import dataclasses
import inspect
from typing import Any, ClassVar, TypeGuard

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from coala_eqx.estimators.critics import AbstractLearnerCritic, ShapingValues
from coala_eqx.games import AbstractDrawnGame, AbstractEnumerableGame
from coala_eqx.learners import NoGradientLearner, gradient_learners
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import AbstractProbe, LearnerFeatures, MetaEpisode, ShapingProblem, score_function

Gradient = Any
"""A pytree like the policy, with `None` in place of every leaf that is not a floating-point array."""


class EstimateInfo(eqx.Module):
    """The meta-episode behind a gradient estimate, and its return."""

    episode: MetaEpisode
    """The meta-episode from which the estimate is computed."""

    shaping_return: Float[Array, ""]
    """(1/B) Σ_b Σ_l r_l^b of this meta-episode, in the game's rewards."""


class AbstractEstimator(eqx.Module):
    """A stochastic estimate of the gradient of an objective with respect to the ego agent's policy.

    The estimate is a function of one sampled `MetaEpisode`, so everything that can be sampled can also be enumerated:
    `coala_eqx.exact.moments` calls the same `from_episode` on every possible meta-episode.

    Class attributes state what an estimator claims and needs. All have defaults.
    """

    unbiased_for: ClassVar[str | None] = None
    """The objective whose gradient E[estimate] is, or `None` for no claim:

    - `"shaping_return"`: J̄ = E[(1/B) Σ_b Σ_l r_l^b] (paper, Eq. 2);
    - `"last_episode_return"`: the same with the rewards of the last inner episode only;
    - `"lookahead_return"`: J^i after `episodes − 1` expected updates of the co-players (paper, Eq. 4).

    `coala-eqx verify` holds an estimator to this claim.
    """

    measured_against: ClassVar[str] = "shaping_return"
    """The objective that the estimator is compared with if it claims nothing."""

    exchangeable: ClassVar[bool] = False
    """Whether the estimate is unchanged when the trajectories of the batch are permuted.

    If the estimate and all learners are exchangeable, exact functions enumerate unordered batches, of which there are
    far fewer.
    """

    needs_co_player_parameters: ClassVar[bool] = False
    """Whether the estimator uses the co-players' parameters."""

    needs_learning_rule: ClassVar[bool] = False
    """Whether the estimator applies the co-players' learner itself."""

    needs_gradient_learner: ClassVar[bool] = False
    """Whether the co-players' learner must be an `AbstractGradientLearner`."""

    needs_table: ClassVar[bool] = False
    """Whether the game must be an `AbstractEnumerableGame`."""

    needs_differentiable_learner: ClassVar[bool] = False
    """Whether the estimator differentiates through the co-players' updates."""

    @property
    def probe(self) -> AbstractProbe | None:
        """The probe of which the estimator needs the features; `None` if it needs none."""
        return None

    @abc.abstractmethod
    def from_episode(self, problem: ShapingProblem, policy: AbstractPolicy, episode: MetaEpisode) -> Gradient:
        """The estimate from one sampled meta-episode: a pytree like `policy`."""

    @eqx.filter_jit
    def __call__(
        self, problem: ShapingProblem, policy: AbstractPolicy, key: Key[Array, ""]
    ) -> tuple[Gradient, EstimateInfo]:
        """Play one meta-episode and estimate the gradient from it. The method is compiled, and may be vectorised over
        keys.

        **Returns** the estimate, a pytree like `policy`, and an `EstimateInfo`.

        **Raises** `ValueError` if this estimator cannot be applied to this problem.
        """
        self.check_problem(problem)
        episode = problem.play(policy, key, self.probe)
        gradient = self.from_episode(problem, policy, episode)
        return gradient, EstimateInfo(episode=episode, shaping_return=episode.shaping_return)

    def check_problem(self, problem: ShapingProblem) -> None:
        """Check that the problem offers what this estimator needs. **Raises** `Inapplicable` that says what is
        missing.
        """
        if self.needs_table and not isinstance(problem.game, AbstractEnumerableGame):
            raise Inapplicable(
                f"{type(self).__name__} cannot be applied: it needs a game that can be written as a table (an "
                f"AbstractEnumerableGame), but the game is a {type(problem.game).__name__}."
            )
        if self.needs_table and isinstance(problem.game, AbstractDrawnGame):
            game = type(problem.game).__name__
            raise Inapplicable(
                f"{type(self).__name__} cannot be applied: the table of {game} is made by trying all states, which a "
                f"compiled program cannot do. If there are few enough, use {game}(…).table() as the game."
            )
        if self.needs_learning_rule and any(problem.remembering):
            raise Inapplicable(
                f"{type(self).__name__} cannot be applied: it needs co-players that learn, but those that remember "
                f"earlier inner episodes do not."
            )
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
    """ĝ = Σ_b Σ_l ∇_φ log π(a_l^b | h_l^b; φ) · C_l^b. A subclass defines only the coefficients C.

    `coefficients` may have a third argument, `shaping`: the `ShapingValues` of a critic that sees the learner. Those
    that have it can be given a `critic`.
    """

    critic: AbstractLearnerCritic | None = eqx.field(default=None, kw_only=True)
    """The critic that sees the learner, where the estimator is used outside of training."""

    @abc.abstractmethod
    def coefficients(self, rewards: Any, values: Any = None) -> Float[Array, "batch episodes steps"]:
        """C_l^b from the rewards, and from the critic's values V̂(h_l^b) if there is a critic.

        **Arguments:**

        - `rewards` `[batch, episodes, steps]`: a JAX or NumPy array.
        - `values` `[batch, episodes, steps]`: V̂(h_l^b), or `None`. The value after the last step counts as 0.

        **Raises** `ValueError` for other shapes.
        """

    critic_of: ClassVar[str] = "shaping_return"
    """The return that the critic's values estimate: `"shaping_return"` for everything that is left of the own
    trajectory, or `"last_episode_return"` for the last inner episode only.
    """

    @property
    def needs_shaping(self) -> bool:
        """Whether `coefficients` must be given `shaping`."""
        return False

    @property
    def takes_shaping(self) -> bool:
        """Whether `coefficients` has the argument `shaping`."""
        return "shaping" in inspect.signature(type(self).coefficients).parameters

    def at(self, updates: Any) -> "AbstractScoreFunctionEstimator":
        """The estimator after some updates in training. Fields that are schedules, functions of the number of updates,
        are replaced by their values.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        now = {
            name: jnp.asarray(value(updates), float)
            for name, value in fields.items()
            if callable(value) and not isinstance(value, eqx.Module)
        }
        return dataclasses.replace(self, **now) if now else self

    @property
    def probe(self) -> AbstractProbe | None:
        return None if self.critic is None else self.critic.probe

    def shaping_of(self, features: LearnerFeatures | None) -> ShapingValues | None:
        """The values of the estimator's critic from the features of a meta-episode; `None` without a critic.

        **Raises** `ValueError` if the meta-episode was played without the critic's probe.
        """
        if self.critic is None:
            return None
        if features is None:
            raise ValueError(
                f"{type(self).__name__} has a critic that sees the learner, but the meta-episode has no features: play "
                f"it by `problem.play(policy, key, probe=estimator.probe)`."
            )
        return self.critic.values(features)

    def critic_rewards(self, rewards: Array) -> Float[Array, "batch episodes steps"]:
        """The rewards that make up the critic's target (Eq. 10): those that `critic_of` keeps, and 0 elsewhere."""
        if self.critic_of == "shaping_return":
            return rewards
        if self.critic_of == "last_episode_return":
            is_last = np.arange(rewards.shape[1]) == rewards.shape[1] - 1
            return jnp.where(is_last[:, None], rewards, 0)
        raise ValueError(
            f"{type(self).__name__}.critic_of must be 'shaping_return' or 'last_episode_return', but is "
            f"{self.critic_of!r}."
        )

    def checked_coefficients(
        self, rewards: Array, values: Array | None, shaping: ShapingValues | None = None
    ) -> Float[Array, "batch episodes steps"]:
        """The coefficients.

        **Raises** `ValueError` if a subclass returns a shape other than that of the rewards, or if it is given
        `shaping` and does not take it.
        """
        if shaping is not None and not self.takes_shaping:
            raise ValueError(
                f"{type(self).__name__} has no use for a critic that sees the learner: give its `coefficients` an "
                f"argument `shaping`, or leave the critic out."
            )
        given: dict[str, Any] = {} if shaping is None else {"shaping": shaping}
        coefficients = self.coefficients(rewards, values, **given)
        if jnp.shape(coefficients) != rewards.shape:
            raise ValueError(
                f"{type(self).__name__}.coefficients must return an array of the shape of the rewards, [batch, "
                f"episodes, steps] = {rewards.shape}, but returned shape {jnp.shape(coefficients)}."
            )
        return coefficients

    def from_episode(self, problem: ShapingProblem, policy: AbstractPolicy, episode: MetaEpisode) -> Gradient:
        coefficients = self.checked_coefficients(episode.rewards, episode.values, self.shaping_of(episode.features))
        return weigh_scores(policy, episode, coefficients)


def trains_by_coefficients(estimator: AbstractEstimator) -> TypeGuard[AbstractScoreFunctionEstimator]:
    """Whether an estimator is a score-function estimator that is trained and certified by its `coefficients` alone."""
    kind, base = type(estimator), AbstractScoreFunctionEstimator
    return isinstance(estimator, base) and all(getattr(kind, name) is getattr(base, name) for name in _FINAL[base])


def check_contract(estimator: AbstractEstimator) -> None:
    """**Raises** `ValueError` if an estimator replaces a method by which it is trained or certified.

    Training calls `coefficients` of a score-function estimator, and `from_episode` of any other. If a method in between
    were replaced, the certified estimator would differ from the trained one.
    """
    kind = type(estimator)
    for base, names in _FINAL.items():
        if isinstance(estimator, base):
            for name in names:
                if getattr(kind, name) is not getattr(base, name):
                    raise ValueError(
                        f"{kind.__name__} replaces `{name}` of {base.__name__}, so the certified estimator would not "
                        f"be the trained one. Write `coefficients` only, or derive from AbstractEstimator and write "
                        f"`from_episode`."
                    )


_FINAL: dict[type[AbstractEstimator], tuple[str, ...]] = {
    AbstractEstimator: ("__call__",),
    AbstractScoreFunctionEstimator: ("from_episode", "checked_coefficients"),
}
"""Methods that must not be replaced, keyed by the class that defines them."""


def weigh_scores(
    policy: AbstractPolicy, episode: MetaEpisode, coefficients: Float[Array, "batch episodes steps"]
) -> Gradient:
    """Σ_b Σ_l ∇_φ log π(a_l^b | h_l^b; φ) · C_l^b, for the ego agent's actions in one meta-episode."""
    weigh = score_function(policy, episode.observations, episode.actions)
    return weigh(coefficients)
