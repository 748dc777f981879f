"""Files of games that were written on other systems, and start-up where the system lacks something."""

import subprocess
import sys

import numpy as np
import pytest

from coala_eqx.verification.game_files import load_game

TOML = 'name = "Größe"\r\npayoffs = [[[1, 2], [3, 4]],\r\n  [[1, 3], [2, 4]]]\r\n'
JSON = '{"name": "Größe",\r\n "payoffs": [[[1, 2], [3, 4]],\r\n  [[1, 3], [2, 4]]]}'
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("padding", ["", "\0" * 8, "\x1a"])
def test_files_of_other_systems_are_read(encoding, ends, padding, tmp_path):
    for suffix, text in (("TOML", TOML), ("Json", JSON)):
        file = tmp_path / f"My Game.{suffix}"
        file.write_bytes((text.replace("\r\n", ends) + padding).encode(encoding))
        name, game = load_game(str(file))
        assert name == "Größe"
        np.testing.assert_array_equal(game.payoffs, [[[1, 2], [3, 4]], [[1, 3], [2, 4]]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x81\x8d\xff", r"is not text; save it as UTF-8"),
        (b"\xff\xfe\x00\xd8a", r"is not text; save it as UTF-8"),
        (b"\0\0\0\0", "cannot be parsed"),
        (b"[" * 100_000, "cannot be parsed"),
        (b"[[[1, 2], [3, 1e999]], [[1, 3], [2, 4]]]", r"entry \[0, 1, 1\] is inf"),
        (b"[[[1, 2], [3, 1" + b"0" * 400 + b"]], [[1, 3], [2, 4]]]", r"entry \[0, 1, 1\] is beyond 1.8e308"),
    ],
)
def test_files_that_hold_no_game_are_named(content, message, tmp_path):
    file = tmp_path / "game.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_game(str(file))


def test_a_name_that_no_file_can_have_is_named():
    with pytest.raises(ValueError, match="is neither a known game .* nor a file that can be read"):
        load_game("game\0.json")


def test_the_command_starts_where_the_system_has_no_limits_and_locks_of_unix():
    """As on Windows, where these modules are missing."""
    code = (
        "import sys; sys.modules['resource'] = sys.modules['fcntl'] = None\n"
        "import coala_eqx.cli, coala_eqx.training\n"
        "from coala_eqx.benchmarks.enumeration import _peak_memory\nprint(_peak_memory())"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert output.stdout == "not known\n", output.stderr
