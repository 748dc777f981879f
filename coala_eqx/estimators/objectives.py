"""The objectives whose gradient an estimator can claim to estimate."""

from coala_eqx.estimators.base import AbstractEstimator

OBJECTIVES = ("shaping_return", "last_episode_return", "lookahead_return")
"""The known objectives; see `AbstractEstimator.unbiased_for`."""


def objective_of(estimator: AbstractEstimator) -> str:
    """The objective that an estimator is held against.

    **Raises** `ValueError` for an unknown objective.
    """
    for attribute in ("unbiased_for", "measured_against"):
        objective = getattr(estimator, attribute)
        if objective is not None:
            if objective not in OBJECTIVES:
                raise ValueError(
                    f"{type(estimator).__name__}.{attribute} is {objective!r}, which is no known objective; "
                    f"known are {', '.join(map(repr, OBJECTIVES))}."
                )
            return objective
    return OBJECTIVES[0]
