"""The checks of returns, zero-determinant policies and Appendix C.1 can fail: wrong formulas are refuted."""

import jax
import numpy as np
import pytest

from coala_eqx.learners import ExactAscent
from coala_eqx.returns import memory_one_returns
from proofs_checks import appendix_c_1, continuous_time, equation_16, zero_determinant
from proofs_checks.common.iterated import Match, play
from proofs_checks.common.ledger import Refuted
from proofs_checks.zero_determinant import Deal, largest_phi, printed_phi
from proofs_checks.zero_determinant import zero_determinant as enforcing

MATCH = Match(seed=3)
DEAL = Deal(gaps=(1.0, 0.5, 1.5), chi=2.5, share=0.8, start=0.3)
HARSH = Deal(gaps=(2.0, 0.5, 0.5), chi=2.5)
"""With T + S < 2P."""


def _unnormalised(first, second, payoffs, discount):
    return memory_one_returns(first, second, payoffs, discount, normalise=False)


def _discounted_from_the_start(first, second, payoffs, discount):
    return discount * memory_one_returns(first, second, payoffs, discount)


def _uniform_start(first, second, payoffs, discount):
    first, second = (jax.numpy.asarray(table).at[0].set(1 / table.shape[1]) for table in (first, second))
    return memory_one_returns(first, second, payoffs, discount)


def _column_players_payoffs_transposed(first, second, payoffs, discount):
    return memory_one_returns(first, second, np.stack([payoffs[0], payoffs[1].T]), discount)


def _cut_off(first, second, payoffs, discount):
    """After 100 steps, of which 0.95^100 = 0.6 % is missing."""
    tables = np.asarray(first), np.asarray(second)
    return (1 - discount) * play(tables, payoffs, discount, 100)[0]


def _start_not_differentiated(first, second, payoffs, discount):
    first = jax.numpy.asarray(first)
    return memory_one_returns(first.at[0].set(jax.lax.stop_gradient(first[0])), second, payoffs, discount)


def _continued_from_the_start(first, second, payoffs, discount):
    """Every joint action followed by that of the start: right at a discount of 0 only."""
    first, second = (
        jax.numpy.broadcast_to(table[:1], table.shape) for table in map(jax.numpy.asarray, (first, second))
    )
    return memory_one_returns(first, second, payoffs, discount)


def _chi_in_the_wrong_place(outcomes, chi, phi):
    t, _, p, s = outcomes
    first, _, third, fourth = enforcing(outcomes, chi, phi)
    return first, 1 - phi * (chi + (t - p) / (p - s)), third, fourth


def _chi_not_less_one(outcomes, chi, phi):
    _, r, p, s = outcomes
    return (1 - phi * chi * (r - p) / (p - s), *enforcing(outcomes, chi, phi)[1:])


def _forgives_mutual_defection(outcomes, chi, phi):
    return (*enforcing(outcomes, chi, phi)[:3], 0.05)


def _half_the_range(outcomes, chi):
    return largest_phi(outcomes, chi) / 2


def _learning_not_differentiated(ego, *arguments):
    """Differentiated are the rewards only, at the path as it is."""
    path = appendix_c_1.naive_path(jax.lax.stop_gradient(ego), *arguments)
    both = appendix_c_1.Both(arguments[2])
    return jax.vmap(lambda policy: both(jax.lax.stop_gradient(policy), ego)[1])(path.policies)


def _climbs_the_ego_agents_return(*arguments):
    return appendix_c_1.naive_path(*arguments, climbed=0).other


"""As Eq. 17 prints it."""


def _sum(formula):
    equation_16.check_sum(formula, MATCH)


def _corners(formula):
    equation_16.check_corners(formula, MATCH.payoffs(), 0.95)


def _horizon(formula):
    equation_16.check_horizon(formula, MATCH, 2)


def _derivatives(formula):
    equation_16.check_derivatives(formula, MATCH)


def _partial(formula):
    appendix_c_1.check_partial(formula, 0.95)


def _relation(formula):
    zero_determinant.check_relation(formula, DEAL, MATCH.tables()[1])


def _limit(formula):
    zero_determinant.check_limit(formula, Deal(start=0.5, share=0.8, discount=0.9999), MATCH.tables()[1])


def _histories(formula):
    zero_determinant.check_histories(formula, DEAL, 0)


def _range(formula):
    zero_determinant.check_range(formula, HARSH)


RIGHT = [
    *((check, memory_one_returns) for check in (_sum, _corners, _horizon, _derivatives, _partial)),
    *((check, enforcing) for check in (_relation, _limit, _histories)),
    (_range, largest_phi),
]
WRONG = [
    (_sum, equation_16.printed),
    (_sum, _unnormalised),
    (_sum, _discounted_from_the_start),
    (_sum, _uniform_start),
    (_sum, _column_players_payoffs_transposed),
    (_sum, _cut_off),
    (_corners, equation_16.printed),
    (_corners, _discounted_from_the_start),
    (_corners, _uniform_start),
    (_horizon, _cut_off),
    (_horizon, _continued_from_the_start),
    (_horizon, equation_16.printed),
    (_derivatives, _start_not_differentiated),
    (_derivatives, equation_16.printed),
    (_partial, _unnormalised),
    (_partial, equation_16.printed),
    (_relation, _chi_in_the_wrong_place),
    (_relation, _chi_not_less_one),
    (_relation, _forgives_mutual_defection),
    (_limit, _chi_not_less_one),
    (_histories, _chi_in_the_wrong_place),
    (_histories, _forgives_mutual_defection),
    (_range, printed_phi),
    (_range, _half_the_range),
    (appendix_c_1.check_defection, _climbs_the_ego_agents_return),
    (appendix_c_1.check_defection, _learning_not_differentiated),
    (appendix_c_1.check_tit_for_tat, _climbs_the_ego_agents_return),
]


def _name(function):
    return getattr(function, "__name__", "partial").strip("_")


@pytest.mark.parametrize(("check", "formula"), RIGHT, ids=_name)
def test_the_right_formula_passes(check, formula):
    check(formula)


@pytest.mark.parametrize(("check", "mutant"), WRONG, ids=_name)
def test_a_wrong_formula_is_refuted(check, mutant):
    with pytest.raises(Refuted):
        check(mutant)


def _one_percent_faster(steps):
    return continuous_time.results(ExactAscent(1.01 * continuous_time.DURATION / steps, steps), 20.0 / steps)


def _sum_off_by_a_half_order(steps):
    found = continuous_time.by_ascent(steps)
    return found | {"collected return": found["collected return"] * (1 + 0.1 / steps**0.5)}


def _gradient_too_short(steps):
    found = continuous_time.by_ascent(steps)
    return found | {"gradient of it": 0.999 * found["gradient of it"]}


@pytest.mark.parametrize("discrete", [_one_percent_faster, _sum_off_by_a_half_order, _gradient_too_short])
def test_what_does_not_converge_at_first_order_is_rejected(discrete):
    with pytest.raises(Refuted):
        continuous_time.check_limit(discrete, continuous_time.by_flow())
