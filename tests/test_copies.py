"""What is stored or copied is as it was made: nothing of one process is in it."""

import copy
import os
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import coala_eqx as ce
from coala_eqx.arrays import Frozen
from tests.makers import SGD, random_game
from tests.test_environments import Named

DOUBLE = "import jax; jax.config.update('jax_enable_x64', True)"
MAKERS = """
import jax, numpy as np
import coala_eqx as ce

key, dilemma = jax.random.key(0), ce.games.iterated_prisoners_dilemma()
memory_one = ce.policies.MemoryOne.random(dilemma, key, player=1)
MADE = {
    "matrix game": dilemma,
    "its table": dilemma.table(),
    "tabular game": ce.games.TabularGame([1, 0], np.full((2, 2, 1, 2), 0.5), np.ones((2, 2, 2, 1)), [[0, 1], [0, 0]]),
    "clean-up": ce.games.CleanUpLite(start=(0, 1)),
    "coin game": ce.games.CoinGame(coins="both"),
    "memory-one": memory_one,
    "binary": ce.policies.BinaryMemoryOne(np.arange(5.0)),
    "full history": ce.policies.FullHistory.random(dilemma, steps=2, key=key),
    "GRU": ce.policies.GRU(5, 2, width=3, key=key),
    "MLP": ce.policies.MLP(5, 2, width=3, key=key),
    "Hawk": ce.policies.Hawk(5, 2, width=4, key=key),
    "linear-quadratic": ce.games.cournot_competition(),
    "linear-Gaussian": ce.policies.LinearGaussian([[1.0]], [2.0]),
    "GRU of images": ce.policies.GRU(ce.games.Image(3, 4, 2), ce.games.Box(2), width=3, key=key),
    "population": ce.Population([memory_one, memory_one]),
    "problem": ce.ShapingProblem(
        game=dilemma, co_players=memory_one, learner=ce.learners.Static(), batch=2, episodes=2, steps=1
    ),
}
"""
NAMESPACE = {}
exec(MAKERS, NAMESPACE)
MADE = NAMESPACE["MADE"]

LOADING = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    loaded = pickle.load(file)
for name, fresh in MADE.items():
    one, structure = jax.tree.flatten(loaded[name])
    other, expected = jax.tree.flatten(fresh)
    assert structure == expected, name
    assert hash(structure) == hash(expected), name
    for mine, theirs in zip(one, other, strict=True):
        assert mine.dtype == theirs.dtype if hasattr(mine, "dtype") else type(mine) is type(theirs), name
        np.testing.assert_array_equal(mine, theirs, err_msg=name)
print(len(MADE))
"""


def test_what_another_process_has_stored_equals_what_is_made_anew(tmp_path):
    """Two processes have two seeds of their hashes."""
    with (tmp_path / "made").open("wb") as file:
        pickle.dump(MADE, file)
    outputs = [
        subprocess.run(
            [sys.executable, "-c", DOUBLE + MAKERS + LOADING, file.name],
            capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": seed}, check=False,
        )
        for seed in ("1", "2")
    ]  # fmt: skip
    assert [output.stdout for output in outputs] == [f"{len(MADE)}\n"] * 2, outputs


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_copies_equal_what_they_are_made_of(name, how):
    made = MADE[name]
    copied = how(made)
    assert jax.tree.structure(copied) == jax.tree.structure(made)
    assert hash(jax.tree.structure(copied)) == hash(jax.tree.structure(made))
    for mine, theirs in zip(jax.tree.leaves(copied), jax.tree.leaves(made), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_static_arrays_stay_read_only(how):
    for frozen in (Frozen(np.arange(3)), how(Frozen(np.arange(3))), how(random_game(0)).seen):
        with pytest.raises(ValueError, match="read-only"):
            frozen.array[0] = 7


def test_freezing_an_array_leaves_the_one_that_was_given():
    given = np.arange(3)
    frozen = Frozen(given)
    given[0] = 7
    assert frozen.array.tolist() == [0, 1, 2]


def test_what_is_not_the_same_is_told_apart():
    zero, nan = Frozen(np.zeros(2)), Frozen(np.full(2, np.nan))
    assert nan == Frozen(np.full(2, np.nan))
    assert zero not in (Frozen(np.zeros((2, 1))), Frozen(np.zeros(2, jnp.bfloat16)), Frozen(np.ones(2)), nan, "zero")
    assert Frozen(np.zeros(2, jnp.bfloat16)) != Frozen(np.zeros(2, np.float16))


def test_a_copied_problem_needs_no_other_program():
    """Its optimiser and its environment are compared by identity."""
    game = ce.games.FromEnvironment(Named())
    policy = ce.policies.MLP(5, 3, width=2, key=jax.random.key(0))
    problem = ce.ShapingProblem(game=game, co_players=policy, learner=SGD, batch=1, episodes=1, steps=1)
    assert jax.tree.structure(copy.deepcopy(problem)) == jax.tree.structure(problem)
