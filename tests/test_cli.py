"""The command as it is typed: in this process, and a few times in one of its own."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from coala_eqx.cli import main
from coala_eqx.verification import default_problems

ROOT = Path(__file__).parent.parent
COMMAND = shutil.which("coala-eqx", path=str(Path(sys.executable).parent)) or "coala-eqx"
SMALL = ["--batch", "2", "--episodes", "2", "--steps", "1"]


class Result(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys, monkeypatch):
    """Runs the command, by default in the root of the project."""

    def run_here(*arguments, cwd=ROOT):
        monkeypatch.chdir(cwd)
        try:
            status = main(arguments)
        except SystemExit as refusal:
            status = refusal.code
        return Result(status, *capsys.readouterr())

    return run_here


def run_apart(*arguments, **options):
    """Runs it in a process of its own."""
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, **options)


def test_verify_prints_one_row_per_estimator_and_exits_with_0(tmp_path):
    result = run_apart("verify", *SMALL, "--json", str(tmp_path / "v.json"), "--figure", str(tmp_path / "v.png"))
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    verdicts = {row[0]: row[-1] for row in rows if row and row[-1] in ("holds", "biased", "unbiased")}
    assert verdicts == {
        "CoalaPG": "holds",
        "MFOS": "biased",
        "BatchUnaware": "biased",
        "Reinforce": "holds",
        "LolaExact": "holds",
        "LolaDice": "biased",
        "LolaCoala": "holds",
    }
    assert "All 4 claims hold." in result.stdout
    content = json.loads((tmp_path / "v.json").read_text())
    assert len(content["certificates"]) == 7
    assert content["settings"]["batch"] == 2
    assert (tmp_path / "v.png").read_bytes().startswith(b"\x89PNG")


def test_ones_own_estimator_game_learner_and_policy(run):
    result = run(
        "verify", "--estimator", "examples/leave_one_out.py:LeaveOneOut", "CoalaPG", "--estimator", "LolaExact",
        "--payoffs", "examples/rock_paper_scissors.toml", "--learner", "examples/win_stay.py:WinStay",
        "--policy", "memory-one", "--seed", "3", *SMALL,
    )  # fmt: skip
    assert result.returncode == 1, "LolaExact was asked for, and its claim judged nowhere"
    assert "rock-paper-scissors, with a bonus on rock" in result.stdout
    lines = result.stdout.splitlines()
    assert sum(line.rstrip().endswith("holds") for line in lines) == 2
    assert any("LolaExact" in line and line.rstrip().endswith("inapplicable") for line in lines)
    assert "the problem has a WinStay" in result.stdout
    assert "1 claim declined: LolaExact on 'rock-paper-scissors, with a bonus on rock'." in result.stdout
    assert "Judged nowhere: LolaExact." in result.stdout


def test_a_wrong_estimator_is_rejected_with_exit_status_1(run):
    result = run("verify", "--estimator", "examples/centred_wrongly.py:CentredWrongly", *SMALL)
    assert result.returncode == 1, result.stderr
    assert "1 of 1 claims FAIL: CentredWrongly" in result.stdout


def test_an_estimator_that_returns_nan_is_an_error_and_the_others_are_kept(run, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from coala_eqx.estimators import CoalaPG, AbstractScoreFunctionEstimator\n"
        "class Mine(AbstractScoreFunctionEstimator):\n"
        "    def coefficients(self, rewards, values=None):\n        return rewards * float('nan')\n"
    )
    result = run("verify", "--estimator", f"{tmp_path / 'mine.py'}:Mine", "CoalaPG", *SMALL)
    assert result.returncode == 2
    assert "Mine.from_episode returned NaN" in result.stdout
    assert any(line.split()[:1] == ["CoalaPG"] and "holds" in line for line in result.stdout.splitlines())


def test_names_are_never_cut(run, monkeypatch):
    """In terminals of 40 and 80 columns."""
    for width in ("40", "80"):
        monkeypatch.setenv("COLUMNS", width)
        result = run("verify", "--estimator", "BatchUnaware", *SMALL)
        assert result.returncode == 0
        assert any(line.split()[:1] == ["BatchUnaware"] for line in result.stdout.splitlines())
        assert "…" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--estimator", "Nobody"], "no estimator 'Nobody'"),
        (["--payoffs", "nowhere.json"], "'nowhere.json' is neither a known game"),
        (["--learner", "genius"], "no learner 'genius'. Name one of sgd"),
        (["--policy", "oracle"], "There is no policy 'oracle'"),
        (["--batch", "0"], "argument --batch: must be at least 1, but is 0"),
        (["--episodes", "0"], "argument --episodes: must be at least 1, but is 0"),
        (["--steps", "-2"], "argument --steps: must be at least 1, but is -2"),
        (["--batch", "8", "--steps", "2", "--policy", "memory-one"], "outcomes to enumerate (batch 8"),
        (["--batch", "two"], "argument --batch: must be a whole number, but is 'two'"),
        (["--steps", "1.5"], "argument --steps: must be a whole number, but is '1.5'"),
        (["--seed", "nan"], "argument --seed: must be a whole number, but is 'nan'"),
        (["--seed", str(2**64)], "argument --seed: must be at most 4,294,967,295"),
        (["--limit", "9" * 5000], "argument --limit: must be a whole number, but is '999"),
        (["--estimator"], "argument --estimator: expected at least one argument"),
        (["--nothing"], "unrecognized arguments: --nothing"),
        (["--episodes", "20", "--steps", "20"], "rows of 2 logits (limit 40,000,000 in all); lower `steps`"),
        (["--batch", "64", "--episodes", "20", "--steps", "10", "--policy", "memory-one"], "has about 10^"),
        (["--seed", "-1"], "argument --seed: must be at least 0, but is -1"),
        (["--limit", "0"], "argument --limit: must be at least 1, but is 0"),
        (["--limit", "10"], "more than the limit of 10"),
    ],
)
def test_bad_input_is_named_and_exits_with_2(arguments, message, run):
    result = run("verify", *arguments)
    assert result.returncode == 2
    *progress, line = result.stderr.splitlines()
    assert line.startswith("coala-eqx: ")
    assert message in line
    assert all(re.match(r"1 of \d+, ", other) for other in progress)


README_COMMANDS = re.findall(r"^    coala-eqx (verify .*)$", (ROOT / "README.md").read_text(), flags=re.MULTILINE)


def test_the_readme_has_commands():
    assert len(README_COMMANDS) == 3


@pytest.mark.parametrize("command", README_COMMANDS)
def test_the_commands_of_the_readme_work(command, run, tmp_path, monkeypatch):
    """On some of the problems."""
    monkeypatch.setattr("coala_eqx.verification.command.default_problems", lambda seed: default_problems(seed)[4:7])
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    result = run(*command.split(), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for written in re.findall(r"--(?:json|figure) (\S+)", command):
        assert (tmp_path / written).stat().st_size > 0


def test_help_and_version(run):
    assert "--estimator" in run("verify", "--help").stdout
    assert run("--version").stdout.startswith("coala-eqx 0.")
    assert run().returncode == 2
    assert run_apart().returncode == 2
