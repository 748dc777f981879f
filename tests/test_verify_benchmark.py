"""The benchmark of `coala-eqx verify`: what is measured, of a command that takes a known time."""

import io

import pytest
from rich.console import Console

from coala_eqx.benchmarks import verify
from coala_eqx.benchmarks.verify import Taken, measure, print_verify

COMMAND = """
import sys, time
def main(arguments):
    assert arguments == ["verify"]
    print("table\\n row\\n row\\n row\\n")
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    print("All claims hold.")
    sys.exit({status})
"""


def package(folder, status=0):
    (folder / "coala_eqx").mkdir()
    (folder / "coala_eqx" / "__init__.py").touch()
    (folder / "coala_eqx" / "cli.py").write_text(COMMAND.format(status=status))
    return folder


def test_what_a_command_takes_is_measured(tmp_path):
    taken = measure(package(tmp_path))
    assert taken.cpu > 0.5
    assert taken.first_table < taken.wall - 0.4
    assert taken.memory > 1e6
    assert taken.claims == "All claims hold."


def test_a_command_that_fails_is_named(tmp_path):
    with pytest.raises(ValueError, match="ended with 3"):
        measure(package(tmp_path, status=3))


@pytest.mark.parametrize("known", [True, False])
def test_both_versions_are_compared_where_both_are_there(known, monkeypatch):
    taken = iter([Taken(90.0, 60.0, 5.0, 2e9, "All 40 claims hold."), Taken(30.0, 28.0, 4.0, 1e9, "All claims hold.")])
    monkeypatch.setattr(verify, "measure", lambda root: next(taken))
    monkeypatch.setattr(verify, "_extract", lambda root, folder: known)
    text = io.StringIO()
    print_verify(Console(file=text, width=120))
    assert ("of those before: 0.33" in text.getvalue()) == known
    assert ("is not in this copy's history" in text.getvalue()) != known


def test_a_copy_without_history_has_no_version_before(tmp_path):
    assert not verify._extract(tmp_path, tmp_path)
