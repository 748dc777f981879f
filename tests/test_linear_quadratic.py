"""Linear-quadratic games: rules, the shaping return in closed form, and estimators held against it."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.exact import quadratic_shaping_return
from coala_eqx.games import Box, LinearQuadratic, Vector, cournot_competition
from coala_eqx.learners import Experience, PolicyGradient
from coala_eqx.policies import LinearGaussian
from coala_eqx.shaping import replay_ego
from coala_eqx.training import A2C, Agent, NaiveLearners, Pool

RATE = 0.3
LEARNER = PolicyGradient(optimiser=optax.sgd(RATE))
LEVEL = 4.5
"""Standard errors. A mean of normal numbers is further off with probability 7e-6."""


def random_game(seed, *, players=2, components=1, states=0):
    generator = np.random.default_rng(seed)
    entries = states + players * components
    draw = lambda *shape: generator.normal(size=shape) / np.sqrt(entries)  # noqa: E731
    state = {"dynamics": draw(states, entries), "start": generator.normal(size=states)} if states else {}
    return LinearQuadratic(draw(players, entries, entries), draw(players, entries), **state)


def random_policies(game, seed):
    generator = np.random.default_rng(seed)
    shape = game.action_spaces[0].n, game.observation_spaces[0].n
    return tuple(
        LinearGaussian(
            generator.normal(size=shape), generator.normal(size=shape[0]), 0.4 * generator.normal(size=shape[0]),
            learns_std=player == 0,
        )
        for player in range(game.num_players)
    )  # fmt: skip


def make_problem(game, policies, batch):
    return ce.ShapingProblem(game=game, co_players=policies[1:], learner=LEARNER, batch=batch, episodes=2, steps=1)


def nodes_and_weights(points):
    """Of a product of Gauss-Hermite rules for standard normal numbers: [nodes, variables], [nodes].

    A rule of n points is exact for polynomials of degree 2n − 1.
    """
    rules = [np.polynomial.hermite_e.hermegauss(number) for number in points]
    nodes = np.array([*itertools.product(*(nodes for nodes, _ in rules))])
    weights = np.array([*itertools.product(*(weights / weights.sum() for _, weights in rules))])
    return jnp.asarray(nodes), jnp.asarray(weights.prod(axis=1))


def played(problem, policy, noise):
    """The meta-episode with this noise in the actions, `[batch, episodes, players, components]`, learners included."""
    game, policies, others = problem.game, (policy, *problem.co_players), problem.co_players
    state, seen = game.reset(jax.random.key(0))
    records = []
    for episode in range(2):
        outputs = [one(None, x, one.bias)[1].distribution for one, x in zip(policies, seen, strict=True)]
        actions = jnp.stack([d.mean + jnp.exp(d.log_std) * noise[:, episode, p] for p, d in enumerate(outputs)], axis=1)
        rewards = jax.vmap(lambda joint: game.step(state, joint, jax.random.key(0))[2])(actions)
        observations = jnp.broadcast_to(seen, (len(noise), *seen.shape))
        lived = [
            Experience(observations[:, None, p], actions[:, None, p], rewards[:, None, p]) for p in range(len(policies))
        ]
        records.append(lived)
        others = [
            LEARNER.update(one, LEARNER.init(one), own)[0] for one, own in zip(policies[1:], lived[1:], strict=True)
        ]
        policies = (policy, *others)
    ego, *co_players = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *pair) for pair in zip(*records, strict=True)
    )
    log_probs, values = replay_ego(policy, ego.observations, ego.actions)
    return ce.MetaEpisode(
        ego.observations, ego.actions, ego.rewards, log_probs, values, tuple(co_players), problem.co_players
    )


def expected(problem, policy, function, points):
    """The expectation of a function of the meta-episode, exact where it is a polynomial; `points` [episodes][players].

    Without expectation over the game, whose first observations and rewards are certain.
    """
    components, batch = problem.game.action_spaces[0].n, problem.batch
    rules = [points[m][p] for _ in range(batch) for m in range(2) for p in range(problem.game.num_players)]
    nodes, weights = nodes_and_weights(np.repeat(rules, components))
    noise = nodes.reshape(len(nodes), batch, 2, problem.game.num_players, components)
    results = jax.jit(jax.vmap(lambda one: function(played(problem, policy, one))))(noise)
    return jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, 1), results)


def closed_form(problem, policy, **settings):
    return quadratic_shaping_return(
        problem.game, (policy, *problem.co_players), rate=RATE, batch=problem.batch, **settings
    )


def parts(problem, policy):
    """∇J̄ as two parts: actions on their own inner episode, and through what co-players learn from them."""
    own = eqx.filter_grad(lambda acting: closed_form(problem, acting, seen=policy))(policy)
    taught = eqx.filter_grad(lambda seen: closed_form(problem, policy, seen=seen))(policy)
    return own, taught


def vector(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array))])


def test_rewards_are_quadratic_and_states_linear(getkey):
    game = random_game(0, players=3, components=2, states=2)
    generator = np.random.default_rng(1)
    state, actions = generator.normal(size=2), generator.normal(size=(3, 2))
    z = np.concatenate([state, actions.ravel()])
    after, seen, rewards = game.step(jnp.asarray(state), jnp.asarray(actions), getkey())
    expected = [z @ h @ z / 2 + g @ z for h, g in zip(np.asarray(game.quadratic), game.linear, strict=True)]
    np.testing.assert_allclose(rewards, expected)
    np.testing.assert_allclose(after, game.dynamics @ z)
    np.testing.assert_array_equal(seen, np.stack([after] * 3))
    np.testing.assert_array_equal(game.reset(getkey())[1], np.stack([game.start] * 3))
    assert game.observation_spaces == (Vector(2),) * 3
    assert game.action_spaces == (Box(2),) * 3


def test_noise_is_added_to_the_state(getkey):
    dynamics = np.concatenate([np.eye(2), np.zeros((2, 2))], axis=1)
    game = LinearQuadratic(np.zeros((2, 4, 4)), dynamics=dynamics, start=[1.0, 2.0], noise=0.5)
    keys = jax.random.split(getkey(), 10_000)
    states = jax.vmap(lambda key: game.step(game.start, jnp.zeros((2, 1)), key)[0])(keys)
    z = (states - game.start) / 0.5
    assert np.abs(z.mean(axis=0)).max() < LEVEL / 100
    assert np.abs((z**2).mean(axis=0) - 1).max() < LEVEL * 2**0.5 / 100


def test_without_dynamics_players_see_the_last_joint_action_from_their_own_side(getkey):
    game = random_game(0, players=3, components=2)
    state, seen = game.reset(getkey())
    np.testing.assert_array_equal(seen, np.zeros((3, 6)))
    actions = jnp.arange(6.0).reshape(3, 2)
    _, seen, _ = game.step(state, actions, getkey())
    np.testing.assert_array_equal(seen, [[0, 1, 2, 3, 4, 5], [2, 3, 0, 1, 4, 5], [4, 5, 0, 1, 2, 3]])


def test_only_the_symmetric_part_of_a_matrix_is_kept():
    game = LinearQuadratic([[[0, 2], [0, 0]]] * 2)
    np.testing.assert_array_equal(game.quadratic, [[[0, 1], [1, 0]]] * 2)


SQUARE = np.zeros((2, 3, 3))
BAD = {
    r"`quadratic` must have shape .* but has \(2, 3, 2\)": lambda: LinearQuadratic(np.zeros((2, 3, 2))),
    r"for two players or more, but has \(1, 2, 2\)": lambda: LinearQuadratic(np.zeros((1, 2, 2))),
    r"`linear` must have shape .* = \(2, 2\), but has \(2,\)": lambda: LinearQuadratic(np.zeros((2, 2, 2)), [1, 2]),
    "3 entries less 0 of the state, .* multiple of the 2 players": lambda: LinearQuadratic(SQUARE),
    "3 entries less 3 of the state": lambda: LinearQuadratic(SQUARE, dynamics=np.zeros((3, 3))),
    r"`dynamics` must have .* with 3 entries, but has \(1, 2\)": lambda: LinearQuadratic(SQUARE, dynamics=[[0, 0]]),
    r"`start` must have shape \[states\] = \(1,\)": lambda: LinearQuadratic(SQUARE, dynamics=[[0, 0, 0]], start=[1, 2]),
    "`start` and `noise` belong to a state": lambda: LinearQuadratic(np.zeros((2, 2, 2)), noise=0.1),
    "belong to a state: give `dynamics`, too": lambda: LinearQuadratic(np.zeros((2, 2, 2)), start=[0, 0]),
    "`noise` must not be negative": lambda: LinearQuadratic(SQUARE, dynamics=[[0, 0, 0]], noise=-1),
    "`quadratic` must hold finite numbers": lambda: LinearQuadratic(np.full((2, 2, 2), np.nan)),
    "`players` must be at least 2": lambda: cournot_competition(1),
    "`demand` must be positive": lambda: cournot_competition(2, 0.0),
}


@pytest.mark.parametrize("message", BAD)
def test_games_are_checked(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()


@pytest.mark.parametrize("players", [2, 3])
def test_cournot_competition(players):
    """Payoffs by their definition; in equilibrium, quantity demand/(players + 1), no own derivative is left."""
    game, demand = cournot_competition(players, 5.0), 5.0
    quantities = np.random.default_rng(0).normal(size=players)
    np.testing.assert_allclose(game.pay(jnp.asarray(quantities)), quantities * (demand - quantities.sum()))
    slopes = jax.jacobian(game.pay)(jnp.full(players, demand / (players + 1)))
    np.testing.assert_allclose(jnp.diagonal(slopes), 0, atol=1e-14)
    assert game.is_symmetric()


def test_asymmetric_games_need_seats():
    """Seats with other rewards, or of which the state knows more."""
    game = cournot_competition()
    weights = jnp.array([1.0, 2.0])
    other = LinearQuadratic(weights[:, None, None] * game.quadratic, weights[:, None] * game.linear)
    state = np.zeros((2, 3, 3))
    state[:, 1:, 1:] = game.quadratic
    one, both = (LinearQuadratic(state, dynamics=[[1.0, 1.0, more]]) for more in (0.0, 1.0))
    agents = (Agent(ce.estimators.CoalaPG(), A2C(optax.sgd(1.0))),) * 2
    sizes = {"batch": 1, "episodes": 1, "steps": 1, "meta_batch": 2, "p_naive": 0.5}
    for fits, shown in ((True, game), (False, other), (False, one), (True, both)):
        assert shown.is_symmetric() == fits
        if fits:
            Pool(shown, agents, NaiveLearners(LEARNER), **sizes)
        else:
            with pytest.raises(ValueError, match="the game must be symmetric"):
                Pool(shown, agents, NaiveLearners(LEARNER), **sizes)


def test_the_closed_form_refuses_what_it_does_not_hold_for():
    game, policies = random_game(0), random_policies(random_game(0), 1)
    learning = LinearGaussian(np.zeros((1, 2)), [0.0])
    longer = LinearGaussian(np.zeros((1, 3)), [0.0], learns_std=False)
    for match, arguments, settings in (
        ("has 2 players, but `policies` has 1 entries", (game, policies[:1]), {}),
        (r"`policies\[1\]` learns its standard deviation", (game, (policies[0], learning)), {}),
        (r"`policies\[1\]` is made for \(Vector\(n=3\)", (game, (policies[0], longer)), {}),
        ("`rate` must be a finite number", (game, policies), {"rate": np.inf}),
        ("`batch` must be at least 1", (game, policies), {"batch": 0}),
    ):
        with pytest.raises(ValueError, match=match):
            quadratic_shaping_return(*arguments, **({"rate": RATE, "batch": 2} | settings))


SIZES = [
    {"players": 2, "batch": 1}, {"players": 2, "batch": 2}, {"players": 2, "batch": 2, "states": 2},
    {"players": 3, "batch": 1}, {"players": 2, "batch": 1, "components": 2},
]  # fmt: skip


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_the_closed_form_is_the_expectation_over_the_learners_own_updates(sizes):
    """J̄ is a polynomial of degree 6 in the noise of the first episode, 2 in that of the second."""
    game = random_game(0, **{name: size for name, size in sizes.items() if name != "batch"})
    policies = random_policies(game, 1)
    problem = make_problem(game, policies, sizes["batch"])
    first, second = [4] * len(policies), [2] * len(policies)
    value = expected(problem, policies[0], lambda episode: episode.shaping_return, (first, second))
    np.testing.assert_allclose(closed_form(problem, policies[0]), value, rtol=1e-11)


@pytest.mark.parametrize("states", [0, 2])
def test_estimators_have_the_means_that_theory_says(states):
    """The estimators themselves, at every node: COALA-PG is unbiased, M-FOS and the batch-unaware one are not.

    M-FOS counts the part of actions on their own inner episode B times; the batch-unaware one has 1/B of the part that
    passes through learning. Scores add degree 2 in the ego agent's noise, so that 4 and 3 points are exact.
    """
    game = random_game(2, states=states)
    policies = random_policies(game, 3)
    problem, batch = make_problem(game, policies, 2), 2
    own, taught = map(vector, parts(problem, policies[0]))
    gradient = vector(eqx.filter_grad(lambda policy: closed_form(problem, policy))(policies[0]))
    np.testing.assert_allclose(own + taught, gradient, rtol=1e-12)
    assert min(np.abs(own).max(), np.abs(taught).max()) > 0.01
    estimators = ce.estimators.CoalaPG(), ce.estimators.Reinforce(), ce.estimators.MFOS(), ce.estimators.BatchUnaware()

    def estimates(episode):
        return [estimator.from_episode(problem, policies[0], episode) for estimator in estimators]

    means = map(vector, expected(problem, policies[0], estimates, ([4, 4], [3, 2])))
    theory = own + taught, own + taught, batch * own + taught, own + taught / batch
    for estimator, mean, wanted in zip(estimators, means, theory, strict=True):
        np.testing.assert_allclose(mean, wanted, atol=1e-11 * np.abs(gradient).max(), err_msg=str(estimator))


def test_sampled_estimates_have_the_mean_of_the_closed_form():
    """What is played, with the random numbers of play: means of 40,000 estimates, within 4.5 standard errors.

    Estimators that theory calls biased are more than 9 away from the gradient, and within 4.5 of what theory says.
    """
    policy, co_player = (LinearGaussian(np.zeros((1, 2)), [1.0], [-0.7], learns_std=one) for one in (True, False))
    batch = 4
    problem = make_problem(cournot_competition(), (policy, co_player), batch)
    own, taught = map(vector, parts(problem, policy))
    keys = jax.random.split(jax.random.key(0), 40_000)

    def off(estimator, *theory):
        """In standard errors, for each of the theories."""
        sample = jax.vmap(lambda key: estimator(problem, policy, key)[0])(keys)
        sampled = np.concatenate([leaf.reshape(len(keys), -1) for leaf in jax.tree.leaves(sample)], axis=1)[:, 2:]
        errors = sampled.std(axis=0) / np.sqrt(len(keys))
        return [(np.abs(sampled.mean(axis=0) - one[2:]) / errors).max() for one in theory]

    assert vector(policy)[:2].tolist() == [0, 0]  # of zero observations, where slopes are 0 by any theory
    (right,) = off(ce.estimators.CoalaPG(), own + taught)
    assert right < LEVEL
    for estimator, mean in (
        (ce.estimators.MFOS(), batch * own + taught),
        (ce.estimators.BatchUnaware(), own + taught / batch),
    ):
        wrong, right = off(estimator, own + taught, mean)
        assert right < LEVEL
        assert wrong > 2 * LEVEL, estimator
