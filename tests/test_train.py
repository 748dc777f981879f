"""`train`: in memory and on disk, killed and resumed, watched, stopped and changed; agents read back elsewhere."""

import dataclasses
import functools
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import polars as pl
import pytest

import coala_eqx as ce
from coala_eqx.estimators import MFOS, CoalaPG, LolaDice
from coala_eqx.foreign.files import import_source
from coala_eqx.learners import PolicyGradient, clip_by_global_norm
from coala_eqx.policies import MLP, AbstractPolicy, MemoryOne, PolicyOutput
from coala_eqx.policies.base import unroll_by_steps
from coala_eqx.runs import AbstractMeter, Silent, load_agents
from coala_eqx.runs.processes import on_host
from coala_eqx.runs.trees import read_tree, write_tree
from coala_eqx.training import PPO, STOP, Agent, CriticTraining, Follow, Layout, NaiveLearners, Pool, train
from coala_eqx.training.api import describe_pool

ADAM, SGD = optax.adam(0.05), optax.sgd(0.1)
KEY = jax.random.key(3)


def make(key):
    return MLP(5, 2, width=3, key=key)


def make_pool(*agents, learner=PolicyGradient(optimiser=SGD), **changes):  # noqa: B008
    agents = agents or (Agent(CoalaPG(), PPO(ADAM, epochs=1), make),)
    sizes = {"batch": 2, "episodes": 2, "steps": 2, "meta_batch": 4}
    return Pool(changes.pop("game", ce.games.chicken()), agents, NaiveLearners(learner, make), **(sizes | changes))


pool_of = make_pool


@pytest.fixture(autouse=True)
def single():
    """Training is done in single precision."""
    with jax.enable_x64(False):
        yield


class Told(AbstractMeter):
    """Keeps what it is told; raises after so many pieces of work."""

    def __init__(self, last=None):
        self.done, self.last = [], last

    def begin(self, part):
        pass

    def advance(self, done, note):
        self.done.append(done)
        if self.last is not None and len(self.done) > self.last:
            raise RuntimeError("killed")


def same(one, other):
    for a, b in zip(*(jax.tree.leaves(eqx.filter(tree, eqx.is_array)) for tree in (one, other)), strict=True):
        np.testing.assert_array_equal(on_host(a), on_host(b))


@pytest.fixture
def by_iteration(monkeypatch):
    """Pieces of work are single iterations, and each is kept."""
    monkeypatch.setattr("coala_eqx.training.driver.AT_ONCE", 1)
    return functools.partial(train, key=KEY, every=2, checkpoint_seconds=0.0, layout=Layout(devices=1))


def test_in_memory_it_is_iterate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pool, meter = make_pool(), Told()
    trained = train(pool, key=KEY, iterations=4, every=2, meter=meter)
    state = pool.init(KEY)
    infos = []
    for _ in range(4):
        state, info = eqx.filter_jit(pool.iterate)(state)
        infos.append(info)
    for one, other in zip(jax.tree.leaves(trained.state.agents), jax.tree.leaves(state.agents), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert trained.agents[0].num_actions == 2
    assert trained.history["iteration"].to_list() == [2, 4]
    for number, record in enumerate(trained.records):
        rewards = [float(info.ego.mean()) for info in infos[2 * number : 2 * number + 2]]
        assert record["reward"] == pytest.approx(np.mean(rewards), rel=1e-5)
        assert record["estimator"] == "CoalaPG"
    assert sum(meter.done) == 4
    assert list(tmp_path.iterdir()) == []


def test_seeds_are_trained_at_once():
    trained = train(make_pool(), key=KEY, iterations=2, every=1, seeds=3, meter=Silent())
    assert trained.history.select("seed", "iteration").rows() == [(s, i) for s in range(3) for i in (1, 2)]
    assert jax.tree.leaves(trained.agents[0])[0].shape[0] == trained.state.iteration.shape[0] == 3
    keys = jax.random.split(KEY, 3)
    alone = train(make_pool(), key=keys[1], iterations=2, every=1, meter=Silent())
    np.testing.assert_allclose(
        trained.history.filter(pl.col("seed") == 1)["reward"], alone.history["reward"], rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("critic", [None, CriticTraining(width=4, depth=1, steps=2, minibatch=2, replay=2)])
def test_killed_and_resumed_it_ends_with_the_same_bits(critic, by_iteration, tmp_path):
    """What is measured, and what critics have learned and keep, too. A finished run is read back, and does no work."""
    estimator = CoalaPG() if critic is None else CoalaPG(kappa=0.5)

    def make_pool():
        return pool_of(Agent(estimator, PPO(ADAM, epochs=1), make, critic=critic))

    def watch(pool, state):
        return {"bias": jax.tree.leaves(state.agents)[-1].mean(), "other": jnp.ones((7, 2))}

    whole = by_iteration(make_pool(), iterations=6, run=tmp_path / "whole", watch=watch, meter=Silent())
    for last in (1, 2, 2):  # iterations until it is killed, the resumption counts as one
        with pytest.raises(RuntimeError, match="killed"):
            by_iteration(make_pool(), iterations=6, run=tmp_path / "killed", watch=watch, meter=Told(last))
    resumed = by_iteration(make_pool(), iterations=6, run=tmp_path / "killed", watch=watch, meter=(rest := Told()))
    assert len(rest.done) < 6
    assert resumed.history.equals(whole.history)
    assert {"bias"} == set(whole.history.columns) & {"bias", "other"}
    same(resumed.state, whole.state)
    for name in ("records.parquet", "agents-training.tree"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    assert list((tmp_path / "whole" / "tensorboard" / "training").glob("seed-0/events*"))
    again = by_iteration(make_pool(), iterations=6, run=tmp_path / "whole", watch=watch, meter=(none := Told()))
    assert sum(none.done[1:]) == 0
    same(again.state, whole.state)
    assert again.history.equals(whole.history)
    assert [path.name for path in (tmp_path / "whole").glob("checkpoint-*/*")] == ["6"], "the last state is kept"
    assert len(json.loads((tmp_path / "whole" / "origin.json").read_text())) == 1
    assert len(json.loads((tmp_path / "killed" / "origin.json").read_text())) == 4
    same(load_agents(tmp_path / "whole"), whole.agents)
    assert pl.read_parquet(tmp_path / "whole" / "records.parquet").drop("part").equals(whole.history)


def test_an_estimator_that_breaks_its_claim_at_the_size_of_the_run_is_named(capsys):
    for estimator, words in (
        (CoalaPG(discount=0.9), "CoalaPG is not unbiased for the shaping_return in this run"),
        (CoalaPG(), ""),
    ):
        train(make_pool(Agent(estimator, PPO(ADAM, epochs=1), make)), key=KEY, iterations=1, every=1)
        told = capsys.readouterr()
        assert words in told.out + told.err
        assert ("not unbiased" in told.out + told.err) == bool(words)


def test_callbacks_stop_and_change_training_and_do_so_again_when_resumed(by_iteration, tmp_path):
    """The rate becomes 0 once there are two records, and it ends with the fourth one."""
    slow = make_pool(Agent(CoalaPG(), PPO(optax.adam(0.0), epochs=1), make))
    seen = []

    def decide(moment):
        seen.append((moment.iteration, moment.states is not None, len(moment.history)))
        if moment.iteration == 4:
            return slow
        return STOP if moment.iteration == 8 else None

    pool = make_pool()
    whole = by_iteration(pool, iterations=20, callbacks=[decide], meter=Silent())
    assert seen == [(2, True, 1), (4, True, 2), (6, True, 3), (8, True, 4)]
    assert whole.history["iteration"].to_list() == [2, 4, 6, 8]
    assert whole.pool is slow
    four = train(pool, key=KEY, iterations=4, every=2, meter=Silent(), layout=Layout(devices=1))
    same(whole.agents, four.agents)
    seen.clear()
    with pytest.raises(RuntimeError, match="killed"):
        by_iteration(pool, iterations=20, callbacks=[decide], run=tmp_path, meter=Told(6))
    resumed = by_iteration(pool, iterations=20, callbacks=[decide], run=tmp_path, meter=Silent())
    assert (2, False, 1) in seen
    same(resumed.state, whole.state)
    assert by_iteration(pool, iterations=20, callbacks=[decide], run=tmp_path, meter=Silent()).history.equals(
        whole.history
    )
    assert resumed.pool is slow
    with pytest.raises(ValueError, match="must return a pool to go on with, STOP or None, but returned 3"):
        by_iteration(pool, iterations=2, callbacks=[lambda _: 3], meter=Silent())


def test_other_settings_are_refused_in_the_same_folder(tmp_path):
    go = functools.partial(train, iterations=1, every=1, run=tmp_path, meter=Silent())
    go(make_pool(), key=KEY)
    for pool, changes in (
        (make_pool(batch=3), {}),
        (make_pool(Agent(MFOS(), PPO(ADAM, epochs=1), make)), {}),
        (make_pool(Agent(CoalaPG(), PPO(optax.adam(0.06), epochs=1), make)), {}),
        (make_pool(game=ce.games.stag_hunt()), {}),
        (make_pool(), {"key": jax.random.key(4)}),
        (make_pool(), {"iterations": 2}),
        (make_pool(), {"seeds": 2}),
    ):
        with pytest.raises(ValueError, match=r"holds another run: its .*Give another folder"):
            go(pool, **({"key": KEY} | changes))
    assert go(make_pool(), key=KEY).history.height == 1
    assert describe_pool(make_pool()) == describe_pool(make_pool())


@pytest.mark.parametrize(("changes", "message"), [
    ({"iterations": 0}, "`iterations` must be at least 1, but is 0"),
    ({"every": 3}, "`iterations` must be a multiple of `every`, but 4 is not a multiple of 3"),
    ({"seeds": 0}, "`seeds` must be at least 1, but is 0"),
    ({"checkpoint_seconds": -1.0}, "`checkpoint_seconds` must be at least 0, but is -1.0"),
])  # fmt: skip
def test_settings_that_mean_nothing_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        train(make_pool(), **({"key": KEY, "iterations": 4, "every": 2, "meter": Silent()} | changes))


def test_records_name_the_estimators_that_made_them(by_iteration):
    other = make_pool(Agent(MFOS(), PPO(ADAM, epochs=1), make))
    decide = lambda moment: other if moment.iteration == 4 else None  # noqa: E731
    trained = by_iteration(make_pool(), iterations=6, callbacks=[decide], meter=Silent())
    assert trained.history["estimator"].to_list() == ["CoalaPG", "CoalaPG", "MFOS"]
    assert trained.pool is other


def test_agents_that_cannot_be_kept_are_named_before_training(tmp_path):
    class Mine(AbstractPolicy):
        bias: jax.Array
        num_observations: int = 5
        num_actions: int = 2

        def initial_memory(self):
            return ()

        def __call__(self, memory, observation, previous_action):
            return memory, PolicyOutput(self.bias, jnp.zeros(()))

        def unroll(self, *arguments):
            return unroll_by_steps(self, *arguments)

    pool = make_pool(Agent(CoalaPG(), PPO(ADAM, epochs=1), lambda key: Mine(jnp.zeros(2))))
    with pytest.raises(ValueError, match=r"agents\.0 is <class .*Mine'>, which has no name that can be imported"):
        train(pool, key=KEY, iterations=1, every=1, run=tmp_path / "run", meter=Silent())
    assert not (tmp_path / "run").exists()


def test_weights_and_biases_is_told_of_a_run(tmp_path, monkeypatch):
    """Under the folder's name; with all settings. It needs a folder, and to be installed."""
    told, asked = [], {}
    known = SimpleNamespace(step=0, log=lambda values, step: told.append((step, values)), finish=lambda: told.append(0))
    errors = SimpleNamespace(Error=RuntimeError)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **g: asked.update(g) or known, errors=errors))
    go = functools.partial(train, make_pool(), key=KEY, iterations=2, every=1, meter=Silent(), wandb="mine")
    trained = go(run=tmp_path / "run")
    assert asked["project"] == "mine"
    assert re.fullmatch("run-[0-9a-f]{8}-training", asked["name"])
    assert asked["config"]["settings"]["iterations"] == 2
    assert [step for step, _ in told[:-1]] == [1, 2]
    assert told[-2][1]["seed 0, agent 0/reward"] == trained.records[-1]["reward"]
    assert told[-1] == 0
    with pytest.raises(ValueError, match="`wandb` = 'mine' needs a folder"):
        go()
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match="Weights & Biases is not installed: pip install wandb"):
        go(run=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_agents_that_are_not_there_are_said_to_be_missing(tmp_path):
    with pytest.raises(ValueError, match="holds no run with agents"):
        load_agents(tmp_path)
    train(make_pool(), key=KEY, iterations=1, every=1, run=tmp_path / "one", meter=Silent())
    with pytest.raises(ValueError, match="holds no agents of 'other', but of training"):
        load_agents(tmp_path / "one", "other")
    (tmp_path / "one" / "agents-training.tree").rename(tmp_path / "one" / "agents-a.tree")
    (tmp_path / "one" / "agents-b.tree").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="several parts: name one of a, b"):
        load_agents(tmp_path / "one")
    with pytest.raises(ValueError, match="agents-b.tree holds no tree that can be read"):
        load_agents(tmp_path / "one", "b")


SCRIPT = """
import jax, optax, sys
import coala_eqx as ce
from coala_eqx.policies import AbstractPolicy, PolicyOutput
from coala_eqx.policies.base import unroll_by_steps
from coala_eqx.training import A2C, Agent, NaiveLearners, Pool, train
import jax.numpy as jnp

class Mine(AbstractPolicy):
    bias: jax.Array
    num_observations: int = 5
    num_actions: int = 2
    def initial_memory(self): return ()
    def __call__(self, memory, observation, previous_action): return memory, PolicyOutput(self.bias, jnp.zeros(()))
    def unroll(self, *arguments): return unroll_by_steps(self, *arguments)

if __name__ == "__main__":
    make = lambda key: Mine(jax.random.normal(key, 2))
    agent = Agent(ce.estimators.CoalaPG(), A2C(optax.sgd(0.1)), make)
    pool = Pool(ce.games.chicken(), (agent,), NaiveLearners(ce.learners.Static(), make), batch=2, episodes=2, steps=2,
                meta_batch=2)
    print(train(pool, key=jax.random.key(0), iterations=1, every=1, run="mine").agents[0].bias)
"""


def test_agents_of_ones_own_are_read_in_another_process(tmp_path):
    """Of a class in the script that trained them."""
    (tmp_path / "script.py").write_text(SCRIPT)
    load = "import coala_eqx as ce; (agent,) = ce.runs.load_agents('mine'); print(agent.bias, type(agent).__name__)"
    trained, loaded = (
        subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for command in (["script.py"], ["-c", load])
    )
    assert loaded.strip() == f"{trained.strip()} Mine"
    made = json.loads((tmp_path / "mine" / "origin.json").read_text())
    assert made[0]["command"] == "script.py"


def test_classes_of_a_file_that_was_named_are_read_in_another_process(tmp_path):
    """As those of `FILE.py:NAME`: by the file, wherever it lies, and not by the name that it has in this process."""
    source, file = tmp_path / "mine.py", tmp_path / "a.tree"
    source.write_text("import equinox as eqx\n\n\nclass Mine(eqx.Module):\n    number: int\n")
    write_tree(file, import_source(str(source), "class").Mine(3))
    read = f"from coala_eqx.runs.trees import read_tree; print(read_tree({str(file)!r}).number)"
    assert subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=True).stdout == "3\n"


def test_trees_of_all_kinds_come_back_to_the_bit(tmp_path):
    file = tmp_path / "a.tree"
    policies = [MemoryOne(np.zeros((5, 2))), make(KEY), ce.policies.GRU(5, 2, key=KEY), ce.policies.Hawk(5, 2, key=KEY),
                ce.policies.FullHistory.random(ce.games.chicken(), 2, KEY)]  # fmt: skip
    tree = {"a": (1, 2.5, float("inf"), None, True, "x"), "key": KEY, "half": jnp.ones(3, jnp.bfloat16), "p": policies,
            "f": functools.partial(jnp.sum, axis=0), "n": np.arange(3), "t": np.dtype("int8"), "l": []}  # fmt: skip
    write_tree(file, tree)
    first = file.read_bytes()
    found = read_tree(file)
    assert eqx.tree_equal({**found, "f": 0, "t": 0}, {**tree, "f": 0, "t": 0})
    assert (found["f"].func, found["f"].keywords, found["t"]) == (jnp.sum, {"axis": 0}, np.dtype("int8"))
    assert np.isnan(_back(file, float("nan")))
    write_tree(file, tree)
    assert file.read_bytes() == first
    with pytest.raises(ValueError, match=r"tree\.1 is <function .*lambda.*which has no name that can be imported"):
        write_tree(file, [0, lambda: 0])


def _back(file, tree):
    write_tree(file, tree)
    return read_tree(file)


def test_estimators_without_advantages_and_three_players_are_trained():
    learner = PolicyGradient(optimiser=optax.chain(clip_by_global_norm(1.0), optax.adam(0.1, eps_root=1e-6)))
    lola = make_pool(Agent(LolaDice(), Follow(SGD), make), learner=learner)
    assert train(lola, key=KEY, iterations=1, every=1, meter=Silent()).history["finite"].to_list() == [1.0]
    goods = ce.games.public_goods()
    wide = lambda key: MLP(9, 2, width=3, key=key)  # noqa: E731
    agents = tuple(Agent(CoalaPG(), PPO(ADAM, epochs=1), wide, seats=(seat,)) for seat in (0, 1))
    pool = dataclasses.replace(make_pool(), game=goods, agents=agents, naive=NaiveLearners(learner, wide), p_naive=0.5)
    history = train(pool, key=KEY, iterations=2, every=2, meter=Silent()).history
    assert history.select("agent", "finite").rows() == [(0, 1.0), (1, 1.0)]
    assert np.isfinite(history["together"].to_numpy()).all()


def test_former_names_and_arguments_work_and_warn():
    """As the version before had them: the same numbers."""
    from coala_eqx.training import deprecated

    for name in deprecated.FORMER:
        with pytest.warns(DeprecationWarning, match=f"coala_eqx.training.{name} is deprecated: use coala_eqx."):
            assert getattr(ce.training, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = ce.training.nothing
    sizes = {"batch": 2, "episodes": 2, "steps": 2, "meta_batch": 4}
    settings = {"reward_scale": 0.5, "td_lambda": 0.5, "discount": 0.9, "centre": True, "entropy_until": 3}
    update = PPO(ADAM, epochs=1, entropy_coefficient=0.1)
    learner = PolicyGradient(optimiser=SGD)
    given = {"learner": learner, "update": update, "estimators": (CoalaPG(0.9),)}
    with pytest.warns(DeprecationWarning, match=r"Pool\(learner=…, update=…, estimators=…\) is deprecated"):
        former = Pool(ce.games.chicken(), **given, **settings, **sizes)
    with pytest.warns(DeprecationWarning, match="Pool.init.*is deprecated"):
        before = former.init(make, make, 10, KEY)
    algorithm = dataclasses.replace(
        update, reward_scale=0.5, td_lambda=0.5, centre=True, entropy_coefficient=optax.linear_schedule(0.1, 0.0, 3)
    )
    pool = make_pool(Agent(CoalaPG(0.9), algorithm, make), learner=learner)
    after = pool.init(KEY)
    same(before, after)
    for _ in range(2):
        (before, _), (after, _) = eqx.filter_jit(former.iterate)(before), eqx.filter_jit(pool.iterate)(after)
    same(before, after)
    with (
        pytest.raises(TypeError, match="Pool has no argument 'nonsense'"),
        pytest.warns(DeprecationWarning, match="Pool"),
    ):
        Pool(game=ce.games.chicken(), learner=learner, update=update, estimators=(CoalaPG(),), nonsense=1, **sizes)
