"""Compiled programs are forgotten before there are too many."""

import jax
import jax.numpy as jnp
import pytest

from proofs_checks.common import programs


def test_programs_are_forgotten_only_when_there_are_many():
    if not programs._MAPPINGS.exists():
        pytest.skip("this system does not show a process its memory mappings")
    compiled = jax.jit(lambda x: jnp.sin(x) + 1)
    compiled(1.0)
    assert not programs.forget_programs_if_many(most=100)
    assert compiled._cache_size() == 1
    assert programs.forget_programs_if_many(many=0)
    assert compiled._cache_size() == 0
    assert compiled(0.0) == 1


def test_where_mappings_cannot_be_read_nothing_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr(programs, "_MAPPINGS", tmp_path / "none")
    assert not programs.forget_programs_if_many(many=0)


def test_programs_are_forgotten_when_they_take_much_memory(monkeypatch):
    if not programs._STATUS.exists():
        pytest.skip("this system does not show a process its memory")
    monkeypatch.setattr(programs, "_left", [-1.0])
    compiled = jax.jit(lambda x: jnp.cos(x) + 1)
    compiled(1.0)
    assert 0.05 < programs.memory() < 100
    assert programs.forget_programs_if_many(most=0.0)
    assert compiled._cache_size() == 0
    compiled(1.0)
    assert not programs.forget_programs_if_many(most=0.0), "hardly more has come since"
    assert compiled._cache_size() == 1
