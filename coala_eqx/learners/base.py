"""The contract of a learner: the change of a co-player after each batch of inner episodes."""

import abc
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float, Shaped

from coala_eqx.learners.optimising import is_optimiser
from coala_eqx.learners.protocol import AbstractUpdateRule, check_signatures
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
