"""Load what a user names on the command line: classes from files, from modules and from other packages."""

import importlib.metadata
import inspect
from collections.abc import Iterable
from typing import Any

from jaxtyping import Array, Key

from coala_eqx import estimators as builtin
from coala_eqx.estimators import AbstractEstimator
from coala_eqx.foreign.apart import in_one_line
from coala_eqx.foreign.loading import find, load_object, made_apart
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import ShapingProblem

ENTRY_POINTS = "coala_eqx.estimators"
"""The entry-point group in which other packages can register estimators."""

DEFAULT_ESTIMATORS: tuple[type[AbstractEstimator], ...] = (
    builtin.CoalaPG,
    builtin.MFOS,
    builtin.BatchUnaware,
    builtin.Reinforce,
    builtin.LolaExact,
    builtin.LolaDice,
    builtin.LolaCoala,
)
"""The estimators that are verified unless others are named, in the order of the table."""

BUILT_IN = (*DEFAULT_ESTIMATORS, builtin.CoalaHybrid)
"""All estimators of this package. The others work only with a critic that sees the learner."""


def is_foreign(source: str) -> bool:
    """Whether the name of an estimator, a learner or a policy refers to code outside this package."""
    return ":" in source or source in _registered()


def load_estimator(source: str) -> AbstractEstimator:
    """Load an estimator by name: one of this package, one of an entry point, `FILE.py:NAME` or `module:NAME`.

    **Raises** `ValueError` that says what was not found, or what failed on import.
    """
    known = {cls.__name__: cls for cls in BUILT_IN}
    if source in known:
        return known[source]()
    registered = _registered()
    if source in registered:
        return load_object(registered[source], AbstractEstimator, "estimator")
    if ":" not in source:
        raise ValueError(
            f"There is no estimator {source!r}. Name one of {', '.join([*known, *registered])}, or write FILE.py:NAME "
            f"or module:NAME for one of your own."
        )
    return load_object(source, AbstractEstimator, "estimator")


def load_estimators(sources: Iterable[str]) -> dict[str, AbstractEstimator]:
    """Load estimators, keyed by their names in tables: the class name, followed by the source where several share it.

    A source that is named twice is loaded once.

    **Raises** `ValueError` as `load_estimator` does.
    """
    loaded = {source: load_estimator(source) for source in sources}
    names = {source: _printable(type(estimator).__name__) for source, estimator in loaded.items()}
    shared = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {
        f"{names[source]} ({_printable(source)})" if names[source] in shared else names[source]: estimator
        for source, estimator in loaded.items()
    }


def load_policy(source: str, problem: ShapingProblem, key: Key[Array, ""]) -> AbstractPolicy:
    """Load an ego policy for `problem` from `FILE.py:NAME` or `module:NAME`.

    `NAME` is a policy, a class of policies with `.random(game, key)`, or a function (problem, key) → policy.

    **Raises** `ValueError` that says what was not found, what failed, or what was found instead.
    """
    found = find(source, AbstractPolicy, "policy")

    def make() -> Any:
        if isinstance(found, AbstractPolicy):
            return found
        if not inspect.isclass(found):
            return found(problem, key)
        return found.random(problem.game, key)  # type: ignore[attr-defined]

    needed = "a policy, a class of policies with .random(game, key), or a function (problem, key) → policy"
    if not (isinstance(found, AbstractPolicy) or callable(found)):
        raise ValueError(f"{source} is not a policy: it must be {needed}, but is {in_one_line(found)}.")
    if inspect.isclass(found) and not (issubclass(found, AbstractPolicy) and hasattr(found, "random")):
        raise ValueError(f"{source} makes no policy: it must be {needed}, but is {in_one_line(found)}.")
    policy = made_apart(make, source, f"{source} makes no policy for this problem")
    if not isinstance(policy, AbstractPolicy):
        raise ValueError(f"{source} makes no policy: it must give an AbstractPolicy, but gives {in_one_line(policy)}.")
    problem.check_policy(policy)
    return policy


def _registered() -> dict[str, str]:
    """Sources of the estimators of other packages, keyed by name."""
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return {point.name: f"{point.module}:{point.attr}" for point in points}


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
