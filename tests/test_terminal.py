"""Printing never costs a result: characters that a terminal lacks, streams that are full, closed or not read."""

import io
import json
import os
import subprocess
import sys
import time

import pytest
from rich.console import Console

from coala_eqx import terminal
from coala_eqx.cli import main
from coala_eqx.terminal import Countdown, ReaderGoneError, Terminal, spell

SMALL = ["--estimator", "LolaExact", "--batch", "2", "--episodes", "2", "--steps", "1"]
COMMAND = [sys.executable, "-m", "coala_eqx"]


def run_in_shell(line, **environment):
    """A line of a shell in which `$C` is the command."""
    environment = os.environ | {"C": " ".join(COMMAND)} | environment
    return subprocess.run(["bash", "-c", line], capture_output=True, check=False, env=environment)


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("‖E[ĝ] − ∇J‖ ≥ ½ µ × √2 … 名", "ascii", "||E[g] - grad J|| >= \\xbd u x sqrt 2 ... \\u540d"),
        ("µ × ĝ −", "latin-1", "µ × g -"),
        ("e\u0301", "ascii", "e"),
        ("‖ĝ‖", "utf-8", "‖ĝ‖"),
        ("name-\udcff", "utf-8", "name-\\udcff"),
        ("∞", "no-such-encoding", "inf"),
    ],
)
def test_characters_that_an_encoding_lacks_are_spelled(text, encoding, expected):
    assert spell(text, encoding) == expected
    if encoding != "no-such-encoding":
        spell(text, encoding).encode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16"])
def test_everything_is_printed_on_every_terminal_and_columns_stay_in_line(encoding, monkeypatch, tmp_path):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["verify", *SMALL, "--json", str(tmp_path / "out.json")]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["certificates"][0]["verdict"] == "holds"
    stream.flush()
    lines = stream.buffer.getvalue().decode(encoding).splitlines()
    head = next(line for line in lines if "relative bias" in line)
    row = next(line for line in lines if line.startswith("  LolaExact"))
    assert row.index("holds") == head.index("verdict")
    assert row.index("look-ahead") == head.index("claims")
    assert ("inf" in row, "∞" in row) == (encoding != "utf-16", encoding == "utf-16")


@pytest.mark.parametrize(
    "command", [["--help"], ["verify", "--help"], ["verify", "--steps", "½"], ["show", "nowhere×"]]
)
def test_help_and_messages_are_printed_on_every_terminal(command):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    result = subprocess.run([*COMMAND, *command], capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == (0 if "--help" in command else 2)
    assert "Traceback" not in result.stderr
    assert result.stdout + result.stderr


def test_benchmarks_are_printed_on_every_terminal(monkeypatch):
    """Their tables have characters that ASCII lacks."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    for part in ("enumeration", "training", "games"):
        monkeypatch.setattr(f"coala_eqx.benchmarks.print_{part}", lambda console: console.print("12 µs × 3 — ∞"))
    monkeypatch.setattr("coala_eqx.benchmarks.print_scaling", lambda console: console.print("√"))
    monkeypatch.setattr("coala_eqx.benchmarks.print_verify", lambda console: None)
    assert main(["bench"]) == 0
    stream.flush()
    assert stream.buffer.getvalue().decode("ascii").splitlines() == ["12 us x 3 - inf"] * 2 + ["sqrt "] + [
        "12 us x 3 - inf"
    ]


@pytest.mark.parametrize(
    ("redirection", "message"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor"), (">&- 2>&-", "")],
)
@pytest.mark.parametrize("foreign", [False, True])
def test_a_stream_that_cannot_be_written_costs_no_file(redirection, message, foreign, tmp_path):
    path = tmp_path / "out.json"
    mine = "--estimator coala_eqx.estimators:LolaExact" if foreign else ""
    result = run_in_shell(f"$C verify {' '.join(SMALL)} {mine} --json {path} {redirection}")
    assert result.returncode == 2
    assert message in result.stderr.decode()
    assert json.loads(path.read_text())["certificates"][0]["verdict"] == "holds"


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_messages_that_cannot_be_written_cost_nothing(redirection):
    result = run_in_shell(f"$C verify {' '.join(SMALL)} {redirection}")
    assert result.returncode == 0
    assert "The claim holds." in result.stdout.decode()


def test_a_reader_that_goes_away_ends_the_command_unless_files_are_to_be_written(tmp_path):
    path = tmp_path / "out.json"
    line = f"($C verify {' '.join(SMALL)} {{}}; echo $? >{tmp_path / 'status'}) | true"
    result = run_in_shell(line.format(""))
    assert (tmp_path / "status").read_text() == "141\n"
    assert b"Error" not in result.stderr
    result = run_in_shell(line.format(f"--json {path}"))
    assert (tmp_path / "status").read_text() == "0\n"
    assert b"Error" not in result.stderr
    assert json.loads(path.read_text())["complete"]


class Failing(io.StringIO):
    """A stream that raises."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text, /):
        raise self.error


def test_a_stream_keeps_its_first_failure():
    first = OSError(28, "full")
    stream = Terminal(Failing(first))
    stream.stops = True
    assert stream.write("text") == 4
    stream.stream.error = OSError(5, "another")
    stream.write("text")
    stream.flush()
    assert stream.failure is first
    assert not stream.broken
    stream.close()
    closed = io.StringIO()
    closed.close()
    assert isinstance(_failure(closed), ValueError)
    assert isinstance(_failure(None), OSError)
    stream = Terminal(Failing(BrokenPipeError()))
    stream.write("text")
    assert stream.broken
    stream = Terminal(Failing(BrokenPipeError()))
    stream.stops = True
    with pytest.raises(ReaderGoneError):
        Console(file=stream).print("text")


def _failure(stream):
    terminal = Terminal(stream)
    terminal.write("text")
    return terminal.failure


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self):
        return True


def test_progress_is_a_line_that_changes_on_a_terminal_and_lines_elsewhere(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for stream, between, expected in (
        (Screen(), 0.1, "count\n\r\x1b[K  1\r\x1b[K  3\r\x1b[Krow\n"),
        (io.StringIO(), terminal.EVERY, "count\n  1\n  3\nrow\n"),
    ):
        countdown = Countdown(stream)
        countdown.say("count")
        for words, passed in (("0", 0.0), ("1", between), ("2", between / 2), ("3", between)):
            now[0] += passed
            countdown.show(words)
        countdown.say("row")
        countdown.clear()
        assert stream.getvalue() == expected
