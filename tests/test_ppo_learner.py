"""PPO as a naive learner: its steps by hand, its minibatches, and bad input."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from coala_eqx.learners import PPO, PolicyGradient
from tests.brute_force import learn_by_ppo
from tests.makers import distance, make_policy, make_problem
from tests.random_learners import ONE, Table, experience_of, random_steps


@pytest.mark.parametrize(
    ("settings", "by_hand"),
    [
        ({"clip": 0.05}, {"clip": 0.05, "value_clip": 0.05}),
        ({"value_clip": 0.02, "value_coefficient": 2.0}, {"clip": 0.2, "value_clip": 0.02, "coefficient": 2.0}),
        ({"value_clip": None, "discount": 0.9, "gae_lambda": 0.7}, {"clip": 0.2, "discount": 0.9, "lam": 0.7}),
        ({"clip": None, "reward_scale": 0.3}, {"clip": np.inf, "scale": 0.3}),
        ({"clip": 0.1, "value_clip": None, "normalise_advantages": True}, {"clip": 0.1, "normalise": True}),
    ],
)  # fmt: skip
def test_ppo_steps_as_loops_by_hand_do(settings, by_hand):
    generator, steps = np.random.default_rng(3), random_steps(4, 3)
    logits, critic = generator.normal(size=(5, 2)), generator.normal(size=5)
    rows = np.array([[0, 2], [3, 1], [1, 0], [2, 3], [0, 1], [2, 3]])
    learner = PPO(optax.sgd(0.4), epochs=3, minibatches=2, **settings)
    policy = Table(jnp.asarray(logits), jnp.asarray(critic))
    state = learner.init(policy)
    learned, _ = eqx.filter_jit(learner.learn)(policy, state, experience_of(steps), jnp.asarray(rows))
    expected, values, clipped = learn_by_ppo(logits, critic, steps, rows, rate=0.4, **by_hand)
    assert clipped > 0 or by_hand["clip"] == np.inf  # so that clipping is tried
    np.testing.assert_allclose(learned.logits, expected, atol=1e-12)
    np.testing.assert_allclose(learned.critic, values, atol=1e-12)


@pytest.mark.parametrize("normalise", [False, True])
def test_one_epoch_without_clipping_is_the_policy_gradient_with_its_critic(normalise):
    generator, experience = np.random.default_rng(4), experience_of(random_steps(3, 4))
    policy = Table(jnp.asarray(generator.normal(size=(5, 2))), jnp.asarray(generator.normal(size=5)))
    shared = {"discount": 0.8, "reward_scale": 0.7, "value_coefficient": 0.3, "normalise_advantages": normalise}
    adam = optax.adam(0.1)
    plain = PolicyGradient(optimiser=adam, baseline="critic", **shared)
    ppo = PPO(adam, epochs=1, minibatches=1, clip=None, **shared)
    assert not ppo.uses_key
    assert ppo.exchangeable
    expected, expected_state = plain.update(policy, plain.init(policy), experience)
    learned, state = ppo.update(policy, ppo.init(policy), experience)
    assert distance(learned, expected) < 1e-12
    assert distance(state[0].mu, expected_state[0].mu) < 1e-12


@pytest.mark.parametrize(("batch", "epochs", "minibatches"), [(2, 2, 2), (3, 1, 3), (4, 1, 2), (3, 2, 1)])
def test_listed_minibatches_are_those_of_all_permutations(batch, epochs, minibatches):
    """Each epoch's permutations are cut into pieces; the order within a piece does not matter."""
    learner, size = PPO(ONE, epochs=epochs, minibatches=minibatches), batch // minibatches
    found = {}
    permutations = [*itertools.permutations(range(batch))] if minibatches > 1 else [tuple(range(batch))]
    for each in itertools.product(permutations, repeat=epochs):
        cut = tuple(tuple(sorted(one[at : at + size])) for one in each for at in range(0, batch, size))
        found[cut] = found.get(cut, 0) + len(permutations) ** -epochs
    ways, probabilities = learner.draws(batch)
    assert learner.num_draws(batch) == len(found) == len(ways)
    listed = {tuple(map(tuple, way)): p for way, p in zip(np.asarray(ways).tolist(), probabilities, strict=True)}
    assert listed.keys() == found.keys()
    for cut, probability in found.items():
        np.testing.assert_allclose(float(listed[cut]), probability, rtol=1e-12)


def test_minibatches_are_drawn_with_the_probabilities_that_are_listed(getkey):
    """By Pearson's χ² of 3000 draws among six ways: below 24.3 in all but 1 of 5000 cases."""
    learner = PPO(ONE, epochs=1, minibatches=2)
    drawn = np.asarray(jax.vmap(lambda key: learner.draw(4, key))(jax.random.split(getkey(), 3000)))
    assert drawn.shape == (3000, 2, 2)
    np.testing.assert_array_equal(np.sort(drawn.reshape(3000, 4), axis=1), np.tile(np.arange(4), (3000, 1)))
    _, counts = np.unique(np.sort(drawn, axis=2).reshape(3000, 4), axis=0, return_counts=True)
    assert len(counts) == 6
    assert ((counts - 500) ** 2 / 500).sum() < 24.3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1, but is 0"),
        ({"minibatches": 0}, "`minibatches` must be at least 1, but is 0"),
        ({"clip": 0.0}, "`clip` must be positive, and above the rounding of probability ratios"),
        ({"value_clip": "off"}, "`value_clip` must be 'clip' or None, but is 'off'"),
        ({"clip": None, "value_clip": -1.0}, "`value_clip` must be positive, but is -1.0"),
        ({"gae_lambda": 2.0}, "`gae_lambda` must lie between 0 and 1, but is 2.0"),
        ({"discount": -1.0}, "`discount` must lie between 0 and 1, but is -1.0"),
        ({"reward_scale": np.inf}, "`reward_scale` must be a finite number, but is inf"),
        ({"value_coefficient": -0.5}, "`value_coefficient` must not be negative, but is -0.5"),
    ],
)
def test_bad_settings_of_ppo_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        PPO(ONE, **settings)


def test_minibatches_must_divide_the_batch(getkey):
    problem = make_problem(getkey(), learner=PPO(ONE, minibatches=2), batch=3)
    with pytest.raises(ValueError, match="`minibatches` must divide the number of trajectories, batch = 3, but is 2"):
        problem.play(make_policy("MemoryOne", problem, getkey()), getkey())
