"""What all tests share: float64, and deterministic keys."""

import jax
import pytest

from proofs_checks.common.programs import forget_programs_at_times

jax.config.update("jax_enable_x64", True)


@pytest.fixture
def getkey():
    """A function that returns a new key each time it is called, the same ones in every run."""
    keys = iter(range(10_000))
    return lambda: jax.random.fold_in(jax.random.key(2410), next(keys))


def pytest_runtest_setup(item):
    forget_programs_at_times()


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="how often runs of test_interruptions.py are killed")
