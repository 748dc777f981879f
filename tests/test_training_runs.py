"""Training and other long parts of a run: they go on where they were, seeds stay apart, trackers are told."""

import dataclasses
import json
import re
import resource
import struct
import sys
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from coala_eqx.estimators import MFOS, BatchUnaware, CoalaPG, LolaDice
from coala_eqx.estimators.advantages import batch_advantages
from coala_eqx.policies.base import NO_ACTION
from coala_eqx.runs import files
from coala_eqx.runs import load_agents as load_tree
from coala_eqx.runs.directory import RunDirectory
from coala_eqx.runs.progress import Progress
from coala_eqx.runs.writers import TensorBoard, WeightsAndBiases, run_name
from coala_eqx.training import driver
from coala_eqx.training.batch import subtract_leave_one_out
from coala_eqx.training.plan import plan
from coala_eqx.training.play import by_agent
from coala_eqx.training.pool import members
from coala_eqx.training.recordings import _with_a_name
from experiments import fig12, sampled, training
from experiments.__main__ import main, run
from experiments.agents import load_agents
from experiments.claims import flagged
from experiments.experiment import TRAINED, settings_of
from experiments.settings import override
from tests.runs import MEMORYLESS, QUICK, SMALL


class Killed(BaseException):
    """As if the process had been killed there."""


def written(progress):
    """Wait for the checkpoints, which are written while the work goes on."""
    for checkpoint in progress._checkpoints:
        checkpoint._states.wait()


@pytest.mark.parametrize(("figure", "killed_at", "reported"), [("fig3a", 25, [25, 25, 25, 25]),
                                                               ("fig3b", 150, [100, 50, 25, 25])])  # fmt: skip
def test_a_part_goes_on_from_its_checkpoint(figure, killed_at, reported, tmp_path, monkeypatch):
    """Killed in the first or second piece of work, it does what is left, and records are the same to the last bit."""
    settings = settings_of(figure, "smoke", {"every": 25})
    whole, resumed, seen = tmp_path / "whole", tmp_path / "resumed", []

    def advance(progress, done, note=""):
        seen.append(done)
        if sum(seen) >= killed_at:
            written(progress)
            raise Killed

    run(figure, whole, settings)
    monkeypatch.setattr("coala_eqx.runs.progress.Progress.__call__", advance)
    with pytest.raises(Killed):
        run(figure, resumed, settings, interval=0.0)
    assert not (resumed / "records.parquet").exists()
    seen.clear()
    monkeypatch.setattr("coala_eqx.runs.progress.Progress.__call__", lambda progress, done, note="": seen.append(done))
    run(figure, resumed, settings)
    assert seen == reported
    assert pl.read_parquet(resumed / "records.parquet").equals(pl.read_parquet(whole / "records.parquet"))
    assert {file.name for file in resumed.iterdir()} == {file.name for file in whole.iterdir()}


@pytest.mark.parametrize("at_once", [1, driver.AT_ONCE])
def test_training_goes_on_from_its_checkpoint(at_once, tmp_path, monkeypatch):
    """Killed at the first of two records, or before it; keys, optimisers and all are as they were, to the last bit."""
    settings, reports, logged = settings_of("fig5a", "smoke", {"seeds": 1, **SMALL}), [], []
    monkeypatch.setattr("coala_eqx.training.driver.AT_ONCE", at_once)

    def kill(done, note):
        if done:
            written(killed)
            raise Killed

    killed = Progress(kill, tmp_path, interval=0.0)

    with jax.enable_x64(False):
        pool = settings.make_pool((CoalaPG(),))
        whole, seen, _ = training.train(settings, pool, Progress())
        with pytest.raises(Killed):
            training.train(settings, pool, killed)
        (folder,) = tmp_path.glob("checkpoint-*")
        again = Progress(lambda done, note: reports.append(done), tmp_path)
        again.log = lambda rows: logged.append([row["iteration"] for row in rows])
        resumed, seen_again, _ = training.train(settings, pool, again)
    assert folder.exists()
    assert reports == ([1, 1, 1, 1] if at_once == 1 else [2, 2])
    assert logged == ([[], [2], [4]] if at_once == 1 else [[2], [4]])
    for one, other in zip(jax.tree.leaves((whole, seen)), jax.tree.leaves((resumed, seen_again)), strict=True):
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)  # noqa: PLW2901
        np.testing.assert_array_equal(one, other)


def test_records_are_means_over_pieces_of_work(monkeypatch):
    """Of as many iterations as divide those between records, and a million steps of the game at most."""
    settings = settings_of("fig5a", "smoke", {"seeds": 1, "every": 4, **SMALL})
    with jax.enable_x64(False):
        pool = settings.make_pool((CoalaPG(),))
        one, long = (settings.training(made) for made in (pool, dataclasses.replace(pool, steps=10**6)))
        assert [one.piece, long.piece] == [4, 1]
        monkeypatch.setattr("coala_eqx.training.driver.AT_ONCE", 3 * one.steps_per_iteration)
        assert settings.training(pool).piece == 2
        _, seen, _ = training.train(settings, pool, Progress())
        _, each, _ = training.train(override(settings, {"every": 1}), pool, Progress())
    for one, other in zip(jax.tree.leaves(seen), jax.tree.leaves(each), strict=True):
        np.testing.assert_allclose(one, other.mean(axis=1, keepdims=True), rtol=1e-5, atol=1e-7)


def test_a_seed_that_goes_wrong_is_flagged_and_does_not_touch_the_others(tmp_path, monkeypatch):
    settings = settings_of("fig5a", "smoke", {"estimators": ("CoalaPG",), **SMALL})
    run("fig5a", tmp_path / "whole", settings)
    init = sampled.Settings.init

    def poison(settings, pool):
        return eqx.tree_at(
            lambda state: state.agents.cell.bias, init(settings, pool), replace_fn=lambda x: x.at[0].set(jnp.nan)
        )

    monkeypatch.setattr("experiments.sampled.Settings.init", poison)
    run("fig5a", tmp_path / "one", settings)
    whole, one = (pl.read_parquet(tmp_path / name / "records.parquet") for name in ("whole", "one"))
    assert flagged(one.to_dicts()) == [0]
    assert flagged(whole.to_dicts()) == []
    assert one.filter(pl.col("seed") == 1).equals(whole.filter(pl.col("seed") == 1))
    _, pool, (agent,) = load_agents(tmp_path / "one", "CoalaPG")
    assert len(pool.agents) == 1
    assert agent.read_out.policy.weight.shape == (2, 2, 4)
    assert agent.read_out.policy.weight.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(agent.cell.bias).any(axis=1), [True, False])
    file = tmp_path / "one" / "settings.json"  # as if made on a machine with more devices
    made_by = json.loads(file.read_text())
    file.write_text(json.dumps(made_by | {"settings": made_by["settings"] | {"devices": 64}}))
    assert load_agents(tmp_path / "one", "CoalaPG")[0].layout.devices == 1
    with pytest.raises(ValueError, match="has no part 'MFOS', but 'CoalaPG'"):
        load_agents(tmp_path / "one", "MFOS")
    (tmp_path / "one" / "agents-coalapg.tree").unlink()
    with pytest.raises(ValueError, match="this part is not finished"):
        load_agents(tmp_path / "one", "CoalaPG")
    with pytest.raises(ValueError, match="holds no run of a sampled figure"):
        load_agents(tmp_path, "CoalaPG")


@pytest.mark.parametrize("kind", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float16", "float32", "int4"])
def test_agents_of_any_type_are_read_back_to_the_bit(kind, tmp_path):
    """NumPy's files know neither bfloat16 nor float8. Files of former versions are read, too."""
    numbers = jnp.linspace(-3, 3, 7).astype(kind)
    leaves = {"a": numbers, "b": jnp.ones((2, 0), kind), "c": jnp.asarray(1, kind)}
    Progress(None, tmp_path, "one").keep((leaves,))
    write_leaves(tmp_path / "agents-one.eqx", leaves)
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), leaves)
    for (found,) in (load_tree(tmp_path), (files.read_leaves(tmp_path / "agents-one.eqx", like),)):
        for one, other in zip(jax.tree.leaves(leaves), jax.tree.leaves(found), strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def write_leaves(path, tree):
    """As the version before wrote agents: what NumPy has no name for as whole numbers of the same bits."""

    def save(stream, leaf):
        leaf = np.asarray(leaf) if eqx.is_array(leaf) else leaf
        bits = leaf.view(f"u{leaf.dtype.itemsize}") if files.has_no_name(leaf) else leaf
        eqx.default_serialise_filter_spec(stream, bits)

    eqx.tree_serialise_leaves(path, tree, filter_spec=save)


@pytest.fixture(scope="module")
def untrained():
    """Settings of a small run, its pool, and the agents before training."""
    settings = settings_of("fig5a", "smoke", {"estimators": ("CoalaPG",), "seeds": 1, **MEMORYLESS})
    pool = settings.trainings()["CoalaPG"][1]
    with jax.enable_x64(False):
        return settings, pool, settings.init(pool).groups


def test_agents_of_another_type_are_refused_by_name(untrained, tmp_path):
    settings, pool, groups = untrained
    RunDirectory(tmp_path, "fig5a", settings)
    groups = jax.tree.map(lambda leaf: leaf.astype("bfloat16") if eqx.is_inexact_array(leaf) else leaf, groups)
    write_leaves(tmp_path / "agents-coalapg.eqx", groups)
    with pytest.raises(
        ValueError, match="agents-coalapg.eqx does not hold the agents that its settings describe: .*float32"
    ):
        load_agents(tmp_path, "CoalaPG")
    Progress(None, tmp_path, "CoalaPG").keep(by_agent(pool, groups))
    message = r"agents-coalapg.tree does not hold the agents that .*: 0/\S+ is bfloat16\[.* instead of float32"
    with pytest.raises(ValueError, match=message):
        load_agents(tmp_path, "CoalaPG")


def test_agents_of_a_former_version_are_read(untrained, tmp_path):
    settings, pool, groups = untrained
    RunDirectory(tmp_path, "fig5a", settings)
    write_leaves(tmp_path / "agents-coalapg.eqx", groups)
    _, _, found = load_agents(tmp_path, "CoalaPG")
    assert eqx.tree_equal(found, by_agent(pool, groups))


def test_a_recording_of_a_type_that_files_do_not_know_is_in_single_precision():
    for kind, kept in (("bfloat16", "float32"), ("float8_e5m2", "float32"), ("float16", "float16"), ("int8", "int8")):
        leaf = np.asarray(jnp.arange(5).astype(kind))
        found = _with_a_name(leaf)
        assert found.dtype == kept
        np.testing.assert_array_equal(found.astype(float), leaf.astype(float))


@pytest.mark.parametrize(("changes", "message"), [
    ({"estimators": ("Coala",)}, "There is no estimator 'Coala'"),
    ({"estimators": ("MFOS", "MFOS")}, "`estimators` must have different names"),
    ({"devices": 99}, "`devices` must be at most .* but is 99"),
    ({"agent.minibatches": 3}, "`agent.minibatches` must divide"),
    ({"rematerialise": -1}, "`rematerialise` must be at least 0, but is -1"),
    ({"agent.network": "gru", "rematerialise": 8}, "must be 0 with `gru`, but is 8"),
])  # fmt: skip
def test_training_is_refused_before_it_begins(changes, message):
    with pytest.raises(ValueError, match=message):
        settings_of("fig5a", "smoke", changes)


def test_an_estimator_without_advantages_needs_no_discount_of_theirs():
    """Beside others it is left at 1 for it; in a pool that has to share it, it is refused."""
    settings = settings_of("fig6", "smoke", {"agent.discount": 0.9, "agent.gae_lambda": 0.8})
    for name, (_, pool) in settings.trainings().items():
        if name != "LolaDice":
            (agent,) = pool.agents
            for estimator in (agent.estimator, agent.against_meta):
                assert (estimator.discount, estimator.gae_lambda) == (0.9, 0.8)
    with pytest.raises(
        ValueError, match="`agent.discount` must be 1 with LolaDice, which has no `discount`, but is 0.9"
    ):
        settings.make_pool((LolaDice(),))


def test_naive_learners_by_ppo_draw_minibatches():
    settings = settings_of(
        "fig5a", "smoke", {"learner.algorithm": "ppo", "learner.minibatches": 4, "learner.epochs": 3}
    )
    for _, pool in (one for name, one in settings.trainings().items() if name != "LolaDice"):
        learner = pool.naive.learner
        assert (type(learner).__name__, learner.epochs, learner.minibatches, learner.uses_key) == ("PPO", 3, 4, True)
        assert (learner.discount, learner.reward_scale, learner.clip) == (0.99, 0.05, 0.2)


def test_networks_keep_the_activations_that_settings_say():
    for changes, kept in (({"rematerialise": 16}, 16), ({}, None)):
        _, pool = settings_of("fig6", "smoke", changes).trainings()["CoalaPG"]
        assert pool.agents[0].policy(jax.random.key(0)).rematerialise == kept


def test_agents_of_each_part_of_figure_12_have_its_memory():
    settings = settings_of("fig12", "smoke", SMALL)
    made = {name: pool.agents[0].policy(jax.random.key(0)) for name, (_, pool) in settings.trainings().items()}
    assert [made[name].forget_after for name in fig12.MEMORIES] == [None, settings.pool.steps]


@pytest.mark.parametrize("figure", TRAINED)
def test_each_pool_is_what_its_settings_make(figure):
    """The settings that a part is trained with are those that its pool was made with."""
    for name, (settings, pool) in settings_of(figure, "smoke", {}).trainings().items():
        # Settings of an agent know nothing of a critic that sees the learner, which some estimators need.
        made = settings.make_pool([CoalaPG() if agent.critic else agent.estimator for agent in pool.agents])
        key = jax.random.key(0)
        policies = [[agent.policy(key) for agent in one.agents] for one in (pool, made)]
        assert eqx.tree_equal(*policies), name
        sizes = [(one.batch, one.episodes, one.steps, one.meta_batch, one.p_naive) for one in (pool, made)]
        assert sizes[0] == sizes[1], name


@pytest.mark.parametrize("population", [1, 3])
def test_a_naive_population_learns_in_pairs_before_training(population):
    """In the dilemma it comes to defect, all members and seeds on ways of their own."""
    changes = {"learner.population": population, "learner.rate": 5e-2, "steps": 3, **MEMORYLESS}
    settings = override(sampled.Settings(), sampled.SMOKE | changes)
    pool = settings.make_pool((CoalaPG(),))
    fresh = settings.init(pool)
    learning = override(settings, {"learner.pretraining": 60, "learner.pretraining_batch": 16})
    learned = learning.init(learning.make_pool((CoalaPG(),)))
    assert jax.tree.map(jnp.shape, learned) == jax.tree.map(jnp.shape, fresh)
    probabilities = []
    for seed in range(settings.run.seeds):
        for member in range(population):
            policy = members(members(learned.naive, seed), member)
            _, output = policy(policy.initial_memory(), jnp.zeros((), int), jnp.asarray(NO_ACTION))
            probabilities.append(float(jax.nn.softmax(output.logits)[1]))
    assert min(probabilities) > 0.7, "a fresh one defects with probability 1/2"
    assert len(set(probabilities)) == settings.run.seeds * population


def test_a_pool_of_one_agent_needs_naive_opponents():
    with pytest.raises(ValueError, match="`agents` must be at least 2"):
        settings_of("fig5c", "smoke", {"agents": 1})


@pytest.mark.parametrize(
    ("estimator", "average", "normalize"),
    [(CoalaPG(), True, True), (MFOS(), True, False), (BatchUnaware(), False, False)],
)
def test_advantages_against_learners_weigh_as_algorithm_1_prints_them(estimator, average, normalize):
    settings = settings_of("fig5c", "smoke", {"agent.naive_advantages": "printed", "agent.naive_weight": 3.0})
    pool = settings.make_pool((CoalaPG(), estimator))
    rewards = jnp.asarray(np.random.default_rng(0).normal(size=(settings.pool.batch, 4, 2)))
    printed = batch_advantages(rewards, average_future_episodes=average, normalize_current_episode=normalize)
    of_the_gradient = settings.pool.batch * estimator.coefficients(rewards)  # as in batches
    np.testing.assert_allclose(pool.agents[1].naive_weight * of_the_gradient, 3 * printed, rtol=1e-12)
    plain = settings_of("fig5c", "smoke", {"agent.naive_weight": 3.0}).make_pool((estimator,) * 2)
    assert [agent.naive_weight for agent in plain.agents] == [3, 3]


def test_gradients_are_split_into_those_through_the_current_and_the_later_inner_episodes():
    """By hand, as the rows of the paper's estimators read."""
    rewards = np.random.default_rng(0).normal(size=(3, 4, 2))
    own = rewards[..., ::-1].cumsum(axis=2)[..., ::-1]
    totals = rewards.sum(axis=2)
    later = np.repeat((totals[:, ::-1].cumsum(axis=1)[:, ::-1] - totals)[..., None], 2, axis=2)
    of_all = np.broadcast_to(later.mean(axis=0), own.shape)
    expected = {"CoalaPG": (own / 3, of_all), "MFOS": (own, of_all), "BatchUnaware": (own / 3, later / 3)}
    for name, parts in expected.items():
        for found, part in zip(fig12.split(fig12.ESTIMATORS[name], jnp.asarray(rewards)), parts, strict=True):
            np.testing.assert_allclose(found, part, atol=1e-12, err_msg=name)


def test_magnitudes_of_gradients():
    """M-FOS's current part is B times COALA-PG's and its future part the same, on the same meta-episodes."""
    settings = settings_of("fig12", "smoke", {"seeds": 1, "agent.entropy_coefficient": 0, **SMALL})
    pool = settings.make_pool((CoalaPG(),) * 2)
    states = settings.init(pool)
    states = eqx.tree_at(lambda state: state.agents.read_out.policy.weight, states, replace_fn=lambda x: x + 0.1)
    state = members(states, 0)
    squares = eqx.filter_jit(lambda state: fig12.magnitudes(pool, state, 8, settings.fitting_layout(pool)))(state)
    (current, future), (current_of_mfos, future_of_mfos) = squares["CoalaPG"], squares["MFOS"]
    assert abs(current) > 1e-6
    np.testing.assert_allclose(current_of_mfos, settings.pool.batch**2 * current, rtol=1e-9)
    np.testing.assert_allclose(future_of_mfos, future, rtol=1e-9)


def test_coefficients_less_those_of_the_other_meta_episodes():
    coefficients = np.random.default_rng(0).normal(size=(4, 3, 2, 2))
    found = subtract_leave_one_out(jnp.asarray(coefficients))
    for number in range(4):
        others = np.delete(coefficients, number, axis=0).mean(axis=(0, 1))
        np.testing.assert_allclose(found[number], coefficients[number] - others)
    np.testing.assert_array_equal(subtract_leave_one_out(jnp.asarray(coefficients[:1])), coefficients[:1])


def test_a_plan_says_what_all_would_take_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    one = ["--seeds", "1", "--estimators", "CoalaPG"]
    assert main(["fig5a", "--preset", "smoke", *one, *QUICK, "--plan"]) == 0
    output = capsys.readouterr().out
    assert "CoalaPG" in output
    assert "5.8e+02" in output  # 4 iterations · B̄ B M T = 4 · 4 · 3 · 3
    assert re.search(r"devices +┃ memory +┃ played", output), "in one line"
    assert list(tmp_path.iterdir()) == []


def test_a_plan_counts_what_is_measured_for_each_record(monkeypatch):
    """Every second iteration, at 100 s and 5 GB."""
    costs = iter([(1.0, 2e9), (100.0, 5e9)])
    monkeypatch.setattr("coala_eqx.training.plan._cost", lambda program, arrays: next(costs))
    settings = settings_of("fig12", "smoke", {"seeds": 1, "devices": 1, **SMALL})
    one, pool = next(iter(settings.trainings().values()))
    found = plan(one.training(pool))
    assert (found.seconds, found.memory, found.devices) == (51.0, 5.0, 1)


def test_a_plan_counts_what_is_played():
    """Of each step what both players see, do and earn, and the agent's log-probability and value: 8 times 4 bytes."""
    settings = settings_of("fig5c", "smoke", {"seeds": 2, "devices": 1, "meta_batch": 4, "p_naive": 0.5, **SMALL})
    with jax.enable_x64(False):
        one, pool = settings.trainings()["MFOS"]
        found = plan(one.training(pool))
    agents, seeds, opponents = 2, 2, 4
    steps = seeds * agents * opponents * settings.pool.batch * settings.pool.episodes * settings.pool.steps
    assert found.played == pytest.approx(32 * steps / 1e9)
    assert found.memory > found.played
    assert found.shown == 0


@pytest.mark.parametrize("changes", [{}, {"batch": 8}, {"episodes": 6}, {"meta_batch": 8}])
def test_a_plan_counts_what_critics_are_shown(changes):
    """Of each inner episode features of the learner before it and without each trajectory, and of each memory. What is
    played does not count them again.
    """
    sizes = {"seeds": 1, "devices": 1, "estimators": ("CoalaPG",), "batch": 4, "episodes": 3, "meta_batch": 4, **SMALL}
    critic = {"critic.use": True, "critic.groups": 0, "critic.replay": 5, "critic.width": 4}
    settings = settings_of("fig5a", "smoke", sizes | changes | critic)
    with jax.enable_x64(False):
        one, pool = settings.trainings()["CoalaPG"]
        training = one.training(pool)
        found = plan(training)
    inputs = training.states.critics[0].shown.shape[-1]
    learner = inputs // 2  # mean and deviation of memories, which show the agent's answers to the same observations
    batch, episodes, meta_batch = (getattr(settings.pool, name) for name in ("batch", "episodes", "meta_batch"))
    memories = (inputs - learner) // 2
    features = learner * (1 + batch) + memories * batch
    assert found.shown == pytest.approx(4 * meta_batch * episodes * (features + 5 * (inputs + 2)) / 1e9)
    assert found.played == pytest.approx(32 * meta_batch * batch * episodes * settings.pool.steps / 1e9)


RECORDS = [
    {"seed": seed, "agent": agent, "iteration": iteration, "reward": seed + 10 * agent + 100 * iteration}
    for iteration in (5, 10) for seed in range(2) for agent in range(2)
]  # fmt: skip


def events(file):
    """(step, value by tag) of an event file, whose checksums are left to TensorBoard."""
    from tensorboardX.proto.event_pb2 import Event

    data, found = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("Q", data[:8])
        event = Event.FromString(data[12 : 12 + length])
        found.append((event.step, {value.tag: value.simple_value for value in event.summary.value}))
        data = data[16 + length :]
    return found[1:]  # the first one says what kind of file it is


def test_event_files_hold_the_records_however_often_training_begins_anew(tmp_path):
    whole, again = TensorBoard(tmp_path / "whole"), TensorBoard(tmp_path / "again")
    whole.log(RECORDS)
    again.log(RECORDS[:4])
    again.close()  # as when the process dies
    again = TensorBoard(tmp_path / "again")
    again.log(RECORDS[:4])
    again.log(RECORDS[4:])
    for tracker in (whole, again):
        tracker.close()
    for seed in range(2):
        one, other = (tmp_path / f"{name}/seed-{seed}/events.out.tfevents.training" for name in ("whole", "again"))
        assert one.read_bytes() == other.read_bytes()
        assert events(one) == [
            (step, {f"agent {agent}/reward": seed + 10 * agent + 100 * step}) for step in (5, 10) for agent in range(2)
        ]


def test_weights_and_biases_is_told_what_it_does_not_know_yet(monkeypatch):
    told, asked = [], {}
    known = SimpleNamespace(step=6, log=lambda values, step: told.append((step, values)), finish=lambda: None)
    wandb = SimpleNamespace(
        init=lambda **given: asked.update(given) or known, errors=SimpleNamespace(Error=RuntimeError)
    )
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    tracker = WeightsAndBiases("project", "fig5a-coalapg", {"seeds": 2})
    tracker.log(RECORDS)
    tracker.close()
    assert asked == {"project": "project", "name": "fig5a-coalapg", "id": "fig5a-coalapg", "resume": "allow",
                     "config": {"seeds": 2}}  # fmt: skip
    ((step, values),) = told
    assert step == 10
    assert values["seed 1, agent 1/reward"] == 1011
    assert len(values) == 4


def test_weights_and_biases_that_fails_does_not_end_a_run(monkeypatch, capsys):
    """Unless it is at the beginning, where it is a mistake of the user."""

    class Error(Exception):
        pass

    def fail(*_, **__):
        raise Error("no network")

    run, errors = SimpleNamespace(step=0, log=fail, finish=fail), SimpleNamespace(Error=Error)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **_: run, errors=errors))
    told = []
    other = SimpleNamespace(log=told.extend, close=lambda: None)
    progress = Progress(writers=[WeightsAndBiases("project", "name", {}), other])
    progress.log(RECORDS)
    progress.log(RECORDS)
    progress.end()
    assert told == [*RECORDS, *RECORDS]
    assert capsys.readouterr().err == "coala_eqx: WeightsAndBiases: no network The run goes on without it.\n"

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=fail, errors=errors))
    with pytest.raises(ValueError, match=r"cannot begin \(no network\): run `wandb login`, or leave `wandb` out"):
        WeightsAndBiases("project", "name", {})


def test_names_in_weights_and_biases_are_of_the_folder(tmp_path):
    """Drawn once; another folder of the same name has others."""
    one, other = tmp_path / "a" / "fig5a", tmp_path / "b" / "fig5a"
    for folder in (one, other):
        folder.mkdir(parents=True)
    first = run_name(one, "CoalaPG")
    assert re.fullmatch("fig5a-[0-9a-f]{8}-coalapg", first)
    assert run_name(one, "CoalaPG") == first
    assert run_name(one, "MFOS") == first.replace("coalapg", "mfos")
    assert run_name(other, "CoalaPG") != first


def test_a_tracker_that_cannot_write_is_left_alone(tmp_path, capsys):
    """No file may become larger than 100 bytes meanwhile, as when the disk is full; the others are told everything."""
    told = []
    other = SimpleNamespace(log=told.extend, close=lambda: told.append("closed"))
    progress = Progress(writers=[TensorBoard(tmp_path), other])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        progress.log(RECORDS)
        progress.log(RECORDS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    progress.end()
    assert told == [*RECORDS, *RECORDS, "closed"]
    assert "TensorBoard: " in (error := capsys.readouterr().err)
    assert error.count("The run goes on without it") == 1


def test_weights_and_biases_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match="pip install wandb"):
        WeightsAndBiases("project", "name", {})
