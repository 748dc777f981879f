"""Experiments: what a run writes, that it resumes, and bad input."""

import dataclasses
import hashlib
import importlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from PIL import Image

import coala_eqx as ce
from coala_eqx.policies import BinaryMemoryOne
from coala_eqx.runs.directory import RunDirectory, locked
from coala_eqx.runs.progress import Progress
from coala_eqx.runs.settings import named
from coala_eqx.runs.stopping import Stopped
from experiments import analytic, bias_variance, fig5a, meta_training
from experiments.__main__ import main, run
from experiments.agents import load_agents
from experiments.arguments import BadArguments, all_checked, in_words, read
from experiments.bias_variance import CRITICS, ESTIMATORS, Settings, measure
from experiments.experiment import ANALYTIC, BEYOND, FIGURES, GROUPS, load, settings_of
from experiments.fig8 import fit
from experiments.fig9 import _lag
from experiments.fig10 import _steps
from experiments.rewards import final_rewards
from experiments.settings import override, renamed
from paper_figs import reference
from tests.runs import MEMORYLESS, ROOT

KEYS = {"claim", "measured", "error", "relation", "threshold", "holds", "applicable", "seeds"}
"""Of a claim that was judged."""

SETTINGS = Settings(batches=(1, 2), episodes=(1,), steps=(1,), memory_one_steps=(1,))


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    run("bias-variance", path, SETTINGS)
    return path


def test_a_run_writes_records_claims_and_a_picture(directory):
    records = pl.read_parquet(directory / "records.parquet")
    assert len(records) == len(ESTIMATORS) * (4 * len(CRITICS) + 1)
    assert set(records["axis"]) == {"B", "M", "T"}
    assert records.filter(pl.col("estimator") == "CoalaPG")["relative_bias"].max() < 1e-9
    claims = json.loads((directory / "bias-variance.json").read_text())
    assert all(set(entry) == KEYS for entry in claims)
    assert (directory / "bias-variance.png").read_bytes().startswith(b"\x89PNG")
    assert len((directory / "bias-variance.md").read_text().splitlines()) == 2 + len(records)
    assert {file.name for file in directory.glob("[!.]*")} == {
        "settings.json", "origin.json", "records.parquet",
        "bias-variance.json", "bias-variance.png", "bias-variance.md",
    }  # fmt: skip


def test_a_run_resumes_where_it_stopped(directory, tmp_path, monkeypatch):
    whole = pl.read_parquet(directory / "records.parquet")
    kept = whole.head(2 * len(ESTIMATORS) * len(CRITICS))
    RunDirectory(tmp_path, "bias-variance", SETTINGS).save(kept.to_dicts())
    measured = []
    monkeypatch.setattr(
        "experiments.bias_variance.measure", lambda point, seed: measured.append(point) or measure(point, seed)
    )
    run("bias-variance", tmp_path, SETTINGS)
    assert [point.axis for point in measured] == ["M", "T", "T"]
    resumed = pl.read_parquet(tmp_path / "records.parquet")
    assert resumed.drop("seconds").equals(whole.drop("seconds"))


def test_a_figure_takes_the_records_of_the_one_it_shows_more_of(tmp_path, monkeypatch):
    """Training is put in the place of what was seen in it, as it is long."""
    settings = settings_of("fig5a", "smoke", {})
    shape, trained = (settings.run.seeds, settings.run.iterations // settings.run.every, 1), []
    numbers = np.random.default_rng(0).random
    update = SimpleNamespace(
        **dict.fromkeys(("policy_loss", "value_loss", "gradient_norm", "entropy", "clipped"), numbers(shape))
    )
    seen = SimpleNamespace(update=update, vs_meta=numbers(shape), finite=np.ones(shape))
    seen.measures = seen.measures_vs_meta = {}
    seen.ego, seen.co_player = numbers((2, *shape, settings.pool.episodes))
    seen.ego_actions, seen.co_player_actions = numbers((2, *shape, settings.pool.episodes, 2))
    monkeypatch.setattr("experiments.training.train", lambda *_: trained.append(1) or (None, seen, ()))
    run("fig5a", tmp_path / "fig5a", settings)
    assert len(trained) == 4
    run("fig5b", tmp_path / "fig5b", settings)
    assert len(trained) == 4
    taken, made = (tmp_path / figure for figure in ("fig5b", "fig5a"))
    assert pl.read_parquet(taken / "records.parquet").equals(pl.read_parquet(made / "records.parquet"))
    assert (taken / "origin.json").read_bytes() == (made / "origin.json").read_bytes()
    assert (taken / "fig5b.png").exists()
    other = RunDirectory(tmp_path / "other", "fig5b", override(settings, {"seed": 1}))
    parts = [part.name for part in fig5a.parts(settings)]
    assert other.borrow(made, parts) == []
    same = RunDirectory(tmp_path / "same", "fig5b", settings)
    assert same.borrow(made, [*parts, "one more"]) == []
    assert len(same.borrow(made, parts)) > 0


def test_other_settings_are_refused(directory, capsys):
    assert main(["bias-variance", "--run-dir", str(directory), "--preset", "smoke"]) == 2
    message = capsys.readouterr().err
    assert "its batches is [1, 2], not [1, 2, 3]" in message
    assert f"Give another folder, such as {directory}-2." in message


def test_another_figure_and_another_version_are_refused(tmp_path, capsys):
    path = tmp_path / "run"
    RunDirectory(path, "fig3a", settings_of("fig3a", "smoke", {}))
    (tmp_path / "run-2").mkdir()
    assert main(["fig3c", "--preset", "smoke", "--run-dir", str(path)]) == 2
    message = capsys.readouterr().err
    assert f"holds another run: its figure is 'fig3a', not 'fig3c'. Give another folder, such as {path}-3." in message
    settings = (path / "settings.json").read_text()
    (path / "settings.json").write_text(settings.replace(f'"version": "{ce.__version__}"', '"version": "0.0.1"'))
    assert main(["fig3a", "--preset", "smoke", "--run-dir", str(path)]) == 2
    assert f"its version is '0.0.1', not '{ce.__version__}'" in capsys.readouterr().err


def test_an_unknown_figure_is_refused(capsys):
    assert main(["fig99"]) == 2
    assert "bias-variance" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["records.parquet", "settings.json"])
def test_what_cannot_be_read_is_named_and_kept(name, tmp_path, capsys):
    directory = RunDirectory(tmp_path, "fig3a", settings_of("fig3a", "smoke", {}))
    directory.save([{"part": "shaping"}])
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-10])
    before = (tmp_path / name).read_bytes()
    assert main(["fig3a", "--preset", "smoke", "--run-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert name in error
    assert "cannot be read, and is kept" in error
    assert (tmp_path / name).read_bytes() == before


def test_records_without_settings_are_not_taken_for_others(tmp_path, capsys):
    (tmp_path / "records.parquet").touch()
    assert main(["fig3a", "--preset", "smoke", "--run-dir", str(tmp_path)]) == 2
    assert "holds records, but no settings.json" in capsys.readouterr().err


def test_alarms_of_what_takes_long_to_compile_are_silenced_before_jax_reads_it():
    """XLA's is an error in its log, two minutes after the beginning."""
    program = "import os, sys, experiments; print('jax' in sys.modules, os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    for given, level in (({}, "3"), ({"TF_CPP_MIN_LOG_LEVEL": "1"}, "1")):
        made = subprocess.run(
            [sys.executable, "-c", program],
            env=environment | given,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert made.stdout.split() == ["False", level]


def test_a_run_directory_that_is_a_file_is_refused(tmp_path, capsys):
    file = tmp_path / "own.py"
    file.touch()
    for figures, folder in ((["fig3a"], file), (["fig3a"], file / "runs"), (["fig3a", "fig9"], file)):
        assert main([*figures, "--preset", "smoke", "--run-dir", str(folder)]) == 2
        assert f"{file} is a file, not a folder" in capsys.readouterr().err


def test_what_is_needed_in_the_end_is_looked_at_before_anything_is_computed(tmp_path, monkeypatch, capsys):
    """Folders of all figures, and what draws them."""
    computed = []
    monkeypatch.setattr("experiments.__main__.run", lambda figure, *_, **__: computed.append(figure))

    def no_file(**_):  # as of a disk that cannot be written
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.TemporaryFile", no_file)
        assert main(["fig3a", "--preset", "smoke", "--run-dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert f"must be a folder that can be written, but in {tmp_path}: Read-only file system" in error
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "paper_figs.fig9", None)  # as if it could not be imported
        assert main(["fig3a", "fig9", "--preset", "smoke", "--run-dir", str(tmp_path / "run")]) == 2
    assert "Figures are drawn with matplotlib: pip install matplotlib" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "fig9").touch()
    assert main(["fig3a", "fig9", "--preset", "smoke", "--run-dir", str(tmp_path / "run")]) == 2
    assert computed == []
    (tmp_path / "run" / "fig9").unlink()
    assert main(["fig3a", "fig9", "fig3a", "--preset", "smoke", "--run-dir", str(tmp_path / "run")]) == 0
    assert computed == ["fig3a", "fig9"]
    assert list((tmp_path / "run").iterdir()) == [], "looking leaves nothing"


def test_several_figures_in_one_command_have_the_settings_that_each_knows(tmp_path, monkeypatch, capsys):
    ran = {}
    monkeypatch.setattr(
        "experiments.__main__.run", lambda figure, path, settings, command, **_: ran.update({figure: (path, settings)})
    )
    given = ["--preset", "smoke", "--seeds", "3", "--p-naive", "0.5", "--run-dir", str(tmp_path)]
    assert main(["fig9", "fig3a", *given]) == 0
    assert {figure: path for figure, (path, _) in ran.items()} == {
        "fig9": tmp_path / "fig9",
        "fig3a": tmp_path / "fig3a",
    }
    assert [settings.seeds for _, settings in ran.values()] == [3, 3]
    assert ran["fig9"][1].p_naive == 0.5
    assert main(["fig3a", "scripted", "--preset", "smoke", "--processes", "2"]) == 2
    assert "fig3a runs in one process" in capsys.readouterr().err


@pytest.mark.parametrize("actions", [(3, 3), (2, 3), (4, 2)])
def test_sampled_figures_play_any_matrix_game_of_two_players(actions, tmp_path):
    file = tmp_path / "game.json"
    payoffs = np.random.default_rng(0).normal(size=(2, *actions))
    file.write_text(json.dumps({"payoffs": payoffs.tolist()}))
    settings = settings_of("fig5a", "smoke", {"payoffs": str(file), "seeds": 1, **MEMORYLESS})
    settings = dataclasses.replace(settings, estimators=("CoalaPG",))
    run("fig5a", tmp_path / "run", settings)
    records = pl.read_parquet(tmp_path / "run" / "records.parquet")
    assert (records["finite"] == 1).all()
    assert records["defects"].drop_nulls().is_between(0, 1).all()
    assert (tmp_path / "run" / "fig5a.png").read_bytes().startswith(b"\x89PNG")
    with jax.enable_x64(False):
        state = settings.init(settings.trainings()["CoalaPG"][1])
    assert (state.agents.num_actions, state.naive.num_actions) == actions


def test_an_estimator_of_ones_own_has_its_number_and_claims_about_others_are_not_judged(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("import coala_eqx as ce\n\nclass Mine(ce.estimators.CoalaPG):\n    pass\n")
    changes = {"estimators": ("CoalaPG", f"{file}:Mine"), **MEMORYLESS}
    run("fig5a", tmp_path / "run", settings_of("fig5a", "smoke", changes))
    shown = capsys.readouterr().out
    claims = json.loads((tmp_path / "run" / "fig5a.json").read_text())
    assert [entry["applicable"] for entry in claims] == [False, True, False]
    assert [entry["holds"] for entry in claims] == [None, claims[1]["measured"] >= 0.8, None]
    assert [entry.get("why") for entry in claims] == ["MFOS and BatchUnaware not run", None, "LolaDice not run"]
    assert shown.count("not applicable:") == 2
    records = pl.read_parquet(tmp_path / "run" / "records.parquet").to_dicts()
    last = [r for r in records if r["panel"] == "training" and r["iteration"] == 4]
    rewards = {name: [r["reward"] for r in last if r["estimator"] == name] for name in ("CoalaPG", "Mine")}
    number = f"{np.mean(rewards['Mine']):.3g} ± {np.std(rewards['Mine'], ddof=1) / 2**0.5:.2g}"
    assert final_rewards(records)[1] == ("Mine", number, "2", "0 ± 0")
    assert re.search(f"Mine +│ {number} +│ 2 +│ 0 ± 0", shown)


OWN = """
import equinox as eqx, jax.numpy as jnp, optax
import coala_eqx as ce
from coala_eqx.policies import AbstractPolicy, PolicyOutput, unroll_by_steps

class Net(AbstractPolicy):
    bias: object
    num_observations: int = eqx.field(static=True)
    num_actions: int = eqx.field(static=True)
    def __init__(self, observations, actions, *, key):
        self.bias, self.num_observations, self.num_actions = jnp.zeros(actions), observations, actions
    def initial_memory(self): return ()
    def __call__(self, memory, observation, previous_action): return memory, PolicyOutput(self.bias, jnp.zeros(()))
    def unroll(self, *arguments): return unroll_by_steps(self, *arguments)

learner = ce.learners.PolicyGradient(optimiser=optax.sgd(0.5))
game = ce.games.MatrixGame([[[2.0, 0.0], [3.0, 1.0]], [[2.0, 3.0], [0.0, 1.0]]])
Mine = ce.estimators.BatchUnaware
"""


def test_networks_games_learners_and_estimators_of_ones_own_are_named_as_those_of_the_package(tmp_path, monkeypatch):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    given = [
        "--agent.network",
        f"{file}:Net",
        "--learner.network",
        f"{file}:Net",
        "--learner.algorithm",
        f"{file}:learner",
    ]
    given += ["--payoffs", f"{file}:game", "--estimators", f"{file}:Mine", "--seeds", "1"]
    assert main(["fig5a", "--preset", "smoke", *given, "--run-dir", str(tmp_path / "run")]) == 0
    made_by = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert made_by["payoff_table"][0] == [[2, 0], [3, 1]]
    assert made_by["source_files"] == {str(file): hashlib.sha256(file.read_bytes()).hexdigest()}
    assert set(pl.read_parquet(tmp_path / "run" / "records.parquet")["estimator"]) == {"BatchUnaware"}
    _, pool, (agent,) = load_agents(tmp_path / "run", "BatchUnaware")
    assert type(agent).__name__ == "Net"
    assert agent.bias.shape == (1, 2)
    assert pool.naive.learner.optimiser is not None
    assert (
        in_words("fig5a", "smoke", settings_of("fig5a", "smoke", {"agent.network": f"{file}:Net"}))[-1] == "own.py:Net"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agent.network": "{}:None_"}, "has no 'None_'"),
        ({"agent.network": "{}:learner"}, "makes no network: it must be a class of AbstractPolicy, or a function"),
        ({"learner.algorithm": "{}:Net"}, "is not a valid learner: it must be a subclass of AbstractLearner"),
        ({"learner.algorithm": "adam"}, "`learner.algorithm` must be"),
        (
            {"learner.algorithm": "ppo", "learner.minibatches": 3},
            "`learner.minibatches` must divide batch = 4, but is 3",
        ),
        ({"payoffs": "{}:learner"}, "is not a valid game: it must be a subclass of AbstractGame"),
        ({"agent.network": "{}:Net", "agent.memory": 2}, "`agent.memory` must be 0 with"),
    ],
)
def test_what_is_no_network_game_or_learner_is_named(changes, message, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    changes = {
        name: str(value).format(tmp_path / "own.py") if "{" in str(value) else value for name, value in changes.items()
    }
    with pytest.raises(ValueError, match=re.escape(message)):
        settings_of("fig5a", "smoke", changes)


def test_where_there_is_no_lock_a_run_goes_on_and_says_so(tmp_path, monkeypatch, capsys):
    """On Windows there is another one, far behind the file's end; on some disks none at all."""
    held = []

    def locking(descriptor, mode, size):
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        if (place, size) in held:
            raise PermissionError(13, "Permission denied")
        held.append((place, size))

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "fcntl", None)
        patch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
        with locked(tmp_path), pytest.raises(ValueError, match=f"is in use by another process .process {os.getpid()}"):
            locked(tmp_path).__enter__()
        assert held == [(1 << 30, 1)]
        assert (tmp_path / ".lock").stat().st_size < 1000
        patch.setitem(sys.modules, "msvcrt", None)
        with locked(tmp_path):
            pass
        assert "cannot be locked here" in capsys.readouterr().err

    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path):
        pass
    error = capsys.readouterr().err
    assert "No locks available" in error
    assert "see to it that no other process uses this folder" in error


def test_a_part_without_checkpoints_is_kept_before_a_run_stops(tmp_path, monkeypatch):
    before = Progress.__call__

    def call(progress, done, note=""):
        signal.raise_signal(signal.SIGTERM)
        before(progress, done, note)

    monkeypatch.setattr(Progress, "__call__", call)
    settings = settings_of("bias-variance", "smoke", {})
    with pytest.raises(Stopped) as stopped:
        run("bias-variance", tmp_path, settings)
    assert not stopped.value.lost
    (part,) = pl.read_parquet(tmp_path / "records.parquet")["part"].unique()
    assert part == bias_variance.parts(settings)[0].name
    assert "seconds" in json.loads((tmp_path / "origin.json").read_text())[0]


def test_parts_have_files_of_their_own(tmp_path):
    for names, message in (
        (("Mine", "MINE"), "'Mine' and 'MINE' would have the same files, 'mine': rename one of them"),
        (("Mine", "Ω"), "must have a letter of a to z or a digit, for its files, but is 'Ω'"),
    ):
        file = tmp_path / "mine.py"
        lines = (f"class {name}(ce.estimators.CoalaPG):\n    pass\n" for name in names)
        file.write_text("\n\n".join(("import coala_eqx as ce", *lines)))
        settings = settings_of("fig5a", "smoke", {"estimators": tuple(f"{file}:{name}" for name in names)})
        with pytest.raises(ValueError, match=message):
            run("fig5a", tmp_path / "run", settings)
        assert not (tmp_path / "run").exists()


def test_a_payoffs_file_that_changed_makes_another_run(tmp_path, capsys):
    file = tmp_path / "game.json"
    payoffs = np.arange(8.0).reshape(2, 2, 2)
    file.write_text(json.dumps({"payoffs": payoffs.tolist()}))
    settings = settings_of("fig3a", "smoke", {"payoffs": str(file)})
    RunDirectory(tmp_path / "run", "fig3a", settings)
    file.write_text(json.dumps({"payoffs": (payoffs + 1).tolist()}))
    with pytest.raises(ValueError, match="its payoff_table is"):
        RunDirectory(tmp_path / "run", "fig3a", settings)


def test_an_estimator_whose_file_changed_makes_another_run(tmp_path):
    """Either of two, whose files have the same name."""
    files = [tmp_path / folder / "mine.py" for folder in ("one", "another")]
    names = ["CoalaPG", "MFOS"]
    for file, name in zip(files, names, strict=True):
        file.parent.mkdir()
        file.write_text(f"import coala_eqx as ce\n\n{name} = ce.estimators.{name}\n")
    estimators = tuple(f"{file}:{name}" for file, name in zip(files, names, strict=True))
    settings = settings_of("fig5a", "smoke", {"estimators": estimators})
    for _ in range(2):
        RunDirectory(tmp_path / "run", "fig5a", settings)
    for file in files:
        before = file.read_text()
        file.write_text(before + "# another\n")
        with pytest.raises(ValueError, match="its source_files is {'.*/mine.py': "):
            RunDirectory(tmp_path / "run", "fig5a", settings)
        file.write_text(before)


def test_on_what_a_run_is_done_may_change_and_settings_may_be_newer_than_it(tmp_path):
    path = tmp_path / "run"
    RunDirectory(path, "fig5a", settings_of("fig5a", "smoke", {}))
    made_by = json.loads((path / "settings.json").read_text())
    del made_by["settings"]["rematerialise"], made_by["settings"]["agent.look_aheads"]
    (path / "settings.json").write_text(json.dumps(made_by))
    other = settings_of("fig5a", "smoke", {"devices": 1, "chunk": 4, "rematerialise": 2})
    RunDirectory(path, "fig5a", other)
    assert json.loads((path / "settings.json").read_text())["settings"]["chunk"] == 4
    with pytest.raises(ValueError, match="its agent.look_aheads is 1, not 2"):
        RunDirectory(path, "fig5a", settings_of("fig5a", "smoke", {"agent.look_aheads": 2}))


def test_a_full_disk_is_named_and_what_was_there_stays(tmp_path, monkeypatch, capsys):
    """No file may become larger than a few bytes: neither records nor agents."""
    directory = RunDirectory(tmp_path, "fig9", settings_of("fig9", "smoke", {}))
    directory.save([{"part": "one", "value": 1}])
    before, limits = (tmp_path / "records.parquet").read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        with pytest.raises(OSError, match=r"records.parquet could not be written: .* the same command goes on"):
            directory.save([{"part": "one", "value": 1}, {"part": "two", "value": 2}])
        with pytest.raises(OSError, match=r"agents-one.tree could not be written: "):
            Progress(None, tmp_path, "one").keep((np.arange(5000.0),))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "records.parquet").read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"settings.json", "records.parquet"}

    def fail(*_):
        raise OSError("records.parquet could not be written")

    monkeypatch.setattr(RunDirectory, "save", fail)
    assert main(["fig9", "--preset", "smoke", "--run-dir", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == "experiments: records.parquet could not be written\n"


def told(capsys):
    """What was written to the standard error, in one line without the frames of boxes."""
    return " ".join(re.sub("[│─╭╮╰╯]", " ", capsys.readouterr().err).split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bias-variance", "--payoffs", "chicken"], "Unrecognized options: --payoffs, chicken"),
        (["fig3a", "--p-naive", "0.5"], "Unrecognized options: --p-naive, 0.5"),
        (["fig9", "--p-naive", "much"], "Error parsing --p-naive: could not convert string to float: 'much'"),
        (["fig9", "--seeds", "True"], "Error parsing --seeds: invalid literal for int() with base 10: 'True'"),
        (["fig9", "--p-naive"], "Missing value for argument '--p-naive"),
        (["fig9", "--p-naive", "0", "seeds=3"], "Unrecognized options: seeds=3"),
        (["fig9", "--steps", "3"], "Unrecognized options: --steps, 3"),
        (["fig9", "--set", "p_naive=0"], "--set no longer exists: write --p-naive 0."),
        (["fig5a", "--set", "naive_rate=1"], "--set no longer exists: write --learner.rate 1."),
        (["fig5a", "--set", "width=8"], "--set no longer exists: write --agent.width 8 --learner.width 8."),
        (["fig99"], "There is no figure 'fig99'; there are fig3a, "),
        ([], "Name a figure first: fig3a, "),
        (["fig3a", "fig9", "--steps", "3"], "No figure has the setting --steps;"),
        (["fig9", "--preset", "tiny"], "--preset must be smoke, cpu or paper"),
        (["fig9", "--discount", "1"], r"`discount` must lie in [0, 1), but is 1"),
        (["phase-portraits", "--coordinates", "CC", "XY"], "an entry 'XY'; there are start, CC, CD, DC, DD"),
        (["fig3a", "--seeds", "0"], "`seeds` must be at least 1, but is 0"),
        (["fig9", "--p-naive", "1.5"], "`p_naive` must lie between 0 and 1, but is 1.5"),
        (["fig3b", "--iterations-together", "70"], "`iterations_together` must be a multiple of `every`, but 70"),
        (["fig3a", "--naive-scale", "-1"], "`naive_scale` must be at least 0, but is -1.0"),
        (["fig8", "--payoffs", "stag-hunt"], "symmetric prisoner's dilemmas, T > R > P > S with T + S ≥ 2P"),
        (["continuous-time", "--halvings", "0"], "`halvings` must be at least 1, but is 0"),
        (["fig3a", "--payoffs", "public-goods"], "two players with two actions each, which public-goods is not"),
        (["fig3a", "--payoffs", "nothing.json"], "neither a known game"),
        (["fig5a", "--agent.network", "lstm"], "`agent.network` must be 'hawk', 'gru' or 'mlp', but is 'lstm'"),
        (
            ["noise", "--lambdas", "1.0", "1.0"],
            "`lambdas` must be one or more different numbers between 0 and 1, but are",
        ),
        (["noise", "--measured", "2"], "`measured` must be at least 3, but is 2"),
        (
            ["noise", "--agent.discount", "0.9"],
            "`agent.discount` must be 1, as the gradient of COALA-PG is",
        ),
        (["fig5c", "--agent.leave-one-out", "--p-naive", "0.25"], "there are 1 naive and 3 meta opponents"),
        (["fig5c", "--agent.naive-advantages", "paper"], "must be 'gradient' or 'printed', but is 'paper'"),
        (["fig5a", "--agent.entropy-until", "2"], "`agent.entropy_until` must lie between 0 and 1, but is 2.0"),
        (["fig5a", "--chunk", "3"], "`chunk` must divide the 8 trajectories of a gradient step, but is 3"),
        (["fig3a", "--plan"], "--plan is for figures that are trained: fig5a, fig5b"),
        (["all", "--plan"], "--plan is for figures that are trained: fig5a, fig5b"),
        (["paper", "--cluster"], "fig3a runs in one process; several can share fig5a, fig5b"),
        (["fig5a", "--processes", "2"], "--coordinator, --processes and --process must be given together"),
        (["fig5a", "--coordinator", "here:1", "--processes", "2", "--process", "2"], "between 0 and 1, but is 2"),
        (["fig5a", "--coordinator", "here:1", "--processes", "0", "--process", "0"], "--processes must be at least 1"),
        (
            ["fig5a", "--coordinator", "here", "--processes", "1", "--process", "0"],
            "must be HOST:PORT, such as 10.0.0.1:1234, but",
        ),
        (
            ["fig5a", "--coordinator", "here:1", "--processes", "2", "--process", "0", "--devices", "3"],
            "a multiple of",
        ),
        (["fig3a", "--processes", "2"], "fig3a runs in one process; several can share fig5a"),
        (["fig12", "--measured", "3"], "`measured` must be even, as halves of it are compared, but is 3"),
        (["fig12", "--measured", "14"], "`measured`/2 must have a divisor from 2 to `meta_batch`"),
        (["fig12", "--agent.discount", "0.99"], "`agent.discount` must be 1, with which the parts are measured"),
        (["fig5c", "--payoffs", "matching-pennies"], "must be symmetric, the same seen from every seat"),
        (["fig5a", "--payoffs", "chicken", "--batch", "{[]:1}"], "Error parsing --batch: invalid literal for int()"),
        (
            ["fig5a", "--payoffs", "matching-pennies", "--learner.pretraining", "2"],
            "must be symmetric, the same seen",
        ),
        (["memory", "--memories", "0"], "`memories` must lie between 1 and episodes = 3, but are (0,)"),
        (["memory", "--networks", "rnn"], "`agent.network` must be 'hawk', 'gru' or 'mlp', but is 'rnn'"),
        (["inner-batch", "--batches", "3"], "`batches` must divide meta_batch · batch = 16, and one must be"),
        (["inner-batch", "--batches", "1"], "one must be above 1, but are (1,)"),
        (["memory", "--networks", "mlp"], "`networks` must name one that remembers, but are ('mlp',)"),
        (["fig5a", "--learner.network", "lstm"], "`learner.network` must be 'hawk', 'gru' or 'mlp', but is 'lstm'"),
        (["fig5a", "--agent.reward-scale", "0"], "`agent.reward_scale` must be positive, but is 0.0"),
        (["fig5a", "--agent.reward-scale", "1e999"], "`agent.reward_scale` must be finite, but is inf"),
        (
            ["fig5a", "--agent.width", "5"],
            "`agent.width` must be a multiple of 2 with `hawk`, whose gates",
        ),
        (["fig5a", "--seed", f"{2**32}"], "`seed` must lie between 0 and 2**32 - 1, but is 4294967296"),
        (["fig3a", "--seed", "-1"], "`seed` must lie between 0 and 2**32 - 1, but is -1"),
        (["fig5a", "--agent.norm", "nan"], "`agent.norm` must be a finite number, but is nan"),
        (["fig5a", "--payoffs", "public-goods"], "a matrix game of two players, which public-goods is not"),
        (["fig5c", "--p-naive", "0.6"], "must be a whole number of opponents, but is 0.6 · 4"),
        (["fig7", "--p-naive", "1"], "`p_naive` must be below 1, so that the 2 agents of a pool meet each other"),
        (["fig7", "--learner.network", "mlp"], "`learner.network` must be 'hawk' with `dynamic_naive`, as learners"),
        (["fig7", "--learner.pretraining", "9"], "with `dynamic_naive` learners start from the agents' parameters"),
        (["fig5a", "--agent.rate", "1e999"], "`agent.rate` must be finite, but is inf"),
        (
            ["fig5a", "--agent.look-aheads", "3"],
            "`agent.look_aheads` must be below episodes = 3, to see",
        ),
        (["fig5a", "--checkpoint-seconds", "nan"], "--checkpoint-seconds must be at least 0, but is nan"),
        (["fig3a", "--wandb", "project"], "--wandb is for figures that are trained"),
    ],
)
def test_settings_that_make_no_sense(arguments, message, tmp_path, capsys):
    preset = [] if "--preset" in arguments else ["--preset", "smoke"]
    assert main([*arguments, *preset, "--run-dir", str(tmp_path / "run")]) == 2
    assert message in told(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("rewards", "measured", "holds"),
    [
        ({"CoalaPG": 1.0, "MFOS": 0.4, "BatchUnaware": 0.3}, 2.5, True),
        ({"CoalaPG": 1.0, "MFOS": 0.3, "BatchUnaware": 0.6}, 1.0 / 0.6, False),
        ({"CoalaPG": -0.5, "MFOS": -0.1, "BatchUnaware": -0.2}, None, False),
        ({"CoalaPG": 0.5, "MFOS": -0.1, "BatchUnaware": -0.2}, None, True),  # infinitely many times as much
        ({"CoalaPG": float("nan"), "MFOS": 0.4, "BatchUnaware": 0.4}, None, False),
        ({"CoalaPG": 1.0, "MFOS": 0.4}, None, None),
        ({"CoalaPG": 1.0, "BatchUnaware": 0.4}, None, None),
    ],
)
def test_figure_5a_compares_with_all_that_it_names(rewards, measured, holds):
    records = [
        {"part": name, "estimator": name, "panel": "training", "seed": 0, "iteration": 1, "reward": reward, "finite": 1}
        for name, reward in rewards.items()
    ]
    found = fig5a.claims(records)[0]
    assert found["measured"] == (None if measured is None else pytest.approx(measured))
    assert found["holds"] is holds


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_has_its_presets_its_claims_and_a_drawing(figure):
    experiment = importlib.import_module(f"experiments.{FIGURES[figure]}")
    assert set(experiment.PRESETS) == {"smoke", "cpu", "paper"}
    names = [part.name for part in experiment.parts(experiment.PRESETS["cpu"])]
    assert len(set(names)) == len(names)
    assert callable(experiment.claims)
    assert callable(importlib.import_module(f"paper_figs.{FIGURES[figure]}").draw)


def test_settings_that_are_given_are_taken():
    settings = settings_of("fig9", "smoke", {"p_naive": 0.5, "discount": 0, "initial": [-5, 0, 0, 0, 1]})
    assert (settings.p_naive, settings.discount, settings.initial) == (0.5, 0.0, (-5.0, 0.0, 0.0, 0.0, 1.0))
    assert all(isinstance(value, float) for value in (settings.discount, *settings.initial))


def test_of_all_figures_those_that_refuse_a_setting_are_left_out(capsys):
    smoke = [*ANALYTIC, "--preset", "smoke"]
    settings = all_checked(read([*smoke, "--payoffs", "chicken", "--p-naive", "0.5"])[2])
    assert set(ANALYTIC) - set(settings) == {"fig8"}
    assert "fig8 is left out: Extortion is fitted in symmetric prisoner's dilemmas" in told(capsys)
    assert settings["fig9"].p_naive == 0.5
    assert set(read([*smoke, "--initial-scale", "-1"])[2]) < set(ANALYTIC)
    assert "fig9 is left out: `initial_scale` must be at least 0, but is -1.0." in told(capsys)
    with pytest.raises(BadArguments, match="No figure has the setting --p-niave;"):
        read([*smoke, "--p-niave", "0.5"])
    with pytest.raises(BadArguments, match="`seeds` must be at least 1"):
        read([*smoke, "--seeds", "0"])


def test_one_command_stands_for_every_figure_of_the_paper():
    """Of all that the paper shows of results, with settings that each figure knows."""
    assert set(FIGURES) - set(GROUPS["paper"]) == set(BEYOND)
    asked, _, settings = read(["paper", "--preset", "smoke", "--seeds", "3", "--agent.look-aheads", "2"])
    assert asked == list(settings) == list(GROUPS["paper"])
    assert {named(one)["seeds"] for one in settings.values()} == {3}
    assert settings["fig5a"].agent.look_aheads == 2


def test_a_command_is_what_makes_its_settings(tmp_path):
    """What a run notes of its command gives the same settings, whatever they are."""
    for given in (
        ["fig5a", "--preset", "smoke", "--seeds", "3", "--agent.centre", "--estimators", "CoalaPG", "LolaDice"],
        ["fig6", "--preset", "cpu", "--agent.no-leave-one-out", "--actions", "left", "zap", "--learner.rate", "0.25"],
        ["fig9", "--preset", "paper", "--initial", "-5", "0", "0", "0", "1.5", "--discount", "0.5"],
    ):
        (figure,), options, settings = read(given)
        words = in_words(figure, options.preset, settings[figure])
        assert words[:3] == ["python", "-m", "experiments"]
        assert read(words[3:])[2] == settings
    file = tmp_path / "game.json"
    file.write_text('{"payoffs": [[[1, 0], [2, 0]], [[1, 2], [0, 0]]]}')
    assert in_words("fig5a", "smoke", settings_of("fig5a", "smoke", {"payoffs": str(file)}))[-1] == "game.json"


FORMER = """batch episodes steps meta_batch iterations every p_naive naive_weight naive_advantages naive_population
naive_pretraining pretraining_batch dynamic_naive network naive_network width memory update optimiser rate epochs
minibatches clip discount gae_lambda td_lambda value_coefficient entropy_coefficient entropy_until reward_scale
leave_one_out centre naive_optimiser naive_rate naive_reward_scale naive_discount norm look_aheads lola_smoothing seeds
seed devices chunk group rematerialise payoffs""".split()
"""The settings of sampled figures in the version before they had groups."""


def test_settings_of_an_earlier_version_have_names_today():
    names = named(load("fig5b").presets["cpu"])
    found = renamed(dict.fromkeys(FORMER, 1), names)
    new = {"estimators", "learner.algorithm", "learner.epochs", "learner.minibatches", "learner.clip"}
    new |= {name for name in names if name.startswith("critic.")}
    assert set(found) == set(names) - new
    for figure in FIGURES:  # other figures' names are what they were
        names = named(load(figure).presets["cpu"])
        assert renamed(dict.fromkeys(names, 1), names) == dict.fromkeys(names, 1)


def test_help_lists_every_setting_with_its_text_and_default(capsys):
    for figure in FIGURES:
        assert main([figure, "--preset", "smoke", "--help"]) == 0
        shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
        for name, default in named(load(figure).presets["smoke"]).items():
            option = re.escape(name.replace("_", "-"))
            pattern = rf"--{option}(?:(?: [A-Z]+)+| \[.*?\]+|, --\S+)? (.*?) ?\(default: (.*?)\)"
            (text, found), *_ = re.findall(pattern, shown) or [("", "")]
            assert len(text) > 10, (figure, name)
            if isinstance(default, str | int) and not isinstance(default, bool):
                assert str(default) == found, name
    assert main(["--help"]) == 0
    general = capsys.readouterr().out
    assert all(figure in general for figure in FIGURES)


def test_when_the_start_logit_rises_last():
    """CC is positive from the start, DC for good since iteration 2, the start since 3; CD and DD never stay so."""
    logits = {"start": [-1, 1, -1, 1], "CC": [1, 1, 1, 1], "CD": [1, 1, 1, -1], "DC": [-1, -1, 1, 1], "DD": [-1] * 4}
    path = pl.DataFrame({"iteration": [0, 1, 2, 3], **logits})
    assert _lag(path) == 1
    assert np.isnan(_lag(path.with_columns(start=pl.lit(-1))))


def test_each_of_a_pair_climbs_its_own_return_in_an_asymmetric_game():
    """Against derivatives of the first player's and the second player's closed-form return, without mirroring."""
    settings = settings_of("fig9", "smoke", {"payoffs": "battle-of-the-sexes"})
    payoffs = analytic.load_payoffs("battle-of-the-sexes")
    assert not np.array_equal(payoffs[1], payoffs[0].T)
    pair = analytic.stacked(jnp.asarray(np.random.default_rng(0).normal(size=(2, 5))))
    climbed = meta_training.pool_gradient(settings, 0.0)(pair, jax.random.key(0)).logits

    def returns(first, second):
        return ce.exact.discounted_returns(BinaryMemoryOne(first), BinaryMemoryOne(second), payoffs, settings.discount)

    for player in range(2):
        own = jax.grad(lambda *logits, player=player: returns(*logits)[player], argnums=player)(*pair.logits)
        np.testing.assert_allclose(climbed[player], own, rtol=1e-12, atol=1e-15)


def test_how_many_steps_shaping_takes():
    rewards = {0: [0.1, 0.9, 0.7], 1: [0.1, 0.2, 0.3]}
    records = [{"seed": s, "iteration": i, "shaping_1": r} for s in rewards for i, r in enumerate(rewards[s])]
    assert _steps(pl.DataFrame(records)).tolist() == [1, 3]


def test_a_seed_that_goes_wrong_is_flagged_and_the_others_are_kept(tmp_path, monkeypatch, capsys):
    settings = dataclasses.replace(settings_of("fig3a", "smoke", {"seeds": 3}), iterations=50)
    broken = analytic.stacked(jnp.full((3, 5), -4.6).at[1, 2].set(jnp.nan))
    make = analytic.stacked
    monkeypatch.setattr(analytic, "stacked", lambda logits: broken if logits.shape == (3, 5) else make(logits))
    run("fig3a", tmp_path, settings)
    assert "Not finite, and left out of claims and figure: seeds 1." in capsys.readouterr().out
    records = pl.read_parquet(tmp_path / "records.parquet")
    assert set(records.filter(pl.col("finite") == 1)["seed"]) == {0, 2}
    claims = json.loads((tmp_path / "fig3a.json").read_text())
    assert all(np.isfinite(entry["measured"]) for entry in claims)


def test_a_run_says_what_made_it(directory):
    (made_by,) = json.loads((directory / "origin.json").read_text())
    assert set(made_by) == {"command", "date", "version", "commit", "machine", "python", "jax", "seconds"}
    assert made_by["seconds"] > 0


def test_a_run_is_kept_as_a_reference_and_the_page_shows_it(directory, tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "REFERENCE", tmp_path / "reference")
    monkeypatch.setattr(reference, "PAGE", tmp_path / "figures.md")
    assert reference.main([str(directory)]) == 0
    page = (tmp_path / "figures.md").read_text()
    for entry in json.loads((directory / "bias-variance.json").read_text()):
        assert entry["claim"] in page
    assert "reference/bias-variance/bias-variance.png" in page
    assert (tmp_path / "reference/bias-variance/records.parquet").exists()
    kept, drawn = tmp_path / "reference/bias-variance/bias-variance.png", directory / "bias-variance.png"
    with Image.open(kept) as few, Image.open(drawn) as all_colours:
        difference = np.abs(np.asarray(few.convert("RGB"), float) - np.asarray(all_colours.convert("RGB"), float))
    assert difference.max() < 64
    assert difference.mean() < 1


def test_a_folder_without_a_run_is_no_reference(tmp_path, capsys):
    assert reference.main([str(tmp_path)]) == 2
    assert "cannot be kept: " in capsys.readouterr().err


@pytest.mark.parametrize(("figure", "payoffs"), [("fig3b", "chicken"), ("fig9", "battle-of-the-sexes")])
def test_an_analytic_figure_from_end_to_end(figure, payoffs, tmp_path):
    settings = dataclasses.replace(settings_of(figure, "smoke", {"payoffs": payoffs, "seeds": 3}), iterations=50)
    run(figure, tmp_path, settings)
    records = pl.read_parquet(tmp_path / "records.parquet")
    assert set(records["seed"]) == {0, 1, 2}
    assert (records["finite"] == 1).all()
    assert (tmp_path / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / f"{figure}.json").read_text()
    claims = json.loads(text, parse_constant=pytest.fail)  # no NaN in it
    assert claims[0]["measured"] is not None
    assert all(payoffs in claim["claim"] for claim in claims)


def test_the_nearest_zero_determinant_policy():
    """That of (χ, φ) = (3, 0.1) itself; others against a fine grid."""
    payoffs = np.array([[[1.0, -1.0], [2.0, 0.0]], [[1.0, 2.0], [-1.0, 0.0]]])

    def policies(x, y):
        return np.stack([1 - (y - x), 1 - x - 2 * y, y + 2 * x, 0 * x], axis=-1)

    chi, phi, loss = fit(policies(np.asarray(0.1), np.asarray(0.3)), payoffs)
    assert (chi, phi) == pytest.approx((3, 0.1))
    assert loss < 1e-25
    x, y = np.meshgrid(np.linspace(0, 1, 1001), np.linspace(0, 1, 1001))
    allowed = policies(x, y)[(y >= x) & (x + 2 * y <= 1)]
    for probabilities in np.random.default_rng(0).uniform(size=(5, 4)):
        least = ((allowed - probabilities) ** 2).sum(axis=1).min()
        loss = fit(probabilities, payoffs)[2]
        # The grid's best is at most half a step in x and y away, where the gradient is below 20.
        assert least - 0.02 <= loss <= least + 1e-12


def test_extortion_is_not_fitted_in_other_games():
    dilemma = np.array([[1.0, -1.0], [2.0, 0.0]])
    for first, second in (
        ([[1.0, 0.0], [0.5, 0.5]], [[1.0, 0.5], [0.0, 0.5]]),  # T < R
        ([[1.0, -3.0], [2.0, 0.0]], [[1.0, 2.0], [-3.0, 0.0]]),  # T + S < 2P
        (dilemma, dilemma),  # not symmetric
    ):
        with pytest.raises(ValueError, match="T > R > P > S with T"):
            fit(np.full(4, 0.5), np.array([first, second]))
