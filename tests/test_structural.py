"""Structural certificates: what the coefficients say of all games."""

import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx.estimators import MFOS, BatchUnaware, CoalaPG, LolaCoala, LolaExact, Reinforce
from coala_eqx.structure.kernel import FREE, FUTURE_OTHER, FUTURE_OWN, OWN, admissible_values, relations
from coala_eqx.verification import certify_structure, draw_kernels
from examples.centred_wrongly import CentredWrongly
from examples.leave_one_out import LeaveOneOut

THREE = [(3, 3, 3)]


@pytest.mark.parametrize(
    ("estimator", "wrong", "free", "forbidden", "verdict"),
    [
        (CoalaPG(), 0, 0, 0, "unbiased"),
        (Reinforce(), 0, 108, 0, "unbiased"),
        (MFOS(), 54, 0, 18, "biased"),
        (BatchUnaware(), 162, 0, 0, "biased"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_counts_at_three_by_three_by_three(estimator, wrong, free, forbidden, verdict):
    """By hand: 54 own entries, 81 + 162 later ones; REINFORCE uses 54·2 of the others' in the same inner episode."""
    certificate = certify_structure(estimator, THREE)
    assert certificate.downstream == 297
    assert (certificate.wrong, certificate.free_in_use, certificate.forbidden_values) == (wrong, free, forbidden)
    assert certificate.verdict == certificate.against_exchangeable == verdict
    assert certificate.kept


def test_entries_lie_to_each_other_as_the_theorem_says():
    """Against a definition in loops."""
    size = (2, 3, 2)
    kinds, allowed = relations(*size), admissible_values(*size)
    for (b, m, t), (c, n, s) in itertools.product(np.ndindex(*size), repeat=2):
        long_action, long_reward = 2 * m + t, 2 * n + s
        expected = FREE
        if n > m:
            expected = FUTURE_OWN if b == c else FUTURE_OTHER
        elif b == c and n == m and long_reward >= long_action:
            expected = OWN
        assert kinds[b, m, t, c, n, s] == expected
        limit = long_action if b == c else 2 * (m + 1)
        assert allowed[b, m, t, c, n, s] == (long_reward <= limit)


def test_all_default_sizes(getkey):
    certificate = certify_structure(CoalaPG())
    assert set(itertools.product(range(1, 7), range(1, 6), range(1, 6))) <= set(certificate.sizes)
    assert certificate.verdict == "unbiased"
    assert certificate.counterexample is None


class Only(CoalaPG):
    """COALA-PG but at one size."""

    def coefficients(self, rewards, values=None):
        return (MFOS() if rewards.shape == (5, 4, 3) else CoalaPG()).coefficients(rewards, values)


class TwoStep(CoalaPG):
    """The reward-to-go of the own inner episode is cut after two steps."""

    def coefficients(self, rewards, values=None):
        rewards = jnp.asarray(rewards)
        to_go = jnp.flip(jnp.cumsum(jnp.flip(rewards, 2), 2), 2)
        two = rewards + jnp.concatenate([rewards[:, :, 1:], jnp.zeros_like(rewards[:, :, :1])], 2)
        return super().coefficients(rewards, values) + (two - to_go) / len(rewards)


def test_a_wrong_size_is_found():
    certificate = certify_structure(Only())
    assert certificate.verdict == "biased"
    assert not certificate.kept
    assert "(5, 4, 3)" in certificate.note
    assert certificate.counterexample.certificate is None  # 5·4·3 steps cannot be enumerated


def test_a_counterexample_is_enumerated():
    certificate = certify_structure(TwoStep())
    assert "at size (B, M, T) = (1, 1, 3)" in certificate.note
    found = certificate.counterexample
    assert found.certificate.verdict == "fails"
    again = ce.verification.certify(TwoStep(), found.problem, found.policy)
    assert again.relative_bias == pytest.approx(found.certificate.relative_bias)
    assert again.relative_bias > 0.01


@pytest.mark.parametrize("estimator", [CoalaPG(discount=0.99), CoalaPG(gae_lambda=0.9), CentredWrongly()], ids=repr)
def test_what_is_biased_is_shown_in_a_game(estimator):
    certificate = certify_structure(estimator, [(1, 1, 1), (2, 2, 1), (2, 1, 2)])
    if isinstance(estimator, CoalaPG) and estimator.discount == 1:
        # λ works on TD errors: without values it discounts as γ does.
        assert certificate.verdict == "biased"
    assert certificate.counterexample.certificate.verdict == "fails"


def test_others_of_this_package_and_of_the_examples():
    assert certify_structure(LolaCoala(), THREE).objective == "last_episode_return"
    assert certify_structure(LolaCoala(), THREE).verdict == "unbiased"
    assert certify_structure(LeaveOneOut(), THREE).verdict == "unbiased"
    with pytest.raises(ce.estimators.Inapplicable, match="LolaExact is not a score-function estimator"):
        certify_structure(LolaExact())


class Shy(MFOS):
    """A false claim that it does not let anybody try."""

    unbiased_for: ClassVar[str | None] = "shaping_return"

    def check_problem(self, problem):
        raise ce.estimators.Inapplicable("not today")


def test_an_estimator_that_declines_is_refuted_all_the_same():
    certificate = certify_structure(Shy(), [(2, 1, 1)])
    assert not certificate.kept
    assert certificate.counterexample.certificate is None
    assert "not today" in certificate.counterexample.text


class Clipped(CoalaPG):
    def coefficients(self, rewards, values=None):
        return super().coefficients(jnp.clip(jnp.asarray(rewards), -6, 6), values)


class Normalised(CoalaPG):
    def coefficients(self, rewards, values=None):
        made = super().coefficients(rewards, values)
        return made / (jnp.std(made) + 1e-8)


class Tied(CoalaPG):
    """Wrong only where two rewards are equal."""

    def coefficients(self, rewards, values=None):
        made = super().coefficients(rewards, values)
        return jnp.where((rewards == 2.0).any() & (rewards == -2.0).any(), 2 * made, made)


@pytest.mark.parametrize("kind", [Clipped, Normalised, Tied])
def test_what_is_not_linear_is_said(kind):
    certificate = certify_structure(kind(), [(2, 2, 2)])
    assert certificate.verdict == "not linear"
    assert certificate.kept
    assert "judged by enumeration only" in certificate.note
    with pytest.raises(ValueError, match="not linear"):
        certificate.kernel(2, 2, 2)


CALLS = itertools.count()


class Moody(CoalaPG):
    def coefficients(self, rewards, values=None):
        made = super().coefficients(rewards, values)
        return 2 * made if next(CALLS) > 3 else made


class Single(CoalaPG):
    """Another one in float32, in which training is done."""

    def coefficients(self, rewards, values=None):
        made = super().coefficients(rewards, values)
        return 2 * made if jnp.asarray(rewards).dtype == jnp.float32 else made


@pytest.mark.parametrize("kind", [Moody, Single])
def test_coefficients_are_a_function_of_rewards_and_values(kind):
    with pytest.raises(ValueError, match="must be a function of rewards and values alone"):
        certify_structure(kind(), [(2, 2, 2)])


class WithValue(CoalaPG):
    """The own next value bootstraps."""

    unbiased_for: ClassVar[str | None] = "shaping_return"

    def coefficients(self, rewards, values=None):
        made = super().coefficients(rewards)
        if values is None:
            return made
        later = jnp.concatenate([values[:, :, 1:], jnp.zeros_like(values[:, :, :1])], axis=2)
        return made + 0.1 * later


def test_values_after_the_action_are_forbidden():
    certificate = certify_structure(WithValue(), [(2, 1, 2)])
    assert certificate.verdict == "biased"
    assert "the value at step 2" in certificate.note
    assert "may not enter" in certificate.note
    assert certificate.counterexample.certificate.verdict == "fails"


def test_kernels_are_the_jacobian():
    kernel = certify_structure(MFOS(), THREE).kernel(2, 2, 2)
    rewards, values = np.random.default_rng(0).normal(size=(2, 2, 2, 2))
    by_jax = jax.jacobian(lambda r: MFOS().coefficients(r, values))(jnp.asarray(rewards))
    np.testing.assert_allclose(kernel.rewards, by_jax, atol=1e-14)
    by_jax = jax.jacobian(lambda v: MFOS().coefficients(rewards, v))(jnp.asarray(values))
    np.testing.assert_allclose(kernel.values, by_jax, atol=1e-14)


@pytest.mark.parametrize("sizes", [[], [(0, 1, 1)], [(2, 2)], ["abc"]])
def test_bad_sizes_are_named(sizes):
    with pytest.raises(ValueError, match="(?i)size"):
        certify_structure(CoalaPG(), sizes)


def test_the_picture_is_drawn(tmp_path):
    draw_kernels(tmp_path / "kernels.png", [CoalaPG(), MFOS()])
    assert (tmp_path / "kernels.png").stat().st_size > 10_000
