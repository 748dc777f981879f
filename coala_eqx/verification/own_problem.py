"""The user's own problem, as the options of `coala-eqx verify` describe it."""

import argparse
import functools
from collections.abc import Mapping

from coala_eqx.arrays import in_words
from coala_eqx.exact import count_outcomes
from coala_eqx.foreign.loading import load_object
from coala_eqx.learners import AbstractLearner
from coala_eqx.verification.game_files import load_game
from coala_eqx.verification.loading import load_policy
from coala_eqx.verification.problems import LEARNERS, NamedProblem, make_problem
from coala_eqx.verification.sizes import ENOUGH, default_sizes

_OPTIONS = ("payoffs", "batch", "episodes", "steps", "learner", "policy")
_SIZES = ("batch", "episodes", "steps")


def is_own(options: argparse.Namespace) -> bool:
    """Whether the options describe a problem."""
    return any(getattr(options, name) is not None for name in _OPTIONS)


def own_problem(options: argparse.Namespace, limit: int) -> tuple[NamedProblem, str]:
    """Make the problem. The sentence says which sizes were chosen smaller than usual; it is empty if none were.

    **Raises** `ValueError` if the problem cannot be made.
    """
    game_name, game = load_game(options.payoffs or "prisoners-dilemma")
    learner, policy = options.learner or "sgd", options.policy or "full-history"
    given = {name: getattr(options, name) for name in _SIZES}
    most = min(ENOUGH, limit)
    sizes: dict[str, int] = dict(zip(_SIZES, default_sizes(game, **given, most=most), strict=True))
    named = make_problem(
        game,
        _learner(learner),
        policy=functools.partial(load_policy, policy) if ":" in policy else policy,
        **sizes,
        seed=options.seed,
        game_name=game_name,
        learner_name=learner,
    )
    return named, _remark(named, given, sizes, most)


def _remark(named: NamedProblem, given: Mapping[str, int | None], sizes: Mapping[str, int], most: int) -> str:
    usual = {name: 2 if size is None else size for name, size in given.items()}
    if sizes == usual:
        return ""
    chosen = ", ".join(f"--{name} {sizes[name]}" for name in _SIZES if sizes[name] != usual[name])
    try:
        count = f"{in_words(count_outcomes(named.problem))} outcomes"
    except ValueError:
        count = "outcomes that cannot be counted"
    return f"Chosen for this large game: {chosen}, with {count}; 2 would give more than {most:,}."


def _learner(source: str) -> AbstractLearner:
    if source in LEARNERS:
        return LEARNERS[source]()
    if ":" not in source:
        raise ValueError(
            f"There is no learner {source!r}. Name one of {', '.join(LEARNERS)}, or write FILE.py:NAME or module:NAME "
            f"for one of your own."
        )
    return load_object(source, AbstractLearner, "learner")
