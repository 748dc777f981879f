"""The examples of training run, at tiny sizes and with networks that are quick to compile."""

import importlib
import re
from pathlib import Path

import jax
import numpy as np
import optax
import polars as pl
import pytest

import coala_eqx as ce

ROOT = Path(__file__).parent.parent
TINY = {"iterations": 2, "every": 1, "batch": 2, "episodes": 2, "steps": 2, "meta_batch": 4}
PNG = b"\x89PNG\r\n\x1a\n"


def _small(game, seat):
    sizes = game.num_observations[seat], game.num_actions[seat]
    return lambda key: ce.policies.MLP(*sizes, width=2, key=key)


def example(name):
    """Imported in single precision, in which its policies are made, as users have it."""
    return importlib.import_module(f"examples.{name}")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coala_eqx.training.agent.default_policy", _small)
    with jax.enable_x64(False):
        yield


@pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib")
def test_a_run_is_trained_gone_on_with_read_back_evaluated_and_drawn(capsys):
    train, evaluate = example("train"), example("evaluate")
    trained = train.main(**TINY)
    assert (Path("runs/dilemma/tensorboard") / "training").exists()
    assert train.main(**TINY).history.equals(trained.history), "a finished run is read back"
    assert pl.read_parquet("runs/dilemma/records.parquet").height == 2
    assert capsys.readouterr().out.count("naive") == 2
    evaluate.main(batch=2, episodes=3, steps=2)
    assert Path("runs/dilemma/evaluation.png").read_bytes().startswith(PNG)


def test_the_co_player_of_the_evaluation_is_tit_for_tat():
    game = ce.games.iterated_prisoners_dilemma()
    other = ce.policies.MemoryOne([[40, -40], [-40, 40], [-40, 40], [40, -40], [40, -40]])
    problem = ce.ShapingProblem(
        game=game,
        co_players=example("evaluate").TIT_FOR_TAT,
        learner=ce.learners.Static(),
        batch=200,
        episodes=1,
        steps=6,
    )
    played = problem.play(other, jax.random.key(0))
    repeated = np.asarray(played.co_players[0].actions[..., 1:] == played.actions[..., :-1])
    assert repeated.mean() > 0.999, "each logit pair says 1 in 22,000 otherwise"


def test_three_players_are_trained_and_certified(capsys, monkeypatch):
    three_players = example("three_players")
    monkeypatch.setattr(three_players, "network", _small(ce.games.public_goods(), 0))
    three_players.main(**TINY)
    out = capsys.readouterr().out
    assert "together" in out
    assert re.search(r"^CoalaPG: holds, relative bias \d\.\de-1\d$", out, re.MULTILINE)
    assert re.search(r"^MFOS: biased, relative bias \S+$", out, re.MULTILINE)


def test_asymmetric_games_are_trained(capsys):
    example("asymmetric").main(**TINY)
    out = capsys.readouterr().out
    assert out.index("battle of the sexes") < out.index("ultimatum game")
    first, second = out.split("ultimatum game")
    assert "(1, 4)" in first
    assert "(2, 4)" in second


def test_callbacks_measure_change_and_stop(monkeypatch):
    """The rate is changed after the first record, once; a reward that is always good ends it with the third one."""
    rates, callbacks = [], example("callbacks")
    own = callbacks.make_pool
    monkeypatch.setattr(callbacks, "make_pool", lambda rate, **sizes: rates.append(rate) or own(rate, **sizes))
    trained = callbacks.main(**(TINY | {"iterations": 5}), slow_after=1, good=-9.0)
    assert rates == [1e-3, 1e-4]
    assert trained.history["iteration"].to_list() == [1, 2, 3]
    assert trained.history["against_defector"].is_between(-1.01, 0.01).all()


def test_an_environment_is_trained(capsys):
    environment = example("environment")
    environment.main(**(TINY | {"steps": 3}))
    assert "naive" in capsys.readouterr().out
    game = ce.games.FromEnvironment(environment.Stock())
    state, _ = game.reset(jax.random.key(0))
    stock, eaten = 1.0, []
    for number in range(14):
        state, seen, rewards = game.step(state, jax.numpy.array([1, 1]), jax.random.key(number))
        eaten.append(rewards[0])
        np.testing.assert_allclose(eaten[-1], stock / 10, rtol=1e-5)
        stock = 1.1 * 0.8 * stock
        np.testing.assert_allclose(seen, [[stock]] * 2 if stock >= 0.2 else np.zeros((2, 1)), rtol=1e-5)
        stock = stock if stock >= 0.2 else 0.0
    assert eaten[-1] == 0


def blocks_on_environments():
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "environments.md").read_text(), flags=re.DOTALL)


def test_the_page_on_environments_certifies_a_small_grid_game(capsys):
    _, certified = blocks_on_environments()
    with jax.enable_x64(True):
        exec(compile(certified, "environments.md", "exec"), {"ce": ce})
    assert float(capsys.readouterr().out) < 1e-9


@pytest.mark.filterwarnings("ignore")
def test_the_page_on_environments_takes_a_game_of_jaxmarl():
    pytest.importorskip("jaxmarl")
    taken, _ = blocks_on_environments()
    exec(compile(taken, "environments.md", "exec"), made := {})
    assert made["game"].num_observations == (36, 36)


def test_the_docs_list_every_example():
    page = (ROOT / "docs" / "examples.md").read_text()
    for file in (ROOT / "examples").iterdir():
        if file.suffix in (".py", ".toml"):
            assert f"[{file.name}](../examples/{file.name})" in page, file.name


def test_the_readme_trains_a_pool_and_loads_its_agents():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    block = next(one for one in blocks if "Pool(" in one)
    for size, tiny in {
        "meta_batch=16": 4,
        "batch=16": 2,
        "episodes=20": 2,
        "steps=10": 2,
        "iterations=300": 10,
    }.items():
        assert size in block
        block = block.replace(size, f"{size.partition('=')[0]}={tiny}")
    made = {"ce": ce, "jax": jax, "optax": optax, "game": ce.games.iterated_prisoners_dilemma()}
    exec(compile(block, "README.md", "exec"), made)
    assert made["trained"].history["iteration"].to_list() == [10]
    assert jax.tree.map(jax.numpy.shape, made["agents"]) == jax.tree.map(jax.numpy.shape, made["trained"].agents)
