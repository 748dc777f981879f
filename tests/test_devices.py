"""Training on eight devices, and in two processes: what one device gives, to rounding."""

import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from coala_eqx.runs.processes import free_port
from tests.runs import BY_ITERATIONS, QUICK, ROOT, SMALL, finish, first_part, set_to, start, states, wait_until

ARGUMENTS = "--seeds", "2", "--iterations", "20", "--learner.network", "gru"


def start_two(folder, *arguments):
    """Both processes; they meet on a port that is free."""
    port = free_port()
    of = "--coordinator", f"localhost:{port}", "--processes", "2", *QUICK
    return [
        start(folder, *ARGUMENTS, *arguments, *of, "--process", str(number), command=BY_ITERATIONS)
        for number in range(2)
    ]


def start_on_two(folder):
    """One process with two devices, that keeps a checkpoint of each iteration."""
    arguments = "--devices", "2", "--checkpoint-seconds", "0", *ARGUMENTS, *QUICK
    return start(folder, *arguments, command=BY_ITERATIONS, JAX_NUM_CPU_DEVICES="2")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    finish(start(folder, *ARGUMENTS, "--devices", "1"))
    return pl.read_parquet(folder / "records.parquet")


@pytest.fixture(scope="module")
def on_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("on_two")
    finish(start_on_two(folder))
    return folder


def assert_close(folder, alone):
    """Rewards are the same where all actions are; gradients are summed in another order."""
    table = pl.read_parquet(folder / "records.parquet")
    assert table.columns == alone.columns
    assert len(table) == len(alone) > 0
    numbers = [name for name in alone.columns if alone[name].dtype.is_numeric()]
    for name in numbers:
        np.testing.assert_allclose(table[name], alone[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_eight_devices(tmp_path):
    """Two along the seeds, four along the meta-batch, of naive learners and of meta agents; in chunks and groups.

    Agents by different estimators, who are in the first pool of Table H.3.
    """
    pool, command = ("table-h3", *set_to({"meta_batch": 16, "p_naive": 0.5} | SMALL)), first_part("table_h3")
    one, eight = tmp_path / "one", tmp_path / "eight"
    finish(start(one, "--devices", "1", figure=pool, command=command))
    layout = "--devices", "8", *set_to({"chunk": 4, "group": 1})
    finish(start(eight, *layout, figure=pool, command=command, JAX_NUM_CPU_DEVICES="8"))
    assert_close(eight, pl.read_parquet(one / "records.parquet"))


def test_eight_devices_share_the_work():
    """What the compiler counts of one device's operations in an iteration, beside those of a device that is alone."""
    script = """
import jax
jax.config.update("jax_enable_x64", False)
from coala_eqx.training import place
from coala_eqx.training.driver import programs_of
from experiments.experiment import settings_of

for devices in (1, 8):
    changes = {"seeds": 1, "devices": devices, "meta_batch": 8, "batch": 8, "chunk": 32}
    changes |= {"agent.network": "gru", "learner.network": "gru"}
    settings, pool = settings_of("fig5a", "smoke", changes).trainings()["CoalaPG"]
    one = settings.training(pool)
    with jax.set_mesh(mesh := one.mesh()):
        programs = programs_of(one)
        arrays = place(programs.arrays, mesh)
        print(jax.jit(programs.iterate).lower(arrays).compile().cost_analysis()["flops"])
"""
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    command = [sys.executable, "-c", script]
    printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    alone, shared = map(float, printed.split())
    assert shared < alone / 4


@pytest.mark.slow
def test_each_core_of_a_cpu_is_a_device(alone, tmp_path):
    """Unless somebody says otherwise, as many are used as divide the seeds."""
    finish(start(tmp_path, *ARGUMENTS))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    layout = json.loads((tmp_path / "origin.json").read_text())[0]["layout"]
    assert layout.startswith(f"{math.gcd(2, cores)} × cpu, ")
    assert_close(tmp_path, alone)


@pytest.mark.slow
def test_killed_on_two_devices_it_ends_with_the_same_bits(on_two, tmp_path):
    process = start_on_two(tmp_path)
    assert wait_until(lambda: any(name.isdigit() for name in states(tmp_path)), process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "records.parquet").exists()
    finish(start_on_two(tmp_path))
    assert pl.read_parquet(tmp_path / "records.parquet").equals(pl.read_parquet(on_two / "records.parquet"))
    assert (tmp_path / "agents-coalapg.tree").read_bytes() == (on_two / "agents-coalapg.tree").read_bytes()


def test_devices_that_do_not_divide_the_work(tmp_path):
    refused = {
        "8 devices do not divide 2 seeds and 6 + 0 opponents": {"meta_batch": 6},
        "`chunk` must be a multiple of the 4 devices that share a": {"meta_batch": 8, "chunk": 2},
        "trajectories in a minibatch must be": {"meta_batch": 8, "batch": 3, "agent.minibatches": 12},
    }
    changes = [set_to(one) for one in refused.values()]
    all_refused = f"all(main([*sys.argv[1:], *one]) == 2 for one in {changes})"
    command = "-c", f"import sys; from experiments.__main__ import main; sys.exit(2 if {all_refused} else 1)"
    process = start(tmp_path / "run", *ARGUMENTS, "--devices", "8", command=command, JAX_NUM_CPU_DEVICES="8")
    output = finish(process, 2)
    assert all(message in output for message in refused)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_with_two_devices_each(on_two, tmp_path):
    """One of them is asked to stop: both do, and go on from there."""
    processes = start_two(tmp_path, "--devices", "4", "--checkpoint-seconds", "0")
    assert wait_until(lambda: any(name.isdigit() for name in states(tmp_path)), processes[0])
    processes[1].send_signal(signal.SIGTERM)
    outputs = [finish(process, 128 + signal.SIGTERM) for process in processes]
    assert all("stopped by SIGTERM, with all kept" in output for output in outputs)
    assert not (tmp_path / "records.parquet").exists()
    first, second = (finish(process) for process in start_two(tmp_path, "--devices", "4"))
    assert "Written:" in first
    assert "Written:" not in second
    assert_close(tmp_path, pl.read_parquet(on_two / "records.parquet"))


def test_without_a_manager_there_is_no_cluster(tmp_path):
    output = finish(start(tmp_path / "run", "--cluster"), 2)
    assert "--cluster finds no manager of a cluster, such as Slurm" in output
    assert not (tmp_path / "run").exists()
