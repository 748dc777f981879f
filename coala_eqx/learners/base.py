"""What every learner offers: how a co-player changes after each batch of inner episodes."""

import abc
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float, Shaped

from coala_eqx.learners.optimising import is_optimiser
from coala_eqx.policies import AbstractPolicy

LearnerState = Any


class Experience(eqx.Module):
    """What one player saw, did and earned: one batch of inner episodes, or of whole meta-trajectories."""

    observations: Shaped[Array, "batch ..."]
    """What it saw before each action, `[batch, steps]` or `[batch, episodes, steps]` (and features)."""

    actions: Shaped[Array, "batch ..."]
    """What it did, `[batch, steps]` or `[batch, episodes, steps]` (and one more axis if actions are vectors)."""

    rewards: Float[Array, "batch *times"]
    """What it earned for it."""


class AbstractLearner(eqx.Module):
    """A learning rule: any function of the batch of inner episodes that one co-player has just played.

    Between inner episodes the roll-out calls `update` once per co-player, with that co-player's own view
    of the `batch` trajectories. Whatever must last from one update to the next (moments of an optimiser,
    a step count) goes into the state. It has no randomness of its own.
    """

    exchangeable: ClassVar[bool] = False
    """Whether `update` is unchanged when the trajectories of the batch are permuted.

    If so, `coala_eqx.exact` enumerates unordered batches, of which there are far fewer.
    """

    @abc.abstractmethod
    def init(self, policy: AbstractPolicy) -> LearnerState:
        """The state before the first inner episode; a pytree of arrays."""

    @abc.abstractmethod
    def update(
        self, policy: AbstractPolicy, state: LearnerState, experience: Experience
    ) -> tuple[AbstractPolicy, LearnerState]:
        """Learn from one batch of inner episodes, arrays `[batch, steps]`.

        **Returns** the new policy and state, with the same structure, shapes and dtypes as the old.
        """


class AbstractGradientLearner(AbstractLearner):
    """A learner that ascends a gradient estimate of its own expected return in one inner episode.

    What it would do with the exact gradient is then known: the look-ahead of LOLA.
    """

    discount: eqx.AbstractVar[float]
    """Per step, inside the inner episode."""

    reward_scale: eqx.AbstractVar[float]
    """What it multiplies its rewards with, and so its gradient."""

    @abc.abstractmethod
    def ascend(
        self, policy: AbstractPolicy, state: LearnerState, gradient: AbstractPolicy
    ) -> tuple[AbstractPolicy, LearnerState]:
        """Take one step along `gradient` of its discounted and scaled return, a pytree like the policy.

        Must be differentiable.
        """


def check_learner(name: str, value: Any) -> None:
    """**Raises** `ValueError`, with the remedy, unless the value is a learner."""
    if isinstance(value, AbstractLearner):
        return
    wanted, given = "a learner (an AbstractLearner), such as PolicyGradient(optimiser=optax.sgd(1.0))", f"{value!r}"
    if is_optimiser(value):
        wanted, given = "a learner, such as PolicyGradient(optimiser=optax.sgd(1.0))", "an optax optimiser"
    elif isinstance(value, type) and issubclass(value, AbstractLearner):
        given = f"the class {value.__name__}: make one of it"
    raise ValueError(f"`{name}` must be {wanted}, but is {given}.")


class NoGradientLearner(ValueError):
    """A learner follows no gradient, so that there is no look-ahead."""


def gradient_learners(learners: tuple[AbstractLearner, ...]) -> tuple[AbstractGradientLearner, ...]:
    """The same learners, known to ascend a gradient; raises `NoGradientLearner` if one does not."""
    checked = []
    for learner in learners:
        if not isinstance(learner, AbstractGradientLearner):
            raise NoGradientLearner(
                f"Learners that ascend a gradient are needed (an AbstractGradientLearner, such as PolicyGradient), but "
                f"the problem has a {type(learner).__name__}."
            )
        checked.append(learner)
    return tuple(checked)
