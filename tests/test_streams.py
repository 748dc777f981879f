"""Random numbers of different purposes are apart from each other."""

import dataclasses
import subprocess
import sys

import equinox as eqx
import jax
import numpy as np
import optax
import pytest

import coala_eqx as ce
from coala_eqx.estimators import CoalaPG
from coala_eqx.learners import PPO as RandomPPO
from coala_eqx.learners import PolicyGradient
from coala_eqx.policies import MLP
from coala_eqx.streams import stream
from coala_eqx.training import PPO, gradient_noise
from experiments import scripted
from experiments.experiment import settings_of
from tests import makers


def numbers_of(keys):
    return {tuple(map(int, key)) for key in np.asarray(jax.random.key_data(keys)).reshape(-1, 2)}


def test_keys_of_a_stream_are_none_of_those_that_a_key_is_split_or_folded_into(getkey):
    key = getkey()
    split = jax.random.split(key, 1000)
    folded = jax.vmap(lambda number: jax.random.fold_in(key, number))(np.arange(1000))
    assert numbers_of(split) == numbers_of(folded)  # which is why a name is needed
    names = [stream(key, name) for name in ("scripts", "play", "", "ä")]
    assert len(set.union(*map(numbers_of, names))) == 4
    for one in names:
        mine = numbers_of(one) | numbers_of(jax.random.split(one, 100))
        assert not mine & (numbers_of(split) | numbers_of(key))


def test_a_stream_is_the_same_in_every_process(getkey):
    program = (
        "import jax; from coala_eqx.streams import stream; "
        "print(jax.random.key_data(stream(jax.random.key(5), 'scripts')).tolist())"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(jax.random.key_data(stream(jax.random.key(5), "scripts")).tolist())


@pytest.mark.parametrize("seed", [0, 7])
def test_scripts_play_with_no_key_that_the_pool_is_made_of(seed):
    """The pool's keys are split of the seed's, and each of them in three: agents, naive agents, iterations."""
    settings = settings_of("scripted", "smoke", {"seed": seed, "seeds": 3})
    first = jax.random.split(jax.random.key(seed), 100)
    made_of = numbers_of(first) | numbers_of(jax.vmap(lambda key: jax.random.split(key, 10))(first))
    played = scripted.play_keys(settings)
    assert len(numbers_of(played)) == 3
    assert not numbers_of(played) & made_of


SPLIT, FOLDED = "random_split", "random_fold_in"


def uses_of_keys(jaxpr, names, found):
    """What is done with each key of a program, `names` being those of its variables: numbers of keys → primitives."""
    for equation in jaxpr.eqns:
        inputs = [names.get(id(one)) for one in equation.invars]
        inner = [getattr(value, "jaxpr", value) for value in equation.params.values()
                 if hasattr(getattr(value, "jaxpr", value), "eqns")]  # fmt: skip
        for one in inner:
            if len(one.invars) == len(equation.invars):  # a call or a scan: its variables are the same keys
                uses_of_keys(one, dict(zip(map(id, one.invars), inputs, strict=True)), found)
            else:
                uses_of_keys(one, {}, found)
        if not inner and equation.primitive.name.startswith("random_"):
            key = inputs[0] or id(equation.invars[0])
            found.setdefault(key, []).append(equation.primitive.name)
        for out in equation.outvars:
            names[id(out)] = id(out)
    return found


def both_split_and_folded(program, *arguments):
    jaxpr = jax.make_jaxpr(program)(*arguments).jaxpr
    found = uses_of_keys(jaxpr, {id(one): id(one) for one in jaxpr.invars}, {})
    assert any(SPLIT in uses for uses in found.values())
    return [uses for uses in found.values() if {SPLIT, FOLDED} <= set(uses) or uses.count(SPLIT) > 1]


@pytest.mark.parametrize(
    "learner", [PolicyGradient(optimiser=optax.sgd(1.0)), RandomPPO(optax.sgd(1.0), minibatches=2)]
)
def test_training_never_splits_a_key_twice_or_splits_and_folds_it(learner, getkey):
    def make(key):
        return MLP(5, 2, width=3, key=key)

    pool = makers.make_pool(
        game=ce.games.iterated_prisoners_dilemma(), learner=learner, make_agent=make,
        update=PPO(optax.sgd(1.0)), estimators=(CoalaPG(),) * 2, p_naive=0.5,
        batch=2, episodes=2, steps=2, meta_batch=4,
    )  # fmt: skip

    pool = dataclasses.replace(pool, naive=dataclasses.replace(pool.naive, pretraining=1, pretraining_batch=2))

    def program(key):
        state = pool.init(key)
        state, info = pool.iterate(state)
        return eqx.filter((state, info, gradient_noise(pool, state, (CoalaPG(),), 2)), eqx.is_array)

    assert both_split_and_folded(program, getkey()) == []
    wrong = both_split_and_folded(lambda key: (jax.random.split(key), jax.random.fold_in(key, 1)), getkey())
    assert wrong == [[SPLIT, FOLDED]]
    twice = both_split_and_folded(lambda key: (jax.jit(jax.random.split)(key), jax.random.split(key, 3)), getkey())
    assert twice == [[SPLIT, SPLIT]]
