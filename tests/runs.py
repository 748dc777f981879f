"""Runs of `python -m experiments` as processes of their own."""

import os
import subprocess
import sys
import time
from pathlib import Path

from experiments import arguments

ROOT = Path(__file__).parent.parent
PATIENCE = 300
"""Seconds until a process that neither ends nor does what is waited for is given up."""


def set_to(values):
    """Arguments that give settings these values."""
    return [word for name, value in values.items() for word in arguments.words(name, value)]


SMALL = {"agent.network": "gru", "learner.network": "gru"}
"""Quick to compile."""

QUICK = set_to(SMALL)

MEMORYLESS = {"agent.network": "mlp", "learner.network": "mlp"}
"""Quicker still."""

ONE_AGENT = "fig5a", "--estimators", "CoalaPG"


BY_ITERATIONS = (
    "-c",
    "import sys; from coala_eqx.training import driver; driver.AT_ONCE = 1; from experiments.__main__ import main; "
    "sys.exit(main())",
)
"""In place of `-m experiments`: pieces of work are single iterations."""


def first_part(module):
    """In place of `-m experiments`: only the first part of a figure."""
    change = f"from experiments import {module} as figure; parts = figure.parts; figure.parts = lambda s: parts(s)[:1]"
    return "-c", f"import sys; {change}; from experiments.__main__ import main; sys.exit(main())"


def start(folder, *arguments, figure=ONE_AGENT, command=("-m", "experiments"), **environment):
    """Training of small size."""
    return subprocess.Popen(
        [sys.executable, *command, *figure, "--preset", "smoke", "--run-dir", str(folder), *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"} | environment,  # most of the time is for compilation
    )  # fmt: skip


def finish(process, status=0):
    """What it printed until it ended as expected."""
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, output
    return output


def wait_until(condition, process):
    """Whether it came true before the process ended."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end
        time.sleep(0.001)
    return True


def states(folder):
    """Names of the checkpoints, also of those that are half written."""
    return [path.name for path in folder.glob("checkpoint-*/*")]
