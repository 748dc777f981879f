"""The contract of a learner: the change of a co-player after each batch of inner episodes."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from coala_eqx.learners.counterfactual import Updated, others, repeat, replaced, update_on
from coala_eqx.learners.optimising import is_optimiser
from coala_eqx.learners.protocol import AbstractUpdateRule, check_signatures, update_rule
from coala_eqx.policies import AbstractPolicy

LearnerState = Any


class Experience(eqx.Module):
    """The observations, actions and rewards of one player: in a batch of inner episodes, or of meta-trajectories."""

    observations: Shaped[Array, "batch ..."]
    """Observations before each action, `[batch, steps]` or `[batch, episodes, steps]`, and features."""

    actions: Shaped[Array, "batch ..."]
    """Actions, `[batch, steps]` or `[batch, episodes, steps]`, with one more axis if they are vectors."""

    rewards: Float[Array, "batch *times"]
    """Rewards of the actions."""


class AbstractLearner(AbstractUpdateRule[Experience]):
    """A learning rule of a co-player: any function of the batch of inner episodes that it has just played.

    After each inner episode but the last, the roll-out calls `update` once for each co-player, with the co-player's
    own view of the `batch` trajectories. The state keeps what lasts from one update to the next, such as the moments
    of an optimiser. A learner with randomness takes it from its key and sets `uses_key`; `exact` enumerates it where
    it is an `AbstractDrawingLearner`.
    """

    exchangeable: ClassVar[bool] = False
    """Whether `update` is unchanged when the trajectories of the batch are permuted. It may be a property.

    Where all learners say so and none uses a key, `coala_eqx.exact` enumerates unordered batches, which are far fewer.
    """

    @abc.abstractmethod
    def init(self, policy: AbstractPolicy, key: Any, /) -> LearnerState:
        """The state before the first inner episode; a pytree of arrays."""

    @abc.abstractmethod
    def update(
        self, policy: AbstractPolicy, state: LearnerState, experience: Experience, key: Any, /
    ) -> tuple[AbstractPolicy, LearnerState]:
        """Learn from one batch of inner episodes, arrays `[batch, steps]`.

        **Returns** the new policy and state, with the same structure, shapes and dtypes as the old.
        """

    def updates_without(
        self, policy: AbstractPolicy, state: LearnerState, experience: Experience, groups: int, key: Any = None
    ) -> Updated:
        """The updates that would have been made, had one group of trajectories not been played.

        Trajectories are grouped in order. A learner that ignores the order of its batch learns from the others alone.
        For any other one, the next group stands in for the missing one, so that its batch keeps its size and order. All
        updates have the key of the real one. With a single group nothing is left to learn from, and nothing changes.

        **Returns** policies and states, leaves `[groups, …]`. Nothing of a group must have a trace in its entry.
        """
        if groups == 1:
            return repeat((policy, state), 1)
        chosen = (others if self.exchangeable else replaced)(len(experience.rewards), groups)
        return update_on(lambda some: update_rule(self, policy, state, some, key), policy, state, experience, chosen)

    def coast(self, policy: AbstractPolicy, state: LearnerState) -> AbstractPolicy | None:
        """The policy after a step of the optimiser with gradient 0, as momentum alone would move it.

        `None` for a learner without an optimiser's state. It tells a critic what the state will do.
        """
        del policy, state
        return None


class AbstractGradientLearner(AbstractLearner):
    """A learner that ascends a gradient estimate of its own expected return in one inner episode.

    LOLA's look-ahead is its step along the exact gradient instead.
    """

    discount: eqx.AbstractVar[float]
    """Discount per step, within the inner episode."""

    reward_scale: eqx.AbstractVar[float]
    """Factor of its rewards, and so of its gradient."""

    @abc.abstractmethod
    def ascend(
        self, policy: AbstractPolicy, state: LearnerState, gradient: AbstractPolicy
    ) -> tuple[AbstractPolicy, LearnerState]:
        """Take one step along `gradient`, that of its discounted and scaled return: a pytree like the policy.

        The step must be differentiable.
        """

    def coast(self, policy: AbstractPolicy, state: LearnerState) -> AbstractPolicy | None:
        if not has_moments(state):
            return None
        return self.ascend(policy, state, jax.tree.map(jnp.zeros_like, eqx.filter(policy, eqx.is_inexact_array)))[0]


def has_moments(state: LearnerState) -> bool:
    """Whether a learner's state holds numbers that its next update depends on, such as an optimiser's moments."""
    return bool(jax.tree.leaves(eqx.filter(state, eqx.is_inexact_array)))


def check_learner(name: str, value: Any) -> None:
    """**Raises** `ValueError`, with the remedy, unless the value is a learner."""
    if isinstance(value, AbstractLearner):
        check_signatures(value)
        return
    wanted, given = "a learner (an AbstractLearner), such as PolicyGradient(optimiser=optax.sgd(1.0))", f"{value!r}"
    if is_optimiser(value):
        wanted, given = "a learner, such as PolicyGradient(optimiser=optax.sgd(1.0))", "an optax optimiser"
    elif isinstance(value, type) and issubclass(value, AbstractLearner):
        given = f"the class {value.__name__}: make one of it"
    raise ValueError(f"`{name}` must be {wanted}, but is {given}.")


class NoGradientLearner(ValueError):
    """A learner follows no gradient, or draws random numbers, so that there is no look-ahead."""


def gradient_learners(learners: tuple[AbstractLearner, ...]) -> tuple[AbstractGradientLearner, ...]:
    """The same learners, known to ascend a gradient without randomness.

    **Raises** `NoGradientLearner` if one does not.
    """
    checked = []
    for learner in learners:
        if not isinstance(learner, AbstractGradientLearner):
            raise NoGradientLearner(
                f"Learners that ascend a gradient are needed (an AbstractGradientLearner, such as PolicyGradient), but "
                f"the problem has a {type(learner).__name__}."
            )
        if learner.uses_key:
            raise NoGradientLearner(
                f"Learners without randomness are needed, as a look-ahead is one path of updates, but "
                f"{type(learner).__name__} uses its key."
            )
        checked.append(learner)
    return tuple(checked)
