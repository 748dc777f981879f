"""Spaces of observations and actions: declared, derived, compared; encoders of networks for them."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.games import AbstractGame, Box, Discrete, Image, LinearQuadratic, Vector, seen_from
from coala_eqx.games.seats import Reseated
from coala_eqx.learners import PolicyGradient
from coala_eqx.policies import GRU, MLP, Convolution, Hawk, LinearGaussian, MemoryOne, OneHot, Plain
from coala_eqx.training import A2C, Agent, NaiveLearners, Pool
from tests.makers import SGD

NETWORKS = {
    "MLP": lambda observations, actions, key: MLP(observations, actions, width=3, key=key),
    "GRU": lambda observations, actions, key: GRU(observations, actions, width=3, key=key),
    "Hawk": lambda observations, actions, key: Hawk(observations, actions, width=4, head_scale=1.0, key=key),
}


class Showing(AbstractGame):
    """Shows two players always the same, and pays them the sum of all entries of all actions."""

    shown: jax.Array
    observation_spaces: tuple
    action_spaces: tuple = (Discrete(2), Discrete(2))
    num_players: int = 2

    def reset(self, key):
        return None, self.shown

    def step(self, state, actions, key):
        return None, self.shown, jnp.full(2, actions.sum(), float)


def problem(game, policy):
    return ce.ShapingProblem(game=game, co_players=policy, learner=SGD, batch=2, episodes=2, steps=2)


def images(key=None, shape=(3, 4, 2), **spaces):
    shown = jax.random.normal(jax.random.key(0) if key is None else key, (2, *shape))
    return Showing(shown, **({"observation_spaces": (Image(*shape),) * 2} | spaces))


@pytest.mark.parametrize("space", [Discrete, Vector, Box])
def test_spaces_are_compared_and_hashed_by_their_sizes(space):
    assert space(3) == space(3) != space(4)
    assert len({space(3), space(3), space(4)}) == 2
    assert space(3).size == 3
    assert Discrete(3) != Vector(3) != Box(3)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"`n` must be an integer ≥ 1, but is {wrong}"):
            space(wrong)


def test_an_image_has_a_shape():
    assert (Image(3, 4, 2).shape, Image(3, 4, 2).size) == ((3, 4, 2), 24)
    with pytest.raises(ValueError, match="`channels` must be an integer ≥ 1, but is 0"):
        Image(3, 4, 0)


def test_games_that_declare_numbers_have_spaces():
    dilemma, coins = ce.games.iterated_prisoners_dilemma(), ce.games.CoinGame()
    assert (dilemma.observation_spaces, dilemma.action_spaces) == ((Discrete(5),) * 2, (Discrete(2),) * 2)
    assert (coins.observation_spaces, coins.action_spaces) == ((Vector(36),) * 2, (Discrete(4),) * 2)

    class Numbers(AbstractGame):
        shown: jax.Array
        num_observations: tuple | np.ndarray
        num_players: int = 2
        num_actions: tuple = (2, 3)

        reset, step = Showing.reset, Showing.step

    assert Numbers(jnp.zeros(2), (1, 1)).observation_spaces == (Vector(1),) * 2
    assert Numbers(jnp.zeros(2, bool), (2, 2)).observation_spaces == (Discrete(2),) * 2
    assert Numbers(jnp.zeros((2, 5, 4, 3)), (60, 60)).observation_spaces == (Image(5, 4, 3),) * 2
    numpy = Numbers(jnp.zeros(2, int), np.array([5, 4])).observation_spaces
    assert (numpy, type(numpy[0].n)) == ((Discrete(5), Discrete(4)), int)
    assert Numbers(jnp.zeros(2), (1, 1)).action_spaces == (Discrete(2), Discrete(3))
    with pytest.raises(ValueError, match=r"No space describes .* Numbers, arrays of shape \[5, 4\]: flatten them"):
        Numbers(jnp.zeros((2, 5, 4)), (20, 20)).observation_spaces  # noqa: B018


def test_games_that_declare_spaces_have_numbers():
    game = images()
    assert (game.num_observations, game.num_actions) == ((24, 24), (2, 2))
    other = dataclasses.replace(game, action_spaces=(Discrete(2), Discrete(3)))
    assert seen_from(other, 1).action_spaces == (Discrete(3), Discrete(2))
    assert seen_from(other, 1).observation_spaces == game.observation_spaces
    assert seen_from(other, 1).num_actions == (3, 2)

    class Nothing(AbstractGame):
        num_players: int = 2
        reset, step = Showing.reset, Showing.step

    for name, ask in (
        ("action_spaces` or `num_actions", lambda: Nothing().num_actions),
        ("action_spaces` or `num_actions", lambda: Nothing().action_spaces),
        ("observation_spaces` or `num_observations", lambda: Nothing().num_observations),
    ):
        with pytest.raises(ValueError, match=f"Nothing must declare `{name}`, but declares neither"):
            ask()


WRONG = {
    "action_spaces` of Showing must be a tuple of .* Box": {"action_spaces": (2, 2)},
    "observation_spaces` of Showing must be a tuple of .* Image": {"observation_spaces": (Box(2), Box(2))},
    "has 2 players, so `action_spaces` must have as many entries": {"action_spaces": (Discrete(2),) * 3},
    r"actions of all players .* but is \(Box\(n=2\), Box\(n=3\)\). Pad the shorter": {
        "action_spaces": (Box(2), Box(3))
    },
    "of one kind and shape": {"action_spaces": (Box(1), Discrete(1))},
    r"observe Vector\(n=24\), .* but shows float64\[3, 4, 2\]": {"observation_spaces": (Vector(24),) * 2},
    r"observe Discrete\(n=24\), which are integers": {"observation_spaces": (Discrete(24),) * 2},
    r"observe Image\(height=4, width=3, ": {"observation_spaces": (Image(4, 3, 2),) * 2},
}


@pytest.mark.parametrize("message", WRONG)
def test_problems_and_pools_refuse_games_whose_spaces_do_not_fit(message, getkey):
    game, policy = images(**WRONG[message]), MLP(24, 2, key=getkey())
    agent = Agent(ce.estimators.CoalaPG(), A2C(optax.sgd(1.0)))
    with pytest.raises(ValueError, match=message):
        problem(game, policy)
    with pytest.raises(ValueError, match=message):
        Pool(game, (agent,), NaiveLearners(SGD), batch=1, episodes=1, steps=1, meta_batch=1)


def test_policies_must_be_made_for_the_spaces_of_the_game(getkey):
    game, vectors = images(), Showing(jnp.zeros((2, 3)), (Vector(3),) * 2, (Box(2),) * 2)
    for observations, actions, match in (
        (
            Image(4, 3, 2),
            2,
            r"player 1, a MLP, is made for observations of Image\(height=4,.*observations=Image\(height=3",
        ),
        (Vector(24), 2, r"is made for observations of Vector\(n=24\), but the game has Image"),
        (Image(3, 4, 2), Discrete(3), "made for 3 actions, but the game has 2 for this player.*actions=2"),
        (Image(3, 4, 2), Box(2), r"made for Box\(n=2\) as its action space, but the game has Discrete\(n=2\)"),
    ):
        with pytest.raises(ValueError, match=match):
            problem(game, MLP(observations, actions, key=getkey()))
    for wrong in (MLP(3, 2, key=getkey()), MLP(3, Box(3), key=getkey()), MemoryOne(np.zeros((3, 2)))):
        with pytest.raises(
            ValueError, match=r"but the game has Box\(n=2\) for this player; make the policy with actions=B"
        ):
            problem(vectors, wrong)
    problem(vectors, MLP(3, Box(2), key=getkey()))
    with pytest.raises(ValueError, match="`actions` must be at least 1"):
        MLP(3, 0, key=getkey())
    with pytest.raises(ValueError, match="`observations` must be at least 1"):
        MLP(0, 2, key=getkey())


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("space", [Discrete(5), Vector(5)])
def test_networks_for_spaces_have_the_numbers_of_those_for_integers(kind, space, getkey):
    key, generator = getkey(), np.random.default_rng(0)
    by_number, by_space = (NETWORKS[kind](n, a, key) for n, a in ((5, 2), (space, Discrete(2))))
    shown = generator.integers(5, size=(4,)) if isinstance(space, Discrete) else generator.normal(size=(4, 5))
    outputs = [
        one.unroll(one.initial_memory(), jnp.asarray(shown), jnp.zeros(4, int))[1] for one in (by_number, by_space)
    ]
    np.testing.assert_array_equal(outputs[0].logits, outputs[1].logits)
    np.testing.assert_array_equal(outputs[0].values, outputs[1].values)
    assert (by_space.observation_space, by_space.action_space) == (space, Discrete(2))
    assert (by_number.observation_space, by_number.num_observations, by_number.num_actions) == (None, 5, 2)


def test_encoders_refuse_what_they_are_not_made_for(getkey):
    for encoder, wrong in (
        (OneHot(Discrete(3)), jnp.zeros(3)),
        (OneHot(Discrete(3)), jnp.zeros(())),
        (Plain(Vector(3)), jnp.zeros(())),
        (Plain(Vector(3)), jnp.zeros(4)),
        (Convolution(Image(3, 4, 2), key=getkey()), jnp.zeros((4, 3, 2))),
    ):
        with pytest.raises(ValueError, match="is made for observations of .* Make it for the observation space"):
            encoder(wrong, float, axes=0)
    with pytest.raises(ValueError, match="`channels` must be at least 1"):
        Convolution(Image(3, 4, 2), channels=0, key=getkey())


def test_a_convolution_is_a_sum_over_a_window(getkey):
    """By loops over pixels, channels and filters; pixels beyond the edge are 0."""
    encoder = Convolution(Image(3, 4, 2), channels=5, kernel=3, key=getkey())
    shown = np.random.default_rng(0).normal(size=(3, 4, 2))
    weight, bias = np.asarray(encoder.layer.weight), np.asarray(encoder.layer.bias).ravel()
    padded = np.pad(shown, ((1, 1), (1, 1), (0, 0)))
    expected = np.empty((5, 3, 4))
    for out, row, column in np.ndindex(*expected.shape):
        window = padded[row : row + 3, column : column + 3]
        expected[out, row, column] = bias[out] + np.einsum("rcx,xrc->", window, weight[out])
    features = encoder(jnp.asarray(shown), float, axes=0)
    assert features.shape == (encoder.features,) == (60,)
    np.testing.assert_allclose(features, jax.nn.gelu(expected).ravel(), rtol=1e-12)
    several = encoder(jnp.stack([jnp.asarray(shown)] * 2), float, axes=1)
    np.testing.assert_allclose(several, np.stack([features] * 2), rtol=1e-12)


@pytest.mark.parametrize("kind", NETWORKS)
def test_networks_see_images_of_any_type(kind, getkey):
    policy = NETWORKS[kind](Image(3, 4, 2), Discrete(2), getkey())
    shown = jnp.asarray(np.random.default_rng(0).integers(2, size=(6, 3, 4, 2)))
    _, output = policy.unroll(policy.initial_memory(), shown, jnp.zeros(6, int))
    memory = policy.initial_memory()
    for step in range(6):
        memory, one = policy(memory, shown[step].astype(np.uint8), jnp.array(0))
        np.testing.assert_allclose(one.logits, output.logits[step], rtol=1e-11)
    assert len({*np.asarray(output.logits[:, 0]).tolist()}) == 6


def test_an_encoder_of_ones_own_size_is_taken(getkey):
    encoder = Convolution(Image(3, 4, 2), channels=2, key=getkey())
    policy = MLP(encoder, Discrete(2), width=3, key=getkey())
    assert policy.hidden.weight.shape == (3, 24)
    assert policy.observation_space == Image(3, 4, 2)
    problem(images(), policy)


def test_a_pool_trains_on_images_with_default_networks(getkey):
    """Filters of agents learn, as do those of naive learners meanwhile."""
    agent = Agent(ce.estimators.CoalaPG(), A2C(optax.sgd(1.0)), lambda key: MLP(Image(3, 4, 2), 2, width=3, key=key))
    naive = NaiveLearners(PolicyGradient(optimiser=optax.sgd(1.0)), agent.policy, population=2)
    pool = Pool(images(), (agent,), naive, batch=2, episodes=2, steps=2, meta_batch=2)
    state = pool.init(getkey())
    after, info = eqx.filter_jit(pool.iterate)(state)
    assert info.ego_actions.shape == (1, 2, 2)
    assert (after.agents.encoder.layer.weight != state.agents.encoder.layer.weight).all()
    default = dataclasses.replace(pool, agents=(dataclasses.replace(agent, policy=None),))
    made = eqx.filter_eval_shape(default.init, getkey()).agents
    assert isinstance(made, Hawk)
    assert made.observation_space == Image(3, 4, 2)


def test_reseated_games_keep_vectors_as_actions():
    game = LinearQuadratic(np.zeros((3, 6, 6)), np.arange(18.0).reshape(3, 6))
    other = Reseated(game, (2, 0, 1))
    joint = jnp.arange(6.0).reshape(3, 2)
    rewards = game.step(game.start, joint, jax.random.key(0))[2]
    np.testing.assert_array_equal(
        other.step(game.start, joint[jnp.array([2, 0, 1])], jax.random.key(0))[2], rewards[jnp.array([2, 0, 1])]
    )
    assert other.action_spaces == (Box(2),) * 3


def test_policies_of_a_random_linear_gaussian_need_vectors(getkey):
    with pytest.raises(
        ValueError, match=r"needs observations of a Vector .* MatrixGame has Discrete\(n=5\) and Discrete"
    ):
        LinearGaussian.random(ce.games.chicken(), getkey())
