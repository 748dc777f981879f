"""Continuous actions: distributions, policies, play, estimators, learners and training."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

import coala_eqx as ce
from coala_eqx.games import Box, Vector, cournot_competition
from coala_eqx.learners import PolicyGradient, Static
from coala_eqx.policies import (
    GRU,
    MLP,
    AbstractPolicy,
    Gaussian,
    Hawk,
    LinearGaussian,
    PolicyOutput,
    entropy_of,
    log_probs_of,
    replay_actions,
    unroll_by_steps,
)
from coala_eqx.policies.base import shift_actions
from coala_eqx.shaping import replay_ego
from coala_eqx.training import A2C, PPO, Agent, Follow, NaiveLearners, Pool, make_batch
from coala_eqx.verification import certify, certify_structure

RATE = 0.2
LEARNER = PolicyGradient(optimiser=optax.sgd(RATE))
GAME = cournot_competition()
NETWORKS = {
    "MLP": lambda key: MLP(Vector(2), Box(3), width=4, key=key),
    "GRU": lambda key: GRU(Vector(2), Box(3), width=4, key=key),
    "Hawk": lambda key: Hawk(Vector(2), Box(3), width=4, head_scale=1.0, key=key),
    "LinearGaussian": lambda key: LinearGaussian(jnp.arange(6.0).reshape(3, 2), [1.0, 2.0, 3.0], [0.1, -0.2, 0.3]),
}


def firms():
    return tuple(LinearGaussian([[0.1, 0.2]], [1.0], [-0.5], learns_std=learns) for learns in (True, False))


def make_problem(policy, *, batch=3, episodes=2, steps=2, learner=LEARNER):
    return ce.ShapingProblem(game=GAME, co_players=policy, learner=learner, batch=batch, episodes=episodes, steps=steps)


def test_gaussians_are_those_of_scipy(getkey):
    generator = np.random.default_rng(0)
    mean, log_std, actions = generator.normal(size=(3, 5, 2))
    one, same = Gaussian(jnp.asarray(mean), jnp.asarray(log_std)), scipy.stats.norm(mean, np.exp(log_std))
    output = PolicyOutput(distribution=one)
    np.testing.assert_allclose(log_probs_of(output, jnp.asarray(actions)), same.logpdf(actions).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(entropy_of(output), same.entropy().sum(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(output.values, np.zeros(5))
    number = 40_000
    drawn = jax.vmap(one.sample)(jax.random.split(getkey(), number))
    z = (drawn - mean) / np.exp(log_std)
    # a component is further off than 4.5 standard errors with probability 7e-6
    assert np.abs(z.mean(axis=0)).max() < 4.5 / np.sqrt(number)
    assert np.abs((z**2).mean(axis=0) - 1).max() < 4.5 * np.sqrt(2 / number)
    assert np.abs((z[..., 0] * z[..., 1]).mean(axis=0)).max() < 4.5 / np.sqrt(number)


def test_single_precision_stays_single():
    one = Gaussian(jnp.zeros(2, jnp.float32), jnp.zeros(2, jnp.float32))
    drawn = one.sample(jax.random.key(0))
    assert {x.dtype for x in (drawn, one.log_prob(drawn), one.log_prob(drawn.astype(float)), one.entropy())} == {
        np.dtype("float32")
    }


def test_an_output_has_one_distribution():
    with pytest.raises(ValueError, match="needs either `logits` or a `distribution`, and not both"):
        PolicyOutput(values=jnp.zeros(()))
    gaussian = Gaussian(jnp.zeros(1), jnp.zeros(1))
    with pytest.raises(ValueError, match="needs either `logits` or a `distribution`, and not both"):
        PolicyOutput(jnp.zeros(2), jnp.zeros(()), distribution=gaussian)
    with pytest.raises(ValueError, match="Only discrete actions have logits, but the output is a Gaussian"):
        PolicyOutput(distribution=gaussian).logits  # noqa: B018
    assert PolicyOutput(jnp.zeros((3, 2))).values.shape == (3,)


@pytest.mark.parametrize("kind", NETWORKS)
def test_policies_unroll_as_they_step(kind, getkey):
    policy = NETWORKS[kind](getkey())
    seen, done = (jnp.asarray(np.random.default_rng(n).normal(size=(5, n))) for n in (2, 3))
    before = shift_actions(done[None])[0]
    np.testing.assert_array_equal(before, np.concatenate([np.zeros((1, 3)), done[:-1]]))
    _, whole = policy.unroll(policy.initial_memory(), seen, before)
    memory = policy.initial_memory()
    for step in range(5):
        memory, one = policy(memory, seen[step], before[step])
        for mine, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(mine, theirs[step], rtol=1e-11, atol=1e-13)
    assert (policy.action_space, policy.num_actions, policy.num_observations) == (Box(3), 3, 2)


@pytest.mark.parametrize("kind", ["MLP", "GRU", "Hawk"])
def test_networks_learn_one_standard_deviation_for_all_states(kind, getkey):
    policy = NETWORKS[kind](getkey())
    seen, done = jnp.ones((1, 4, 2)), jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 3)))
    _, output = policy.unroll(policy.initial_memory(), seen[0], done[0])
    np.testing.assert_array_equal(output.distribution.log_std, 0)
    slope = eqx.filter_grad(lambda policy: replay_actions(policy, seen, done)[0].sum())(policy).read_out.log_std
    # ∂ log p/∂ log σ = (a − μ)²/σ² − 1, with σ = 1 at first
    np.testing.assert_allclose(slope, ((done[0] - output.distribution.mean) ** 2 - 1).sum(axis=0), rtol=1e-10)


@pytest.mark.parametrize("learns", [True, False])
def test_a_linear_gaussian_policy_is_linear(learns):
    weight, bias, log_std = [[1.0, 2.0]], [3.0], [0.5]
    policy = LinearGaussian(weight, bias, log_std, learns_std=learns)
    x, action = jnp.array([0.5, -1.0]), jnp.array([4.0])
    _, output = policy(policy.initial_memory(), x, jnp.zeros(1))
    assert output.distribution.mean.tolist() == [0.5 - 2 + 3]
    slopes = eqx.filter_grad(lambda policy: replay_actions(policy, x[None, None], action[None, None])[0].sum())(policy)
    scaled = (4 - 1.5) / np.exp(1.0)
    np.testing.assert_allclose(slopes.bias, [scaled])
    np.testing.assert_allclose(slopes.weight, [[0.5 * scaled, -scaled]])
    np.testing.assert_allclose(slopes.log_std, [(4 - 1.5) * scaled - 1 if learns else 0])


def test_linear_gaussian_policies_are_checked():
    for arguments, match in (
        (([[1.0]], [[1.0]]), r"`bias` must have shape \[components\], but has \(1, 1\)"),
        (([1.0], [1.0]), r"`weight` must have shape .* with 1 components as `bias`, but has \(1,\)"),
        (([[1.0], [2.0]], [1.0]), r"with 1 components as `bias`, but has \(2, 1\)"),
        (([[1.0]], [1.0], [1.0, 2.0]), r"`log_std` must have the shape of `bias`, \(1,\), but has \(2,\)"),
        (([[np.nan]], [1.0]), "`weight` must hold finite numbers"),
    ):
        with pytest.raises(ValueError, match=match):
            LinearGaussian(*arguments)


class Counting(AbstractPolicy):
    """Says what it was told: its mean is its previous action plus 1, its value the number of steps."""

    num_observations: int = 2
    num_actions: int = 1
    action_space: Box = Box(1)

    def initial_memory(self):
        return jnp.zeros(())

    def __call__(self, memory, observation, previous_action):
        return memory + 1, PolicyOutput(values=memory, distribution=Gaussian(previous_action + 1, jnp.full(1, -40.0)))

    def unroll(self, memory, observations, previous_actions):
        return unroll_by_steps(self, memory, observations, previous_actions)


def test_previous_actions_are_zeros_at_first(getkey):
    """An ego agent's memory and last action outlive an inner episode, a co-player's do not."""
    episode = make_problem(Counting(), learner=Static()).play(Counting(), getkey())
    assert episode.actions.shape == (3, 2, 2, 1)
    np.testing.assert_allclose(episode.actions[..., 0], np.broadcast_to([[1, 2], [3, 4]], (3, 2, 2)), atol=1e-12)
    np.testing.assert_array_equal(episode.values, np.broadcast_to([[0, 1], [2, 3]], (3, 2, 2)))
    (other,) = episode.co_players
    np.testing.assert_allclose(other.actions[..., 0], np.broadcast_to([[1, 2], [1, 2]], (3, 2, 2)), atol=1e-12)
    # the first firm earns a (3 − a − b)
    np.testing.assert_allclose(episode.rewards, np.broadcast_to([[1, -2], [-3, -12]], (3, 2, 2)), atol=1e-11)
    # it sees its own last quantity first; an inner episode starts with zeros
    np.testing.assert_allclose(episode.observations[0, 1], [[0, 0], [3, 1]], atol=1e-12)


def test_what_is_played_is_what_is_replayed(getkey):
    policy, co_player = firms()
    episode = make_problem(co_player).play(policy, getkey())
    np.testing.assert_allclose(
        replay_ego(policy, episode.observations, episode.actions)[0], episode.log_probs, rtol=1e-12
    )
    mean = episode.observations @ jnp.array([0.1, 0.2]) + 1
    expected = scipy.stats.norm(mean, np.exp(-0.5)).logpdf(episode.actions[..., 0])
    np.testing.assert_allclose(episode.log_probs, expected, rtol=1e-12)


def test_a_distribution_without_parameters_makes_rewards_nan(getkey):
    policy, co_player = firms()
    for wrong in ("bias", "log_std"):
        lost = eqx.tree_at(lambda p, wrong=wrong: getattr(p, wrong), policy, jnp.array([jnp.nan]))
        assert np.isnan(make_problem(co_player).play(lost, getkey()).rewards).all()


def test_outputs_must_fit_the_declared_space(getkey):
    class Wrong(Counting):
        def __call__(self, memory, observation, previous_action):
            return memory, PolicyOutput(jnp.zeros(2))

    with pytest.raises(ValueError, match=r"Wrong has the action space Box\(n=1\), but its output is a Categorical"):
        make_problem(firms()[1]).play(Wrong(), getkey())


def test_lola_dice_differentiates_through_updates_of_means(getkey):
    """The same by hand: the last return's slope through the ego agent's actions, and through what taught the other."""
    policy, co_player = (dataclasses.replace(one, weight=jnp.zeros((1, 2))) for one in firms())
    problem = make_problem(co_player, steps=1)
    episode = problem.play(policy, getkey())
    first, last = np.moveaxis(np.asarray(episode.actions[:, :, 0, 0]), 1, 0)
    own, theirs = (np.asarray(one.rewards[:, :, 0]) for one in (episode, *episode.co_players))
    taught, answered = np.moveaxis(np.asarray(episode.co_players[0].actions[:, :, 0, 0]), 1, 0)
    variance = np.exp(-1.0)
    score = lambda action, mean: (action - mean) / variance  # noqa: E731
    learned = 1 + RATE * (score(taught, 1) * theirs[:, 0]).mean()
    through = RATE * (score(taught, 1) * theirs[:, 0] * score(first, 1)).mean()
    slope = (own[:, 1] * (score(last, 1) + score(answered, learned) * through)).mean()
    gradient = ce.estimators.LolaDice().from_episode(problem, policy, episode)
    np.testing.assert_allclose(gradient.bias, [slope], rtol=1e-11)


def test_enumeration_refuses_continuous_actions():
    policy, co_player = firms()
    problem = make_problem(co_player)
    match = (
        r"LinearQuadratic cannot be enumerated: its actions are continuous, Box\(n=1\).*certify_structure\(estimator"
    )
    for ask in (
        lambda: ce.exact.expected_return(problem, policy),
        lambda: ce.exact.gradient(problem, policy),
        lambda: ce.exact.moments(ce.estimators.CoalaPG(), problem, policy),
        lambda: certify(ce.estimators.CoalaPG(), problem, policy),
    ):
        with pytest.raises(ValueError, match=match):
            ask()
    assert certify_structure(ce.estimators.CoalaPG()).verdict == "unbiased"
    with pytest.raises(
        ce.estimators.Inapplicable, match="LolaExact cannot be applied: it needs a game that can be written"
    ):
        certify(ce.estimators.LolaExact(), problem, policy)


def make_pool(algorithm, *, estimator=None, policy=None, **settings):
    make = policy or (lambda key: MLP(Vector(2), Box(1), width=4, key=key))
    agent = Agent(estimator or ce.estimators.CoalaPG(), algorithm, make)
    naive = NaiveLearners(LEARNER, make, population=2)
    return Pool(GAME, (agent,), naive, **({"batch": 2, "episodes": 2, "steps": 2, "meta_batch": 4} | settings))


@pytest.mark.parametrize("algorithm", [A2C, PPO, Follow])
def test_pools_train_on_vectors_as_actions(algorithm, getkey):
    estimator = ce.estimators.LolaDice() if algorithm is Follow else ce.estimators.CoalaPG()
    pool = make_pool(algorithm(optax.adam(1e-2)), estimator=estimator)
    state = pool.init(getkey())
    after, info = eqx.filter_jit(pool.iterate)(state)
    assert bool(info.finite.all())
    assert (info.ego_actions.shape, info.co_player_actions.shape) == ((1, 2, 1), (1, 2, 1))
    before, now = (jax.tree.leaves(eqx.filter(one, eqx.is_array)) for one in (state.agents, after.agents))
    # all parameters but the critic's, which estimators without advantages do not train
    unmoved = [bool((new == old).all()) for new, old in zip(now, before, strict=True)]
    assert sum(unmoved) == (2 if algorithm is Follow else 0)
    if algorithm is A2C:
        # of a normal distribution with σ = 1, in nats
        np.testing.assert_allclose(info.update.entropy, 0.5 * np.log(2 * np.pi * np.e), rtol=1e-12)


@pytest.mark.parametrize("algorithm", [A2C, PPO])
def test_algorithms_follow_the_estimator_at_first(algorithm, getkey):
    """The loss is a mean over trajectories and steps, of which there are M·T = 4; where ratios are 1 nothing is cut."""
    policy, co_player = firms()
    problem = make_problem(co_player)
    episodes = jax.vmap(lambda key: problem.play(policy, key))(jax.random.split(getkey(), 2))
    estimates = jax.vmap(lambda one: ce.estimators.CoalaPG().from_episode(problem, policy, one))(episodes)
    batch = make_batch(ce.estimators.CoalaPG(), episodes)
    assert batch.actions.shape == (6, 2, 2, 1)
    made = algorithm(optax.sgd(1.0), value_coefficient=0.0)
    slope, info = eqx.filter_grad(made.loss, has_aux=True)(policy, batch)
    for mine, wanted in zip(jax.tree.leaves(slope), jax.tree.leaves(estimates), strict=True):
        np.testing.assert_allclose(-4 * mine, wanted.mean(axis=0), rtol=1e-10)
    assert float(info.clipped) == 0


def test_a2c_learns_the_best_response(getkey):
    """Against firms that stay at 1 unit, 1 unit is best; the agent starts from 0.

    Its expected gradient in the bias is 2 − 2a, so that 60 steps of 0.05 leave 0.9⁶⁰ = 0.2 % of the way. The score's
    variance is e² = 7.4 and rewards are near 1, so that a gradient from 1024 games has a standard deviation of 0.09,
    and the bias in the end one of 0.05 · 0.09/√0.19 = 0.01.
    """
    learners = lambda key: LinearGaussian(np.zeros((1, 2)), [1.0], [-1.0], learns_std=False)  # noqa: E731
    start = lambda key: LinearGaussian(np.zeros((1, 2)), [0.0], [-1.0], learns_std=False)  # noqa: E731
    agent = Agent(ce.estimators.CoalaPG(), A2C(optax.sgd(0.05)), start)
    pool = Pool(
        GAME, (agent,), NaiveLearners(Static(), learners, population=1), batch=64, episodes=1, steps=1, meta_batch=16
    )
    state, iterate = pool.init(getkey()), eqx.filter_jit(pool.iterate)
    for _ in range(60):
        state, info = iterate(state)
    assert abs(float(state.agents.bias[0, 0]) - 1) < 0.06
    np.testing.assert_allclose(info.co_player_actions, 1, atol=0.1)


def test_former_names_of_policy_states_warn():
    from coala_eqx.policies import PolicyState, base, initial_policy_state
    from coala_eqx.shaping import learning

    for module, old, new in (
        (base, "Mind", PolicyState),
        (base, "fresh_mind", initial_policy_state),
        (learning, "Minds", learning.PolicyStates),
        (learning, "fresh_minds", learning.initial_policy_states),
    ):
        with pytest.warns(DeprecationWarning, match=f"{old} is deprecated: use"):
            assert getattr(module, old) is new
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            module.nothing  # noqa: B018
