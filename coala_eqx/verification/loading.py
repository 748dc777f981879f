"""Loading what a user names on the command line: classes in files, in modules, and of other packages."""

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
"""The entry-point group under which other packages can register estimators."""

DEFAULT_ESTIMATORS: tuple[type[AbstractEstimator], ...] = (
    builtin.CoalaPG,
    builtin.MFOS,
    builtin.BatchUnaware,
    builtin.Reinforce,
    builtin.LolaExact,
    builtin.LolaDice,
    builtin.LolaCoala,
)
"""The estimators of this package, in the order of the table."""


def is_foreign(source: str) -> bool:
    """Whether an estimator's, a learner's or a policy's name stands for code that is not of this package."""
    return ":" in source or source in _registered()


def load_estimator(source: str) -> AbstractEstimator:
    """An estimator by its name: of this package, of an entry point, `FILE.py:NAME` or `module:NAME`.

    **Raises** `ValueError` that says what was not found, or what went wrong on import.
    """
    known = {cls.__name__: cls for cls in DEFAULT_ESTIMATORS}
    if source in known:
        return known[source]()
    registered = _registered()
    if source in registered:
        return load_object(registered[source], AbstractEstimator, "estimator")
    if ":" not in source:
        raise ValueError(
            f"There is no estimator {source!r}: it is none of {', '.join([*known, *registered])}; for one of your own "
            f"write FILE.py:NAME or module:NAME."
        )
    return load_object(source, AbstractEstimator, "estimator")


def load_estimators(sources: Iterable[str]) -> dict[str, AbstractEstimator]:
    """Estimators by the name that they have in tables: that of the class, with its source where several share it.

    What is named twice is loaded once.

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
    """An ego policy for `problem` from `FILE.py:NAME` or `module:NAME`.

    `NAME` is a policy, a class of policies with `.random(game, key)`, or a function (problem, key) → policy.

    **Raises** `ValueError` that says what was not found, what went wrong, or what was found instead.
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
        raise ValueError(f"{source} is no policy: it must be {needed}, but is {in_one_line(found)}.")
    if inspect.isclass(found) and not (issubclass(found, AbstractPolicy) and hasattr(found, "random")):
        raise ValueError(f"{source} makes no policy: it must be {needed}, but is {in_one_line(found)}.")
    policy = made_apart(make, source, f"{source} makes no policy for this problem")
    if not isinstance(policy, AbstractPolicy):
        raise ValueError(f"{source} makes no policy: it must give an AbstractPolicy, but gives {in_one_line(policy)}.")
    problem.check_policy(policy)
    return policy


def _registered() -> dict[str, str]:
    """Estimators of other packages: the source of each by its name."""
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return {point.name: f"{point.module}:{point.attr}" for point in points}


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
