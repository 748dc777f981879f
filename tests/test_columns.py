"""Structure at a run's own size, by random columns: what the whole matrix says at small sizes, and in time at large."""

import jax.numpy as jnp
import numpy as np
import pytest

from coala_eqx.estimators import (
    MFOS,
    AbstractScoreFunctionEstimator,
    BatchUnaware,
    CoalaPG,
    Inapplicable,
    LolaCoala,
    LolaDice,
    Reinforce,
)
from coala_eqx.estimators.objectives import objective_of
from coala_eqx.structure.columns import remark
from coala_eqx.structure.findings import WEIGHTS, NotLinear
from coala_eqx.verification import certify_structure, find_wrong
from coala_eqx.verification.structural import kernel_of

SMALL = [(1, 1, 1), (2, 1, 3), (1, 4, 1), (3, 3, 3), (2, 2, 1), (3, 2, 4)]


class Centred(CoalaPG):
    def coefficients(self, rewards, values=None):
        return super().coefficients(rewards - jnp.abs(rewards).mean(), values)


class Late(AbstractScoreFunctionEstimator):
    """COALA-PG, but from the tenth inner episode on one trajectory counts twice, in the average of the others."""

    unbiased_for = "shaping_return"

    def coefficients(self, rewards, values=None):
        right = CoalaPG().coefficients(rewards, values)
        if rewards.shape[1] < 10:
            return right
        return right.at[:, :9].multiply(1.5)


class Peeking(AbstractScoreFunctionEstimator):
    """A baseline that is the value after the action."""

    unbiased_for = "shaping_return"

    def coefficients(self, rewards, values=None):
        right = CoalaPG().coefficients(rewards)
        return right if values is None else right - 0.1 * jnp.roll(values, -1, axis=2)


@pytest.mark.parametrize(
    "estimator", [CoalaPG(), MFOS(), BatchUnaware(), Reinforce(), LolaCoala(), CoalaPG(discount=0.9)]
)
@pytest.mark.parametrize("size", SMALL)
def test_columns_say_what_the_matrix_says(estimator, size):
    kernel = kernel_of(estimator, size)
    wrong = kernel.wrong(WEIGHTS[objective_of(estimator)](size[1])), kernel.forbidden_values()
    # As many columns as there are, and more: all of them, but by chance.
    found = find_wrong(estimator, *size, columns=60)
    assert (found is not None) == any(map(np.any, wrong))
    if found is not None:
        action, other = (tuple(index - 1 for index in place) for place in (found.action, found.other))
        matrix = kernel.values if found.of_values else kernel.rewards
        assert matrix[(*action, *other)] == pytest.approx(found.weight)


class AtTheStart(AbstractScoreFunctionEstimator):
    """Leaves out the last reward of the first inner episode, for the first action of one trajectory."""

    def coefficients(self, rewards, values=None):
        return CoalaPG().coefficients(rewards, values).at[0, 0, 0].add(-rewards[0, 0, -1])


class Shifted(CoalaPG):
    def coefficients(self, rewards, values=None):
        return super().coefficients(rewards, values) + 1e5


class Counting(CoalaPG):
    """By how many rewards there are."""

    def coefficients(self, rewards, values=None):
        return super().coefficients(rewards, values) * (rewards != 0).sum() / rewards.size


@pytest.mark.parametrize("size", [(1, 1, 5), (1, 4, 6)])
@pytest.mark.parametrize("seed", range(3))
def test_the_first_inner_episode_is_looked_at(size, seed):
    assert certify_structure(AtTheStart(), [size]).verdict == "biased"
    assert find_wrong(AtTheStart(), *size, seed=seed) is not None


@pytest.mark.parametrize("size", SMALL)
def test_constants_are_free(size):
    assert find_wrong(Shifted(), *size) is None


def test_what_is_linear_in_dense_rewards_only_is_not_linear():
    with pytest.raises(NotLinear):
        find_wrong(Counting(), 3, 2, 2)


def test_an_error_of_an_estimator_does_not_stop_a_run():
    class Fails(CoalaPG):
        def coefficients(self, rewards, values=None):
            raise RuntimeError("no coefficients\ntoday")

    assert remark(Fails(), 3, 2, 2).endswith("which cannot be checked at this size: no coefficients today.")


@pytest.mark.parametrize("estimator", [CoalaPG(), Reinforce(), LolaCoala()])
def test_at_the_size_of_a_run_nothing_is_found_where_nothing_is_wrong(estimator):
    assert find_wrong(estimator, 16, 20, 20) is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("estimator", [Late(), MFOS(), BatchUnaware(), Peeking()])
def test_what_is_wrong_at_the_size_of_a_run_is_found(estimator, seed):
    found = find_wrong(estimator, 8, 20, 10, seed=seed)
    assert found is not None
    assert found.of_values == isinstance(estimator, Peeking)


def test_what_small_sizes_do_not_show():
    assert certify_structure(Late(), SMALL).verdict == "unbiased"
    assert "is not unbiased for the shaping_return in this run" in remark(Late(), 4, 12, 3)


def test_who_cannot_be_judged_is_said():
    with pytest.raises(NotLinear, match="not linear"):
        find_wrong(Centred(), 3, 2, 2)
    with pytest.raises(Inapplicable, match="enumeration"):
        find_wrong(LolaDice(), 3, 2, 2)
    with pytest.raises(ValueError, match="at least 1"):
        find_wrong(CoalaPG(), 3, 0, 2)


def test_remarks_are_made_on_claims_only():
    assert remark(CoalaPG(), 4, 3, 5) == remark(MFOS(), 4, 3, 5) == remark(LolaDice(), 4, 3, 5) == ""
    assert "discounts by 0.99" in remark(CoalaPG(discount=0.99), 4, 3, 5)
    assert "which cannot be checked" in remark(Centred(), 4, 3, 5)
    assert not remark(CoalaPG(discount=jnp.asarray(1.0)), 2, 2, 2)
