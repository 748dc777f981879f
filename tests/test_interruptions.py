"""A run as a process of its own: killed at any instant, asked to stop, or not alone in its folder."""

import functools
import os
import random
import signal
import time

import polars as pl
import pytest

from coala_eqx.runs.directory import locked
from coala_eqx.runs.stopping import StopRequest
from tests import runs
from tests.runs import QUICK, finish, states, wait_until

SELDOM = 3
"""Kills, at most, with which the tests are to end soon."""


@pytest.fixture(scope="module")
def arguments(request):
    """Of a run that is longer, the more often it is to be killed; by a network that compiles quickly, if seldom."""
    kills = request.config.getoption("--kills")
    network = () if kills > SELDOM else QUICK
    return "--seeds", "1", "--iterations", f"{max(100, 50 * kills)}", *network, "--checkpoint-seconds", "0"


@pytest.fixture(scope="module")
def start(request, tmp_path_factory):
    """As `tests.runs.start`; compiled in full, once for all processes, if the run is killed often."""
    environment = {}
    if request.config.getoption("--kills") > SELDOM:
        environment = {
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
            "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    return functools.partial(runs.start, command=runs.BY_ITERATIONS, **environment)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, arguments, start):
    """The folder of a run that nothing disturbed, and how long it took until there was a checkpoint."""
    folder, begun = tmp_path_factory.mktemp("whole"), time.monotonic()
    process = start(folder, *arguments)
    assert wait_until(lambda: states(folder), process)
    duration = time.monotonic() - begun
    finish(process)
    return folder, duration


def assert_same(folder, whole):
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}
    assert pl.read_parquet(folder / "records.parquet").equals(pl.read_parquet(whole / "records.parquet"))
    for name in ("agents-coalapg.tree", "tensorboard/coalapg/seed-0/events.out.tfevents.training"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def half_written(names):
    return any("tmp" in name for name in names)


def newest(folder):
    """How many iterations the newest checkpoint has done."""
    return max([int(name) for name in states(folder) if name.isdigit()], default=0)


@pytest.mark.timeout(0)
def test_killed_at_random_instants_it_ends_with_the_same_bits(whole, arguments, start, tmp_path, request):
    """Each second time while a checkpoint is written; otherwise at any time, also before the first."""
    folder, duration = whole
    draw, kills, done = random.Random(0), request.config.getoption("--kills"), 0
    while done < kills:
        before, reached = set(states(tmp_path)), newest(tmp_path)
        process = start(tmp_path, *arguments)
        if done % 2:
            end = time.monotonic() + draw.uniform(0, duration)
            assert wait_until(lambda: time.monotonic() > end or newest(tmp_path) > reached + 20, process)  # noqa: B023
        else:
            assert wait_until(lambda: half_written(set(states(tmp_path)) - before), process)  # noqa: B023
            time.sleep(draw.uniform(0, 0.005))
        assert process.poll() is None, "it came to its end before it was killed"
        process.kill()
        process.communicate()
        done += done % 2 or half_written(states(tmp_path))  # otherwise the checkpoint was there already: once more
    finish(start(tmp_path, *arguments))
    assert_same(tmp_path, folder)


def test_asked_to_stop_it_keeps_what_it_has_and_goes_on_from_there(whole, arguments, start, tmp_path):
    process = start(tmp_path, *arguments)
    assert wait_until(lambda: any(name.isdigit() for name in states(tmp_path)), process)
    process.send_signal(signal.SIGTERM)
    output = finish(process, 128 + signal.SIGTERM)
    assert "stopped by SIGTERM, with all kept; the same command goes on from there" in output
    assert all(name.isdigit() for name in states(tmp_path))
    finish(start(tmp_path, *arguments))
    assert_same(tmp_path, whole[0])


def wait_for(process, words):
    """The seconds until it has printed them."""
    begun = time.monotonic()
    for line in process.stdout:
        if words in line:
            return time.monotonic() - begun
    pytest.fail(f"It ended without {words!r}")


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")], ids=["SIGINT", "SIGTERM"]
)
def test_asked_to_stop_in_the_middle_of_a_long_piece_it_answers_and_the_second_time_it_ends(number, name, tmp_path):
    """The piece would take hours, and lets no handler of Python's in."""
    settings = runs.MEMORYLESS | {"iterations": 10**6, "every": 10**6}
    change = "from coala_eqx.training import driver; driver.AT_ONCE = 10**12"
    command = "-c", f"import sys; {change}; from experiments.__main__ import main; sys.exit(main())"
    process = runs.start(tmp_path, "--seeds", "1", *runs.set_to(settings), command=command)
    assert wait_until((tmp_path / "origin.json").exists, process)
    time.sleep(5)  # it is compiled, and then runs
    process.send_signal(number)
    assert wait_for(process, f"Stopping after this piece; {name} again stops now and loses it.") < 10
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(timeout=10) == 128 + number
    process.stdout.close()


def test_how_long_a_piece_takes_at_most_is_said():
    request = StopRequest()
    request.number = signal.SIGINT
    assert request.in_words() == "Stopping after this piece; Ctrl-C again stops now and loses it."
    now = iter([0.0, 100.0, 103.5, 104.5, 105.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coala_eqx.runs.progress.time.monotonic", lambda: next(now))
        request.piece_ends()
        request.piece_ends(counts=False)  # it was compiled
        request.piece_ends()
        request.piece_ends()
        assert request.in_words() == "Stopping after this piece (≤ 3 s); Ctrl-C again stops now and loses it."


def test_a_second_process_is_refused(arguments, start, tmp_path):
    with locked(tmp_path):
        process = start(tmp_path, *arguments)
        output = finish(process, 2)
    assert f"{tmp_path} is in use by another process (process {os.getpid()} on " in output
    assert f"Give another folder, such as {tmp_path}-2" in output
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}
    with locked(tmp_path):
        pass
