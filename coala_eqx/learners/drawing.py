"""Learners whose randomness is a draw from a finite set, which can be enumerated."""

import abc
from typing import Any, ClassVar

from jaxtyping import Array, Float, Key

from coala_eqx.learners.base import AbstractLearner, Experience, LearnerState
from coala_eqx.policies import AbstractPolicy

Draw = Any
"""The random part of one update; a pytree of arrays."""


class AbstractDrawingLearner(AbstractLearner):
    """A learner whose update depends on the batch and on one draw from a finite set.

    Draws are independent of each other, of what is played and of the policy. Play samples one by `draw` before each
    update. `coala_eqx.exact` sums over all of `draws` with their probabilities, and calls the same `learn`. `init` is
    not random: its key raises `ValueError` where it is used.
    """

    uses_key: ClassVar[bool] = True

    @abc.abstractmethod
    def draw(self, batch: int, key: Key[Array, ""]) -> Draw:
        """One draw for an update from `batch` trajectories."""

    @abc.abstractmethod
    def num_draws(self, batch: int) -> int:
        """The number of draws that `draws` lists."""

    @abc.abstractmethod
    def draws(self, batch: int) -> tuple[Draw, Float[Array, " draws"]]:
        """All draws, leaves `[draws, …]`, and their probabilities.

        Draws that lead to the same update may be listed as one, with the sum of their probabilities.
        """

    @abc.abstractmethod
    def learn(
        self, policy: AbstractPolicy, state: LearnerState, experience: Experience, draw: Draw
    ) -> tuple[AbstractPolicy, LearnerState]:
        """`update` with a given draw."""

    def update(
        self, policy: AbstractPolicy, state: LearnerState, experience: Experience, key: Any = None
    ) -> tuple[AbstractPolicy, LearnerState]:
        return self.learn(policy, state, experience, self.draw(len(experience.rewards), key))
