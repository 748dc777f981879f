"""Counterexamples: a small game in which enumeration shows that an estimator is biased."""

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np
import optax

from coala_eqx.estimators import AbstractEstimator
from coala_eqx.exact import count_outcomes
from coala_eqx.games import MatrixGame
from coala_eqx.learners import PolicyGradient
from coala_eqx.policies import AbstractPolicy, FullHistory, MemoryOne
from coala_eqx.shaping import ShapingProblem
from coala_eqx.verification.certificate import Certificate, certify
from coala_eqx.verification.problems import LearnsFromOne

_MOST_OUTCOMES = 200_000
_SEEDS = 3


@dataclasses.dataclass(frozen=True)
class Counterexample:
    """A game, and the result of enumerating the estimator in it."""

    size: tuple[int, int, int]
    """(B, M, T): trajectories, inner episodes and steps per inner episode."""

    text: str
    """A sentence that names the wrong entry and its consequence."""

    certificate: Certificate | None
    """The certificate by enumeration, or `None` if no drawn problem of this size shows the bias: each has too many
    outcomes, is declined, or gives another verdict. `text` says which.
    """

    problem: ShapingProblem | None
    policy: AbstractPolicy | None


def find_counterexample(
    estimator: AbstractEstimator, size: tuple[int, int, int], sentence: str, *, with_critic: bool
) -> Counterexample:
    """Draw games of one size until enumeration finds the estimator biased.

    The ego agent remembers its whole history. The co-player first has one action, so that larger sizes can be
    enumerated. If that does not show the bias, it has two actions and learns, from all trajectories or from one.

    **Arguments:**

    - `estimator`: the estimator to refute.
    - `size`: (B, M, T).
    - `sentence`: names the wrong entry.
    - `with_critic`: whether the policy gets random values, because the wrong entry is a weight of values.
    """
    why = "no game of this size has few enough outcomes"
    for problem, policy in _problems(size, with_critic):
        try:
            certificate = certify(estimator, problem, policy, name="counterexample", plays=0)
        except ValueError as error:  # it declines, or breaks its contract
            why = str(error)
            continue
        if certificate.verdict in ("fails", "biased"):
            text = (
                f"{sentence}; in a random game of {problem.game.num_actions[0]}×{problem.game.num_actions[1]} actions "
                f"the relative bias is {certificate.relative_bias:.2g}, by enumeration of "
                f"{certificate.outcomes:,} outcomes"
            )
            return Counterexample(size, text, certificate, problem, policy)
        why = f"enumeration says '{certificate.verdict}' in all games that were drawn. {certificate.note}".strip()
    return Counterexample(size, f"{sentence} ({why})", None, None, None)


def _problems(size: tuple[int, int, int], with_critic: bool) -> Iterator[tuple[ShapingProblem, AbstractPolicy]]:
    batch, episodes, steps = size
    with jax.enable_x64(True):
        learner = PolicyGradient(optimiser=optax.sgd(1.0))
        for actions in (1, 2):
            for one in (learner, LearnsFromOne(batch - 1, learner)):
                if actions == 1 and one is not learner:
                    continue
                for seed in range(_SEEDS):
                    generator = np.random.default_rng(seed)
                    game = MatrixGame(generator.normal(size=(2, 2, actions)).round(2))
                    co_player = MemoryOne(generator.normal(size=(game.num_observations[1], actions)))
                    problem = ShapingProblem(
                        game=game, co_players=(co_player,), learner=one, batch=batch, episodes=episodes, steps=steps
                    )
                    if count_outcomes(problem) > _MOST_OUTCOMES:
                        continue
                    policy = FullHistory.random(game, episodes * steps, jax.random.key(seed))
                    if with_critic:
                        policy = policy.with_critic(generator.normal(size=len(policy.logits)))
                    yield problem, policy
