"""What all tests share: float64, deterministic keys, and structural certificates that are made once."""

import functools
import sys

import jax
import pytest

from proofs_checks.common.programs import forget_programs_at_times

jax.config.update("jax_enable_x64", True)


@pytest.fixture
def getkey():
    """A function that returns a new key each time it is called, the same ones in every run."""
    keys = iter(range(10_000))
    return lambda: jax.random.fold_in(jax.random.key(2410), next(keys))


@functools.cache
def _structures():
    """A function that certifies the package's own estimators with their defaults once, and all others each time."""
    from coala_eqx.verification.structural import certify_structure  # not before types are checked

    of_kind = functools.cache(lambda kind: certify_structure(kind()))

    def certify(estimator):
        kind = type(estimator)
        own = kind.__module__.startswith("coala_eqx.estimators.")
        return of_kind(kind) if own and estimator == kind() else certify_structure(estimator)

    return certify


@pytest.fixture(autouse=True)
def structures_once(monkeypatch):
    command = sys.modules.get("coala_eqx.verification.command")
    if command is not None:
        monkeypatch.setattr(command, "certify_structure", _structures())


def pytest_runtest_setup(item):
    forget_programs_at_times()


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=3, help="how often runs of test_interruptions.py are killed")
