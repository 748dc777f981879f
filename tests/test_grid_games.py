"""CleanUp-lite and the Coin Game: held against slow versions, their invariants, chances, tables, and bad settings."""

import dataclasses
import re
import subprocess
import sys

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from hypothesis import strategies as st

import coala_eqx as ce
from coala_eqx._checks import check_finite, check_share
from tests.runs import ROOT
from tests.slow_games import SlowCleanUp, SlowCoinGame

LENGTH = 300


def random_play(game, seed, length=LENGTH):
    """States before and after, what chance decided, actions, rewards, observations, each `[length, …]`."""

    @jax.jit
    def play(key):
        key_reset, key_actions, key = jax.random.split(key, 3)
        first, seen = game.reset(key_reset)
        actions = jax.random.randint(key_actions, (length, 2), 0, game.num_actions[0])

        def step(state, inputs):
            key, actions = inputs
            after, observations, rewards = game.step(state, actions, key)
            chance = game.draw(state, key)
            return after, (state, after, chance, actions, rewards, observations)

        return seen, jax.lax.scan(step, first, (jax.random.split(key, length), actions))[1]

    seen, steps = play(jax.random.key(seed))
    return np.asarray(seen), jax.tree.map(np.asarray, steps)


def at(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


CLEAN_UPS = [
    ce.games.CleanUpLite(),
    ce.games.CleanUpLite(rows=3, columns=2, initial_dirt=1, collisions="block", metric="chebyshev", zap_distance=1),
    ce.games.CleanUpLite(rows=2, columns=3, initial_dirt=0, freeze_steps=2, zap_step_counts=True, dirt_capacity=1.5),
    ce.games.CleanUpLite(rows=1, columns=2, initial_dirt=1, actions=("zap", "right", "left"), dirt_probability=1.0),
]


@pytest.mark.parametrize("game", CLEAN_UPS, ids=["the paper's", "block", "small", "one row"])
def test_clean_up_is_what_the_rules_tell(game):
    seen, (before, after, chances, actions, rewards, observations) = random_play(game, 0, 3000)
    first = at(before, 0)
    places = [divmod(int(cell), game.columns) for cell in first.cells]
    slow = SlowCleanUp(game, places, np.flatnonzero(first.dirt))
    np.testing.assert_array_equal(seen, [slow.seen_by(0), slow.seen_by(1)])
    for time in range(len(actions)):
        chance = at(chances, time)
        earned = slow.step(
            actions[time],
            new_dirt=int(chance.dirt) if chance.dirt < game.rows else None,
            new_apple=int(chance.apple) if chance.apple < game.rows else None,
            hits=chance.hits,
            eater=int(chance.eater),
        )
        np.testing.assert_array_equal(rewards[time], earned)
        np.testing.assert_array_equal(observations[time], [slow.seen_by(0), slow.seen_by(1)])
        np.testing.assert_array_equal(at(after, time).frozen, [player["frozen"] for player in slow.players])
    assert rewards.sum() > 0
    assert after.frozen.max() > 0


COIN_GAMES = [
    ce.games.CoinGame(),
    ce.games.CoinGame(coins="both", stay=True, new_coins="any"),
    ce.games.CoinGame(size=2, coins="both"),
    ce.games.CoinGame(size=4, stay=True, reward=0.5, loss=1.5),
    ce.games.CoinGame(coins="both"),
]


@pytest.mark.parametrize("game", COIN_GAMES, ids=["one coin", "both, anywhere", "small", "large", "both"])
def test_the_coin_game_is_what_the_rules_tell(game):
    seen, (before, after, _, actions, rewards, observations) = random_play(game, 1, 3000)

    def places(cells):
        return [None if cell == game.num_cells else divmod(int(cell), game.size) for cell in cells]

    slow = SlowCoinGame(game, places(before.cells[0]), places(before.coins[0]))
    np.testing.assert_array_equal(seen, [slow.seen_by(0), slow.seen_by(1)])
    for time in range(len(actions)):
        new = places(after.coins[time])
        np.testing.assert_allclose(rewards[time], slow.step(actions[time], new))
        np.testing.assert_array_equal(observations[time], [slow.seen_by(0), slow.seen_by(1)])
        there = [coin for coin in new if coin is not None]
        assert len(there) == (1 if game.coins == "one" else 2)
        if game.new_coins == "free":
            assert len(set(there)) == len(there)
            assert not set(there) & set(slow.places)
    assert (rewards < 0).any()
    assert (rewards > 0).any()


@pytest.mark.parametrize("game", COIN_GAMES, ids=str)
@pytest.mark.parametrize("cells", [(0, 3), (2, 2)])
def test_new_coins_come_to_all_free_cells_alike(game, cells):
    """And are of both colours, where there is one."""
    keys = jax.random.split(jax.random.key(0), 40000)
    none = jnp.full(2, game.num_cells)
    draw = jax.jit(jax.vmap(lambda key: game._replaced(jnp.array(cells), none, game.draw(None, key))))
    coins = np.asarray(draw(keys))
    free = np.setdiff1d(np.arange(game.num_cells), [] if game.new_coins == "any" else cells)
    if game.coins == "one":
        possible = [(cell, game.num_cells) for cell in free] + [(game.num_cells, cell) for cell in free]
    else:
        possible = [(a, b) for a in free for b in free if game.new_coins == "any" or a != b]
    counts = [(coins == pair).all(axis=1).sum() for pair in possible]
    assert sum(counts) == len(keys)
    assert_frequent(np.array(counts), np.full(len(possible), 1 / len(possible)))


clean_ups = st.fixed_dictionaries({
    "rows": st.integers(2, 4), "columns": st.integers(2, 4), "initial_dirt": st.integers(0, 2),
    "dirt_probability": st.floats(0, 1), "zap_probability": st.floats(0, 1),
    "dirt_capacity": st.sampled_from([0.5, 1.0, 3.0]),
    "zap_distance": st.integers(0, 3), "freeze_steps": st.integers(0, 5), "zap_step_counts": st.booleans(),
    "collisions": st.sampled_from(["share", "block"]), "metric": st.sampled_from(["manhattan", "chebyshev"]),
})  # fmt: skip


@hypothesis.settings(max_examples=8, deadline=None)
@hypothesis.given(clean_ups, st.integers(0, 2**31))
def test_invariants_of_clean_up(given, seed):
    game = ce.games.CleanUpLite(**given)
    _, (before, after, chances, actions, rewards, observations) = random_play(game, seed)
    cells, maps = game.num_cells, observations[..., 2 * game.num_cells : -2].reshape(LENGTH, 2, game.num_cells, 3)
    column = np.arange(cells) % game.columns
    assert not maps[:, :, column != 0, 0].any()
    assert not maps[:, :, column != game.columns - 1, 1].any()
    np.testing.assert_array_equal(maps.sum(axis=-1), 1)
    eaten = before.apples.sum(axis=1) + (chances.apple < game.rows) - after.apples.sum(axis=1)
    np.testing.assert_array_equal(rewards.sum(axis=1), eaten)
    np.testing.assert_array_equal(observations[:, 0, :cells], observations[:, 1, cells : 2 * cells])
    np.testing.assert_array_equal(observations[:, 0, -2:], observations[:, 1, -2:][:, ::-1])
    np.testing.assert_array_equal(maps[:, 0], maps[:, 1])
    frozen = before.frozen > 0
    assert not rewards[frozen].any()
    np.testing.assert_array_equal(before.cells[frozen], after.cells[frozen])
    length = max(0, game.freeze_steps - game.zap_step_counts)
    for player in range(2):
        starts = np.flatnonzero((before.frozen[:, player] == 0) & (after.frozen[:, player] > 0))
        for start in starts[starts < LENGTH - length - 1]:
            assert frozen[start + 1 : start + 1 + length, player].all()
            assert not frozen[start + 1 + length, player]
    if game.collisions == "block":
        assert (after.cells[:, 0] != after.cells[:, 1]).all()
    assert_players_can_change_places(game, before, chances, actions)


def assert_players_can_change_places(game, states, chances, actions):
    """And nothing else changes, if what chance decides changes with them."""

    @jax.jit
    def both(states, actions, chances):
        def one(state, actions, chance):
            swapped = dataclasses.replace(state, cells=state.cells[::-1], frozen=state.frozen[::-1])
            chance_swapped = dataclasses.replace(chance, hits=chance.hits[::-1], eater=1 - chance.eater)
            after, rewards = game.apply(state, actions, chance)
            after_swapped, rewards_swapped = game.apply(swapped, actions[::-1], chance_swapped)
            return game.observe(after), rewards, game.observe(after_swapped), rewards_swapped

        return jax.vmap(one)(states, actions, chances)

    seen, rewards, seen_swapped, rewards_swapped = both(states, actions, chances)
    np.testing.assert_array_equal(seen, seen_swapped[:, ::-1])
    np.testing.assert_array_equal(rewards, rewards_swapped[:, ::-1])


def assert_frequent(counts, probabilities, level=1e-9):
    """Each within what a binomial distribution allows."""
    number = counts.sum()
    for count, probability in zip(counts, probabilities, strict=True):
        low, high = scipy.stats.binom.ppf([level, 1 - level], number, float(np.clip(probability, 0, 1)))
        assert low <= count <= high, (count, number, probability)


@pytest.mark.parametrize("dirt", [[0, 0, 0, 0, 0], [0, 1, 0, 0, 1], [1, 1, 1, 1, 1]])
def test_chance_of_clean_up(dirt):
    """What is drawn has the probabilities that the paper says, and that the table has."""
    game, number = CLEAN_UPS[0], 20000
    state, _ = game.reset(jax.random.key(0))
    apples = jnp.array([1, 0, 0, 1, 0], bool)
    state = dataclasses.replace(state, apples=apples, dirt=jnp.array(dirt, bool))
    drawn = jax.jit(jax.vmap(lambda key: game.draw(state, key)))(jax.random.split(jax.random.key(1), number))
    free = 1 - np.array(dirt)
    some = 0.35 if free.any() else 0.0
    new_dirt = np.append(some * free / max(1, free.sum()), 1 - some)
    assert_frequent(np.bincount(drawn.dirt, minlength=6), new_dirt)
    after = sum(dirt) + np.append(np.ones(5), 0)
    grows = float((new_dirt * (1 - np.minimum(1, after / 3))).sum())
    assert_frequent(np.bincount(drawn.apple, minlength=6), np.append(grows * (1 - apples) / 3, 1 - grows))
    assert_frequent(np.bincount(drawn.hits[:, 0].astype(int), minlength=2), [0.1, 0.9])
    assert_frequent(np.bincount(drawn.eater, minlength=2), [0.5, 0.5])
    everything = game.chances()
    probabilities = np.asarray(jax.vmap(lambda chance: game.probability(state, chance))(everything))
    np.testing.assert_allclose(probabilities.sum(), 1)
    np.testing.assert_allclose(
        np.bincount(everything.apple, probabilities), np.append(grows * (1 - apples) / 3, 1 - grows)
    )
    np.testing.assert_allclose(np.bincount(everything.dirt, probabilities), new_dirt, atol=1e-15)


def test_the_start_of_clean_up():
    game = ce.games.CleanUpLite(rows=3, columns=2, initial_dirt=2)
    keys = jax.random.split(jax.random.key(0), 20000)
    states, _ = jax.jit(jax.vmap(game.reset))(keys)
    assert not states.apples.any()
    np.testing.assert_array_equal(states.dirt.sum(axis=1), 2)
    assert_frequent(np.bincount(states.cells[:, 0] * 6 + states.cells[:, 1], minlength=36), np.full(36, 1 / 36))
    assert_frequent(np.asarray(states.dirt).sum(axis=0), np.full(3, 1 / 3))
    apart = ce.games.CleanUpLite(rows=1, columns=2, initial_dirt=0, collisions="block")
    states, _ = jax.jit(jax.vmap(apart.reset))(keys[:100])
    assert (states.cells.sum(axis=1) == 1).all()


SMALL = [
    ce.games.CleanUpLite(
        rows=2, columns=2, actions=("left", "zap"), dirt_probability=0.0, dirt_capacity=1.0, initial_dirt=1,
        zap_probability=1.0, freeze_steps=1, start=(3, 0),
    ),
    ce.games.CleanUpLite(rows=1, columns=2, actions=("right", "left"), initial_dirt=1, dirt_probability=0.25),
    ce.games.CoinGame(size=2),
]  # fmt: skip


@pytest.mark.parametrize("game", SMALL, ids=["zaps", "moves", "coins"])
def test_tables_have_the_games_own_outcomes(game):
    """As much is seen at first and after a step; what is earned in the first steps is as often as the table says."""
    table, number = game.table(), 20000
    joint = np.random.default_rng(0).integers(0, game.num_actions[0], (5, 2))

    def play(key):
        key_reset, *keys = jax.random.split(key, 1 + len(joint))
        state, seen = game.reset(key_reset)
        rewards, observations = [], [seen[0]]
        for key, actions in zip(keys, joint, strict=True):
            state, seen, earned = game.step(state, jnp.asarray(actions), key)
            rewards.append(earned)
            observations.append(seen[0])
        return jnp.stack(rewards), jnp.stack(observations)

    rewards, observations = jax.jit(jax.vmap(play))(jax.random.split(jax.random.key(0), number))
    seen = np.unique(observations[:, :2].reshape(number, -1), axis=0)
    follows = np.asarray(table.transition)[:, *joint[0]] > 0
    numbers = np.asarray(table.observations[0])
    pairs = {(numbers[start], numbers[after]) for start, after in np.argwhere(follows) if table.initial[start] > 0}
    assert len(seen) == len(pairs) > 1
    expected = {(): np.asarray(table.initial)}
    for actions in joint:
        following = {}
        for earned, weights in expected.items():
            for state in np.flatnonzero(weights):
                name = (*earned, *np.asarray(table.rewards[(slice(None), state, *actions)]).tolist())
                moved = weights[state] * np.asarray(table.transition[(state, *actions)])
                following[name] = following.get(name, 0) + moved
        expected = following
    counts = dict.fromkeys(expected, 0)
    for earned in np.asarray(rewards).reshape(number, -1).tolist():
        counts[tuple(earned)] += 1
    assert len(counts) > 1
    assert_frequent(np.array(list(counts.values())), [weights.sum() for weights in expected.values()])


def test_estimators_are_certified_on_a_small_clean_up():
    table = SMALL[0].table()
    logits = 0.3 * jax.random.normal(jax.random.key(0), (2, table.num_observations[0], 2))
    policies = [ce.policies.MemoryOne(logits=one) for one in logits]
    learner = ce.learners.PolicyGradient(optimiser=optax.sgd(1.0))
    problem = ce.ShapingProblem(
        game=table, co_players=(policies[1],), learner=learner, batch=2, episodes=2, steps=2
    )  # fmt: skip
    estimators = ce.estimators.CoalaPG(), ce.estimators.MFOS()
    coala_pg, m_fos = ce.verification.certify_all(estimators, problem, policies[0])
    assert coala_pg.relative_bias < 1e-10
    assert m_fos.relative_bias > 1e-3


def test_measures_of_clean_up():
    """Counted one by one, of a game that was played."""
    game = CLEAN_UPS[0]
    seen, (before, _, _, actions, _, observations) = random_play(game, 3)
    observations = jnp.asarray(np.concatenate([seen[None], observations[:-1]])[:, 0])
    np.testing.assert_array_equal(game.seen(observations).cells, before.cells)
    np.testing.assert_array_equal(game.seen(observations).dirt, before.dirt)
    np.testing.assert_array_equal(game.seen(observations).apples, before.apples)
    np.testing.assert_array_equal(game.seen(observations).frozen, before.frozen > 0)
    measures = jax.jit(game.measures)(observations, actions)
    cleaning, zaps = np.zeros(2), np.zeros(2)
    for time in range(LENGTH):
        for player in range(2):
            if before.frozen[time, player] == 0:
                cleaning[player] += before.cells[time, player] % 4 == 3
                zaps[player] += actions[time, player] == 4
    expected = {
        "cleaning": cleaning[0] / LENGTH, "other_cleaning": cleaning[1] / LENGTH,
        "cleaning_discrepancy": abs(cleaning[0] - cleaning[1]) / LENGTH,
        "zaps": zaps[0] / LENGTH, "other_zaps": zaps[1] / LENGTH,
        "pollution": before.dirt.sum() / LENGTH, "apples": before.apples.sum() / LENGTH,
    }  # fmt: skip
    assert set(measures) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(measures[name], value, err_msg=name)


def test_measures_of_the_coin_game():
    """Rewards are what coins are worth."""
    game = COIN_GAMES[0]
    seen, (before, _, _, actions, rewards, observations) = random_play(game, 4)
    observations = jnp.asarray(np.concatenate([seen[None], observations[:-1]])[:, 0])
    np.testing.assert_array_equal(game.seen(observations).cells, before.cells)
    np.testing.assert_array_equal(game.seen(observations).coins, before.coins)
    coins = jax.jit(game.measures)(observations, actions)
    assert all(value > 0 for value in coins.values())
    earned = [
        coins["own_coins"] + coins["others_coins"] - 2 * coins["other_others_coins"],
        coins["other_own_coins"] + coins["other_others_coins"] - 2 * coins["others_coins"],
    ]
    np.testing.assert_allclose(rewards.mean(axis=0), earned)


@pytest.mark.parametrize(("settings", "message"), [
    ({"columns": 1}, "`columns` must be at least 2, for the river and the orchard, but is 1"),
    ({"rows": -1}, "`rows` must be at least 1, but is -1"),
    ({"rows": 2}, "`initial_dirt` must lie between 0 and rows = 2"),
    ({"dirt_probability": 1.2}, "`dirt_probability` must lie between 0 and 1, but is 1.2"),
    ({"zap_probability": float("nan")}, "`zap_probability` must lie between 0 and 1, but is nan"),
    ({"dirt_capacity": 0.0}, "`dirt_capacity` must be positive, but is 0.0"),
    ({"freeze_steps": -1}, "`freeze_steps` must be at least 0, but is -1"),
    ({"metric": "euclid"}, "`metric` must be 'manhattan' or 'chebyshev', but is 'euclid'"),
    ({"actions": ("zap", "zap")}, "`actions` must be different ones of right, left"),
    ({"actions": 5}, "but are (5,)"),
    ({"freeze_steps": 2**40}, "`freeze_steps` must be at most 1000000000, but is 1099511627776"),
    ({"actions": (["zap"],)}, "but are (['zap'],)"),
    ({"start": (0, 20)}, "`start` must be two cells, numbered from 0 to 19, but is (0, 20)"),
    ({"start": (3, 3), "collisions": "block"}, "must be two different cells"),
])  # fmt: skip
def test_settings_that_make_no_clean_up(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ce.games.CleanUpLite(**settings)


@pytest.mark.parametrize(("check", "message"), [
    (check_finite, "a finite number, but is 1j"),
    (check_share, "between 0 and 1, but is 1j"),
])  # fmt: skip
def test_complex_numbers_are_no_settings(check, message):
    with pytest.raises(ValueError, match=message):
        check("reward", 1j)


def test_settings_that_make_no_coin_game():
    with pytest.raises(ValueError, match="`size` must be at least 2, so that two players and a coin fit, but is -3"):
        ce.games.CoinGame(size=-3)
    with pytest.raises(ValueError, match="`coins` must be 'one' or 'both', but is 'many'"):
        ce.games.CoinGame(coins="many")


def test_a_large_game_makes_no_table():
    with pytest.raises(ValueError, match="more than 1024 states that can be reached"):
        ce.games.CleanUpLite().table()


def test_games_are_not_made_by_numbers_of_other_kinds():
    """In a process of its own, as types are checked before that in tests."""
    script = """
from coala_eqx.games import CleanUpLite, CoinGame

for kind, name, value in (
    (CleanUpLite, "initial_dirt", 1.5), (CleanUpLite, "rows", 5.0), (CleanUpLite, "freeze_steps", float("nan")),
    (CleanUpLite, "zap_distance", True), (CleanUpLite, "dirt_probability", None), (CleanUpLite, "dirt_capacity", "3"),
    (CleanUpLite, "start", 3), (CleanUpLite, "start", (0.0, 1)), (CleanUpLite, "zap_step_counts", 2),
    (CoinGame, "size", 3.0), (CoinGame, "stay", 2), (CoinGame, "loss", float("inf")), (CoinGame, "reward", None),
):
    try:
        kind(**{name: value})
    except ValueError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.splitlines() == [
        "`initial_dirt` must be a whole number, but is 1.5.",
        "`rows` must be a whole number, but is 5.0.",
        "`freeze_steps` must be a whole number, but is nan.",
        "`zap_distance` must be a whole number, but is True.",
        "`dirt_probability` must lie between 0 and 1, but is None.",
        "`dirt_capacity` must be positive, but is '3'.",
        "`start` must be two cells, numbered from 0 to 19, but is (3,).",
        "`start` must be two cells, numbered from 0 to 19, but is (0.0, 1).",
        "`zap_step_counts` must be False or True, but is 2.",
        "`size` must be a whole number, but is 3.0.",
        "`stay` must be False or True, but is 2.",
        "`loss` must be a finite number, but is inf.",
        "`reward` must be a finite number, but is None.",
    ]
