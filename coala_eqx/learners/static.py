"""Co-players that do not learn."""

from typing import Any, ClassVar

from coala_eqx.learners.base import AbstractGradientLearner, Experience, LearnerState
from coala_eqx.policies import AbstractPolicy


class Static(AbstractGradientLearner):
    """A co-player that does not learn: a gradient learner whose steps have length zero."""

    discount: float = 1.0
    reward_scale: float = 1.0

    exchangeable: ClassVar[bool] = True

    def init(self, policy: AbstractPolicy, key: Any = None) -> LearnerState:
        return None

    def update(
        self, policy: AbstractPolicy, state: LearnerState, experience: Experience, key: Any = None
    ) -> tuple[AbstractPolicy, LearnerState]:
        return policy, state

    def ascend(
        self, policy: AbstractPolicy, state: LearnerState, gradient: AbstractPolicy
    ) -> tuple[AbstractPolicy, LearnerState]:
        return policy, state
