"""Numbers of all types that users may have: accepted with their values, or refused by name; and JAX's strict flags."""

import os
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx._checks import check_finite, check_share
from coala_eqx.arrays import as_setting, is_number, numbers
from coala_eqx.games import Box, Discrete, Image, Vector
from coala_eqx.policies import GRU, MLP, BinaryMemoryOne, FullHistory, Hawk, LinearGaussian, MemoryOne, replay_actions
from coala_eqx.returns import episode_returns, quadratic_shaping_return
from tests.makers import random_game

SMALL = [
    jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn, jnp.float8_e5m2, jnp.float8_e4m3b11fnuz, jnp.float8_e5m2fnuz,
    jnp.float8_e4m3, jnp.float8_e3m4, jnp.float4_e2m1fn, jnp.int4, jnp.int8, np.longdouble, ">f8", ">i2", "O",
]  # fmt: skip
DILEMMA = [[[1, -1], [2, 0]], [[1, 2], [-1, 0]]]
"""Its payoffs are exact in each of these types."""


@pytest.mark.parametrize("dtype", SMALL, ids=str)
def test_payoffs_and_logits_of_all_types_are_accepted(dtype):
    payoffs = np.asarray(DILEMMA).astype(dtype)
    game = ce.games.MatrixGame(payoffs)
    assert game.payoffs.dtype == jnp.float64
    np.testing.assert_array_equal(game.payoffs, DILEMMA)
    np.testing.assert_array_equal(MemoryOne(payoffs[0]).logits, DILEMMA[0])
    np.testing.assert_array_equal(BinaryMemoryOne(payoffs[0, 0]).logits, DILEMMA[0][0])
    policies = BinaryMemoryOne(np.arange(5.0)), MemoryOne(np.ones((5, 2)))
    expected = ce.exact.discounted_returns(*policies, DILEMMA, 0.5)
    np.testing.assert_array_equal(ce.exact.discounted_returns(*policies, payoffs, 0.5), expected)


@pytest.mark.parametrize("dtype", SMALL, ids=str)
def test_tables_and_probabilities_of_all_types_are_accepted(dtype):
    game = ce.games.TabularGame(
        initial=np.array([0, 1]).astype(dtype),
        transition=np.eye(2)[:, None].astype(dtype),
        rewards=np.array([[[1], [2]]]).astype(dtype),
        observations=np.array([[0, 1]]).astype(dtype),
    )
    np.testing.assert_array_equal(game.rewards[0, :, 0], [1, 2])
    np.testing.assert_array_equal(game.observations, [[0, 1]])
    policy = MemoryOne(np.ones((2, 1)))
    population = ce.Population([policy, policy], np.array([0, 1]).astype(dtype))
    np.testing.assert_array_equal(population.probabilities, [0, 1])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([2**70, -1], [2.0**70, -1]),
        ([2**64 - 1, 0], [2.0**64, 0]),
        (np.array([2**63], np.uint64), [2.0**63]),
        ([Fraction(1, 3), Decimal("0.1"), np.float32(0.5), True, jnp.bfloat16(3)], [1 / 3, 0.1, 0.5, 1, 3]),
        (np.array([np.longdouble(1) / 3]), [1 / 3]),
        (np.array([0.1], ">f4"), [np.float32(0.1)]),
        (jnp.array([1.5, -2], jnp.bfloat16), [1.5, -2]),
    ],
)
def test_numbers_keep_their_values(given, expected):
    array = numbers("given", given)
    assert array.dtype.isnative
    np.testing.assert_array_equal(array.astype(float), expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, 10**400], r"entry \[1\] is beyond 1.8e308; scale them down"),
        (np.array([np.longdouble(10) ** 400]), r"entry \[0\] is beyond 1.8e308"),
        (np.array([1, np.inf], np.longdouble), r"finite numbers, but entry \[1\] is inf"),
        (jnp.array([1, np.nan], jnp.bfloat16), r"finite numbers, but entry \[1\] is nan"),
        (jnp.array([1, np.inf], jnp.float8_e5m2), r"finite numbers, but entry \[1\] is inf"),
        ([1, Decimal("NaN")], r"finite numbers, but entry \[1\] is NaN"),
        (jnp.ones(2, jnp.complex64), "real numbers, but is of type complex64; pass its real part"),
        ([1, 2j], "real numbers, but is of type complex128"),
        (np.array([1, "two"], object), "numbers only, but holds 'two'"),
        (np.array([1, None], object), "numbers only, but holds None"),
        (np.array([[1], [2, 3]], object), "rows differ in length"),
        (np.ones(2, "m8[s]"), "numbers only, but holds datetime.timedelta"),
        ({"a": 1}, "numbers only, but holds {'a': 1}"),
        (jax.random.key(0), "numbers only, but is"),
        (np.ma.array([1.0, 2.0], mask=[False, True]), "masked entries; fill them"),
    ],
)
def test_what_is_no_real_number_is_named(given, message):
    with pytest.raises(ValueError, match=f"`payoffs` .*{message}"):
        numbers("payoffs", given)


def test_in_single_precision_large_numbers_are_kept_or_refused():
    """JAX would take 2^40 for 0, and 1e300 for infinity."""
    with jax.enable_x64(False):
        np.testing.assert_array_equal(ce.games.MatrixGame(np.full((2, 2, 2), 2**40)).payoffs, 2.0**40)
        with pytest.raises(ValueError, match=r"fit into float32, but entry \[0, 0, 0\] is 1e\+300.*jax_enable_x64"):
            ce.games.MatrixGame(np.full((2, 2, 2), 1e300))


@pytest.mark.parametrize(
    "value", [0.5, np.float16(0.5), jnp.bfloat16(0.5), Fraction(1, 2), Decimal("0.5"), np.longdouble(0.5)]
)
def test_settings_of_all_types_are_numbers(value):
    assert is_number(value)
    check_share("share", value)
    check_finite("number", value)
    assert as_setting(value) == 0.5
    assert ce.games.CleanUpLite(dirt_probability=value).dirt_probability == 0.5
    assert ce.games.CoinGame(loss=value).loss == 0.5


@pytest.mark.parametrize(
    "value", [True, np.True_, 1j, "1", None, [1], [[1], [1, 2]], np.timedelta64(1), 10**400, float("nan")]
)
def test_settings_that_are_no_numbers_are_refused(value):
    with pytest.raises(ValueError, match="`reward` must be a finite number"):
        ce.games.CoinGame(reward=value)
    with pytest.raises(ValueError, match="`zap_probability` must lie between 0 and 1"):
        ce.games.CleanUpLite(zap_probability=value)


def _play(game):
    state, _ = game.reset(jax.random.key(0))
    return game.step(state, jnp.zeros(game.num_players, int), jax.random.key(1))


def _grid(game):
    _, observations = game.reset(jax.random.key(0))
    return _play(game), game.measures(observations[:1], jnp.zeros((1, 2), int))


def _think(policy):
    return replay_actions(policy, jnp.array([[0, 1, 2]]), jnp.array([[0, 1, 0]]))


def _closed_form():
    policies = MemoryOne(np.ones((5, 2))), BinaryMemoryOne(np.arange(5.0))
    game = ce.games.iterated_prisoners_dilemma()
    slope = jax.grad(lambda policy: ce.exact.discounted_returns(policy, policies[1], game.payoffs, 0.9)[0])(policies[0])
    return slope, ce.exact.discounted_returns(*policies, np.array(DILEMMA), np.float32(0.5))


def _linear_quadratic():
    game = ce.games.LinearQuadratic(np.ones((2, 3, 3), int), dynamics=np.ones((1, 3)), start=[1], noise=np.float32(0.5))
    policies = [LinearGaussian(np.ones((1, 1)), np.ones(1), learns_std=learns) for learns in (True, False)]
    slope = jax.grad(lambda one: quadratic_shaping_return(game, (one, policies[1]), rate=0.5, batch=2))(policies[0])
    return game.step(game.start, jnp.ones((2, 1)), KEY), slope


def _vectors(policy):
    drawn = policy.unroll(policy.initial_memory(), jnp.ones((2, 3)), jnp.zeros((2, 2)))[1].distribution.sample(KEY)
    return drawn, *replay_actions(policy, jnp.ones((1, 2, 3)), drawn[None])


KEY = jax.random.key(2)
STRICT = {
    "matrix game": lambda: _play(ce.games.chicken()),
    "tabular game": lambda: _play(random_game(0).table()),
    "its table": lambda: _play(ce.games.public_goods().table()),
    "clean-up": lambda: _grid(ce.games.CleanUpLite(dirt_probability=np.float32(0.5), collisions="block")),
    "clean-up's table": lambda: ce.games.CleanUpLite(rows=1, columns=2, start=(0, 1), initial_dirt=1, freeze_steps=1,
                                                     actions=("left", "zap")).table(),
    "coin game": lambda: _grid(ce.games.CoinGame(reward=np.float16(1), loss=2)),
    "both coins": lambda: _grid(ce.games.CoinGame(coins="both", stay=True, new_coins="any")),
    "coin game's table": lambda: ce.games.CoinGame(size=2).table(),
    "memory-one": lambda: _think(MemoryOne(np.ones((5, 2)))),
    "full history": lambda: _think(FullHistory.random(ce.games.chicken(), 3, KEY)),
    "MLP": lambda: _think(MLP(5, 2, width=3, key=KEY)),
    "GRU": lambda: _think(GRU(5, 2, width=3, forget_after=2, key=KEY)),
    "Hawk": lambda: _think(Hawk(5, 2, width=4, head_scale=1.0, rematerialise=2, forget_after=2, key=KEY)),
    "closed form": _closed_form,
    "linear-quadratic game": _linear_quadratic,
    "linear-Gaussian": lambda: _vectors(LinearGaussian(np.ones((2, 3), np.float16), np.ones(2, int))),
    "MLP of vectors": lambda: _vectors(MLP(Vector(3), Box(2), width=3, key=KEY)),
    "Hawk of vectors": lambda: _vectors(Hawk(Vector(3), Box(2), width=4, key=KEY)),
    "GRU of images": lambda: replay_actions(
        GRU(Image(3, 4, 2), Discrete(2), width=3, key=KEY), jnp.ones((1, 2, 3, 4, 2), int), jnp.zeros((1, 2), int)
    ),
    "tree": lambda: episode_returns(random_game(0), tuple(MemoryOne(np.ones((2, n))) for n in (2, 3)), 2, 0.9),
    "population": lambda: ce.Population([MemoryOne(np.ones((5, 2)))] * 2).draw(KEY),
}  # fmt: skip
"""All that must work under JAX's strict flags."""


@pytest.mark.parametrize("x64", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("name", STRICT)
def test_strict_promotion_changes_nothing(name, x64):
    """Whoever sets these flags gets what others get."""
    with jax.enable_x64(x64):
        expected = STRICT[name]()
        with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
            found = STRICT[name]()
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


def test_the_flags_may_be_set_from_outside():
    code = (
        "import jax, jax.numpy as jnp, coala_eqx as ce\n"
        "for game in (ce.games.CleanUpLite(), ce.games.CoinGame(), ce.games.chicken().table()):\n"
        "    state, _ = game.reset(jax.random.key(0))\n"
        "    print(game.step(state, jnp.zeros(2, int), jax.random.key(0))[2].shape)"
    )
    flags = {"JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_NUMPY_RANK_PROMOTION": "raise"}
    arguments = [sys.executable, "-c", code]
    output = subprocess.run(arguments, capture_output=True, text=True, env={**os.environ, **flags}, check=False)
    assert output.stdout == "(2,)\n" * 3, output.stderr
