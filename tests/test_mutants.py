"""The checks of `proofs_checks` can fail: errors planted in copies of the estimators are found, each by one of them."""

import dataclasses
import functools
import importlib
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx.estimators import MFOS, BatchUnaware, CoalaPG
from coala_eqx.estimators.advantages import batch_advantages
from experiments.bias_variance import Point, make_problem
from proofs_checks import (
    algorithm_1,
    batch_unaware_bias,
    bias_or_variance,
    discounting,
    equation_4,
    equation_24,
    equations_13_14,
    figure_12,
    learner_critic,
    lola_coala,
    lola_dice,
    m_fos_bias,
    normalisation,
    shared_activations,
    theorem_3_1,
    theorem_d_2,
)
from proofs_checks.common.cases import Case
from proofs_checks.common.ledger import Refuted, as_printed
from proofs_checks.figure_12 import random_logits

SMALL = Case(ego="FullHistory", seed=4)
STEPS = Case(ego="FullHistory", steps=2, seed=4)
LONG = Case(ego="FullHistory", episodes=3, seed=4)
PLAIN = Case(seed=4)
REWARDS, VALUES = np.arange(12.0).reshape(2, 3, 2), np.cos(np.arange(12.0)).reshape(2, 3, 2)
FLAGS = {"average_future_episodes": True, "normalize_current_episode": True}
CLASSES = {
    "coala_pg": "CoalaPG",
    "m_fos": "MFOS",
    "batch_unaware": "BatchUnaware",
    "reinforce": "Reinforce",
    "lola_exact": "LolaExact",
    "lola_dice": "LolaDice",
    "lola_coala": "LolaCoala",
}


def with_critic(estimator):
    equations_13_14.check_any_critic(estimator, SMALL)


def scan_of(module):
    algorithm_1.check_double_sum(module.batch_lambda_returns, REWARDS, VALUES, 0.9, 0.5, **FLAGS)


def coefficients_of(estimator):
    algorithm_1.check_closed_form(type(estimator).__name__, estimator, REWARDS, VALUES)


class Check(NamedTuple):
    check: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __call__(self, estimator: Any) -> None:
        self.check(estimator, *self.arguments)


def on(check: Callable[..., Any], *arguments: Any) -> Check:
    return Check(check, arguments)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """An error planted in the source of an estimator, or of the advantages it is made of."""

    what: str
    estimator: str
    old: str
    new: str
    check: Callable[[Any], Any]
    planted_in: str = ""
    """The estimator's own module unless given."""

    of_the_scan: bool = False
    """Whether the check is put to the module of advantages itself."""


ADVANTAGES, BOOTSTRAPPING = "advantages", "bootstrapping"
SHAPED = Case(ego="FullHistory", episodes=3)
MUTANTS = (
    Mutant("current episode not divided by B", "coala_pg", "normalize_current_episode=True",
           "normalize_current_episode=False", on(theorem_3_1.check_theorem, SMALL)),
    Mutant("future of the own trajectory only", "coala_pg", "average_future_episodes=True",
           "average_future_episodes=False", on(theorem_3_1.check_theorem, SMALL)),
    Mutant("future summed over the next episode only", "coala_pg", "together + decay * average",
           "jnp.where(ends_episode, 0.0, 1.0) * (together + decay * average)", on(theorem_3_1.check_theorem, LONG),
           ADVANTAGES),
    Mutant("the episode ends one step early", "coala_pg", "== rewards.shape[2] - 1,",
           "== max(0, rewards.shape[2] - 2),", on(theorem_3_1.check_theorem, STEPS), ADVANTAGES),
    Mutant("reward of the step itself dropped", "coala_pg", "own = alone + decay * jnp.where",
           "own = decay * jnp.where", on(theorem_3_1.check_theorem, SMALL), ADVANTAGES),
    Mutant("stale start of the accumulators", "coala_pg", "jnp.zeros_like(averages[0]))",
           "rewards[:, 0, 0].mean())", on(theorem_d_2.check_total_derivative, PLAIN), ADVANTAGES),
    Mutant("value after the last step kept", "coala_pg", "jnp.zeros_like(long_values[:, :1])",
           "long_values[:, -1:]", with_critic, ADVANTAGES),
    Mutant("value of this step in place of the next", "coala_pg", "discount * next_values(values) - values",
           "discount * values - values", coefficients_of, ADVANTAGES),
    Mutant("bootstrap not discounted", "coala_pg", "bootstrapped = discount * (1 - lambda_)",
           "bootstrapped = (1 - lambda_)", scan_of, ADVANTAGES, of_the_scan=True),
    Mutant("discount of the future one step short", "coala_pg", "jnp.where(ends_episode, average, own)",
           "jnp.where(ends_episode, average / discount, own)",
           lambda estimator: discounting.check_discounted(type(estimator)(discount=0.5), 0.5, SMALL), ADVANTAGES),
    Mutant("future weighed with 1/B once more", "coala_pg", "jnp.where(ends_episode, average, own)",
           "jnp.where(ends_episode, average / batch, own)", on(figure_12.check_weights, SMALL), ADVANTAGES),
    Mutant("own inner episode not divided by B, beside a critic of the learner", "coala_pg", "average_own=True",
           "average_own=False", on(learner_critic.check_any_critic, SHAPED)),
    Mutant("rewards of this inner episode in its future", "coala_pg", "inputs = mean[1:],", "inputs = mean[:-1],",
           on(learner_critic.check_any_critic, SHAPED), BOOTSTRAPPING),
    Mutant("κ the wrong way round", "coala_pg", "(1 - kappa) * after + kappa *", "kappa * after + (1 - kappa) *",
           on(learner_critic.check_any_critic, SHAPED), BOOTSTRAPPING),
    Mutant("prediction with b in it", "coala_pg", "future - shaping.without.astype(rewards.dtype)",
           "future - shaping.after.astype(rewards.dtype)", on(learner_critic.check_any_critic, SHAPED), BOOTSTRAPPING),
    Mutant("summed over the batch", "reinforce", "advantages.mean(axis=0)", "advantages.sum(axis=0)",
           on(equation_24.check_unbiasedness, SMALL)),
    Mutant("own trajectory left out", "reinforce", "advantages.mean(axis=0)",
           "(advantages.sum(axis=0) - advantages) / len(advantages)", on(equation_24.check_unbiasedness, SMALL)),
    Mutant("it is COALA-PG", "reinforce", "jnp.broadcast_to(advantages.mean(axis=0), advantages.shape)",
           "advantages / advantages.shape[0]",
           on(equation_24.check_excess_variance, Case(episodes=1, seed=4))),
    Mutant("current episode divided by B", "m_fos", "normalize_current_episode=False",
           "normalize_current_episode=True", on(m_fos_bias.check_identity, SMALL)),
    Mutant("future of the own trajectory only", "m_fos", "average_future_episodes=True",
           "average_future_episodes=False", on(m_fos_bias.check_identity, SMALL)),
    Mutant("not divided by B", "batch_unaware", "advantages / advantages.shape[0]", "advantages",
           on(batch_unaware_bias.check_identity, SMALL)),
    Mutant("it knows the batch", "batch_unaware", "average_future_episodes=False", "average_future_episodes=True",
           on(batch_unaware_bias.check_identity, SMALL)),
    Mutant("first episode in place of the last", "lola_coala", "self.critic_rewards(rewards)",
           "rewards.at[:, 1:].set(0)",
           on(lola_coala.check_last_episode, SMALL)),
    Mutant("current episode not divided by B", "lola_coala", "normalize_current_episode=True",
           "normalize_current_episode=False", on(lola_coala.check_last_episode, SMALL)),
    Mutant("no reward set to zero", "lola_coala", "rewards = self.critic_rewards(rewards)", "pass",
           on(theorem_d_2.check_total_derivative, PLAIN)),
    Mutant("one look-ahead too many", "lola_exact", "range(problem.episodes - 1)", "range(problem.episodes)",
           on(equation_4.check_total_derivative, PLAIN)),
    Mutant("the co-player climbs J^i, as printed", "lola_exact", "returns[index + 1]", "returns[0]",
           on(equation_4.check_total_derivative, PLAIN)),
    Mutant("look-ahead outside of the derivative", "lola_exact", "_own_gradient(problem, policy,",
           "_own_gradient(problem, jax.lax.stop_gradient(policy),", on(equation_4.check_total_derivative, PLAIN)),
    Mutant("scores of the ego agent dropped", "lola_dice", "log_probs, ego, experiences = inputs",
           "log_probs, ego, experiences = 0 * inputs[0], *inputs[1:]", on(lola_dice.check_agreement, 0, 2, 2)),
    Mutant("weighed by the probability once more", "lola_dice",
           "jnp.exp(log_probs - jax.lax.stop_gradient(log_probs))", "jnp.exp(log_probs)",
           on(lola_dice.check_agreement, 0, 2, 2)),
    Mutant("return of the first episode", "lola_dice", "returns[-1]", "returns[0]",
           on(lola_dice.check_agreement, 0, 2, 2)),
    Mutant("summed over the batch", "lola_dice", ".sum(axis=1).mean()", ".sum(axis=1).sum()",
           on(lola_dice.check_orders, 0)),
)  # fmt: skip


def copy_of(module: str, name: str, old: str = "", new: str = "", **replaced: Any) -> types.ModuleType:
    """A module made from the source of an estimator's, with `old`, which must occur once, replaced by `new`."""
    source = inspect.getsource(importlib.import_module(f"coala_eqx.estimators.{module}"))
    assert not old or source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {module}"
    copy = types.ModuleType(name)
    sys.modules[name] = copy
    copy.__dict__["jax"] = jax  # what is planted may need it
    exec(compile(source.replace(old, new) if old else source, name, "exec"), copy.__dict__)
    copy.__dict__.update(replaced)
    return copy


def subject(mutant: Mutant, *, planted: bool) -> Any:
    """What the check is put to: the estimator, or the module of advantages where the check is of the scan."""
    change = (mutant.old, mutant.new) if planted else ("", "")
    if mutant.planted_in == BOOTSTRAPPING:
        bootstrapping = copy_of(BOOTSTRAPPING, f"mutant_bootstrapping_{planted}", *change)
        shaped = {"learner_aware_advantages": bootstrapping.learner_aware_advantages}
        estimator = copy_of(mutant.estimator, f"mutant_{planted}", **shaped)
    elif mutant.planted_in == ADVANTAGES:
        advantages = copy_of(ADVANTAGES, f"mutant_advantages_{planted}", *change)
        if mutant.of_the_scan:
            return advantages
        estimator = copy_of(mutant.estimator, f"mutant_{planted}", batch_advantages=advantages.batch_advantages)
    else:
        estimator = copy_of(mutant.estimator, f"mutant_{planted}", *change)
    return getattr(estimator, CLASSES[mutant.estimator])()


@functools.cache
def check_copy(mutant: Mutant) -> None:
    """What is planted does not matter."""
    mutant.check(subject(mutant, planted=False))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.estimator}: {mutant.what}")
def test_a_check_rejects_the_mutant_and_passes_the_copy(mutant):
    with pytest.raises(Refuted):
        mutant.check(subject(mutant, planted=True))
    check_copy(dataclasses.replace(mutant, what="", old="", new=""))


def test_every_estimator_has_two_mutants_at_least():
    for module in CLASSES:
        assert sum(mutant.estimator == module for mutant in MUTANTS) >= 2, module


def _wrong_parts(**factors):
    """`figure_12.parts`, with some of them multiplied by a power of B."""

    def parts(game, first, second, other, batch):
        part = figure_12.parts(game, first, second, other, batch)
        return part._replace(**{name: getattr(part, name) * float(batch) ** power for name, power in factors.items()})

    return parts


def _advantages_without(values_of):
    return lambda rewards, values, **flags: batch_advantages(rewards, values_of(values), **flags)


PROBLEM, _ = make_problem(Point("B", "FullHistory", 2, 2, 1), bias_or_variance.SEED)
LOGITS = random_logits(0)
WRONG = {
    "centred over the batch: it is not": lambda: normalisation.check_over_batch(CoalaPG(), SMALL),
    "centred over batch and steps: over the batch": lambda: normalisation.check_over_minibatch(
        normalisation.Centred(normalisation.over_batch), SMALL, 2
    ),
    "minibatch: of another size": lambda: normalisation.check_over_minibatch(normalisation.Minibatch(1), SMALL, 2),
    "leave-one-out: nothing is left out": lambda: normalisation.check_leave_one_out(
        normalisation.Centred(normalisation.over_batch), SMALL
    ),
    "meta-batch: always over both": lambda: normalisation.check_meta_batch(
        lambda _: normalisation.InMetaBatch(normalisation.of_both), PLAIN
    ),
    "exact critic: λ is ignored": lambda: discounting.check_lambda(CoalaPG(), 0.5, SMALL),
    "exact critic: batch-unaware at λ > 0": lambda: discounting.check_lambda(BatchUnaware(), 0.5, SMALL),
    "revealing reset: M-FOS": lambda: equations_13_14.check_leak(MFOS(), np.zeros((3, 2)), np.arange(3.0)),
    "futures: own and of everyone": lambda: equations_13_14.check_futures(
        equations_13_14.own_future, lambda r, v: 2 * equations_13_14.own_future(r, v), PLAIN
    ),
    "other reading: values shifted": lambda: algorithm_1.check_offset(
        _advantages_without(lambda values: np.roll(values, 1)), REWARDS, VALUES, **FLAGS
    ),
    "other reading: it is the right one": lambda: algorithm_1.check_reading(CoalaPG(), STEPS),
    "targets: as printed": lambda: algorithm_1.check_targets(algorithm_1.PrintedTargets(), STEPS),
    "Fig. 12: cross part averaged, not summed": lambda: figure_12.check_cross_part(_wrong_parts(cross=-1), 0),
    "Fig. 12: own part summed": lambda: figure_12.check_own_part(_wrong_parts(own=1), 0),
    "Fig. 12: own part is the cross part's average": lambda: figure_12.check_equal_shares(
        _wrong_parts(own=-1), ce.games.stag_hunt(), LOGITS[0], LOGITS[2], 3
    ),
    "M-FOS with a critic: COALA-PG": lambda: m_fos_bias.check_identity_with_critic(CoalaPG(), SMALL),
    "shared activations: COALA-PG": lambda: shared_activations.check_sharing(
        CoalaPG(), shared_activations.UNSHARED, 1.0, 0
    ),
    "learner's critic: with b in it": lambda: learner_critic.check_any_critic(CoalaPG(), SHAPED, learner_critic.WithB),
    "learner's critic: b's own memory": lambda: learner_critic.check_any_critic(
        CoalaPG(), SHAPED, learner_critic.OwnMemory
    ),
    "learner's critic: linearised after the update": lambda: learner_critic.check_any_critic(
        CoalaPG(), SHAPED, learner_critic.LinearisedAfter
    ),
    "learner's critic: inside Eqs 13–14": lambda: learner_critic.check_any_critic(learner_critic.Inside(), SHAPED),
    "records: M-FOS in place of COALA-PG": lambda: bias_or_variance.check_records(
        (records := bias_or_variance.records_of(2, 2, 1)) | {("CoalaPG", "none"): records["MFOS", "none"]}, PROBLEM
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_check_rejects_what_is_wrong(what):
    """The right ones pass in `proofs_checks` itself."""
    with pytest.raises(Refuted):
        WRONG[what]()


def test_numbers_that_are_not_as_printed_are_rejected():
    as_printed("a table", [0.2, 1.96], ["0.2", "2.0"])
    with pytest.raises(Refuted):
        as_printed("a table", [0.2, 1.94], ["0.2", "2.0"])
