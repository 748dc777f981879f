"""States on disk: what is kept, what is broken, and a full disk."""

import io
import resource
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from coala_eqx.runs import checkpoints as checkpoints_file
from coala_eqx.runs.checkpoints import Checkpoints, CorruptCheckpointWarning
from coala_eqx.runs.processes import free_port, on_host
from coala_eqx.runs.progress import Progress, remove_checkpoints


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "states"


def state_of(number):
    return {"a": number + np.arange(5000.0), "key": jax.random.key(number), "n": jnp.asarray(number, jnp.int32)}


def keep(folder, numbers):
    states = Checkpoints(folder, keep=2)
    for number in numbers:
        states.save(number, state_of(number))
    states.close()
    return states


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    np.testing.assert_array_equal(found["a"], expected["a"])
    assert found["a"].dtype == expected["a"].dtype
    assert found["n"] == expected["n"]
    np.testing.assert_array_equal(jax.random.key_data(found["key"]), jax.random.key_data(expected["key"]))


def damage(folder, step, how):
    """To a checkpoint: to its largest file, or to all of it."""
    if how == "emptied":
        for file in (folder / str(step)).iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        return
    if how == "without arrays":
        shutil.rmtree(folder / str(step) / "state")
        return
    file = max(
        (file for file in (folder / str(step)).rglob("*") if file.is_file()), key=lambda file: file.stat().st_size
    )
    content = bytearray(file.read_bytes())
    if how == "truncated":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_the_last_few_are_kept_and_the_newest_is_loaded(folder):
    keep(folder, [10, 20, 30])
    assert sorted(path.name for path in folder.iterdir()) == ["20", "30"]
    done, found = Checkpoints(folder).load(state_of(0))
    assert done == 30
    assert_same(found, state_of(30))


def test_without_any_the_work_starts_anew(folder):
    done, found = Checkpoints(folder).load(like := state_of(0))
    assert done == 0
    assert found is like
    assert not folder.exists()


@pytest.mark.parametrize("how", ["truncated", "one bit", "without arrays", "emptied"])
def test_a_corrupt_one_is_put_aside_and_the_one_before_taken(how, folder):
    keep(folder, [10, 20])
    damage(folder, 20, how)
    states = Checkpoints(folder)
    beside = folder.with_name("states-corrupt-20")
    with pytest.warns(CorruptCheckpointWarning, match=f"{folder / '20'} cannot be read and is kept as {beside}; .* 10"):
        done, found = states.load(state_of(0))
    assert done == 10
    assert_same(found, state_of(10))
    assert beside.is_dir()
    states.save(20, state_of(20))
    states.close()
    assert_same(Checkpoints(folder).load(state_of(0))[1], state_of(20))


def test_one_that_is_corrupt_again_is_put_aside_again(folder):
    keep(folder, [10])
    for _ in range(2):
        states = Checkpoints(folder)
        states.save(20, state_of(20))
        states.close()
        damage(folder, 20, "truncated")
        with pytest.warns(CorruptCheckpointWarning):
            assert Checkpoints(folder).load(state_of(0))[0] == 10
    assert folder.with_name("states-corrupt-20").is_dir()
    assert folder.with_name("states-corrupt-20-2").is_dir()


def test_if_all_are_corrupt_it_says_so_and_keeps_them(folder):
    keep(folder, [10, 20])
    damage(folder, 10, "truncated")
    damage(folder, 20, "truncated")
    with pytest.raises(ValueError, match=r"No checkpoint in .* can be read, and all are kept .* Move the folder away"):
        Checkpoints(folder).load(state_of(0))
    assert sorted(path.name for path in folder.iterdir()) == ["10", "20"]


def test_other_arrays_are_refused(folder):
    """Also where a later one cannot be read: nothing is moved then."""
    keep(folder, [10, 20])
    shutil.rmtree(folder / "20" / "state")
    with pytest.raises(ValueError, match=r"10 holds arrays of other shapes or types, and is kept as it is"):
        Checkpoints(folder).load(state_of(0) | {"a": np.arange(3)})
    assert {path.name for path in folder.parent.iterdir()} == {folder.name}
    assert (folder / "10").is_dir()
    assert (folder / "20").is_dir()


SMALL = ("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "int2", "int4", "uint4", "bool")


def assert_same_bits(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        one, other = map(on_host, (mine, theirs))
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


def test_all_types_are_restored_bit_by_bit(folder):
    """Also NaN, −0, empty arrays, single numbers, and other orders of axes and bytes."""
    moments = optax.adam(1e-3, mu_dtype=jnp.bfloat16).init(jnp.zeros(3))
    state = (
        moments,
        {
            **{name: jnp.asarray(np.arange(6).reshape(2, 3) % 2, name) for name in SMALL},
            "special": jnp.array([jnp.nan, -0.0, jnp.inf], jnp.bfloat16),
            "empty": jnp.zeros((0, 3), jnp.float8_e5m2),
            "single": jnp.asarray(1.5, jnp.bfloat16),
            "turned": np.asarray(jnp.ones((2, 3), jnp.bfloat16)).T,
            "complex": jnp.array([1 + 2j], jnp.complex64),
            "swapped": np.array([1.0, 2.0], ">f8"),
            "long": np.array([1.0], np.longdouble),
            "keys": jax.random.split(jax.random.key(1), 3),
            "other keys": jax.random.key(2, impl="rbg"),
            "number": 3,
        },
    )
    checkpoints = Checkpoints(folder)
    checkpoints.save(1, state)
    checkpoints.close()
    done, found = Checkpoints(folder).load(state)
    assert done == 1
    assert_same_bits(found, state)


def test_checkpoints_of_earlier_versions_are_read(folder, monkeypatch):
    """They had no names of types, so that those which NumPy does not know were of nothing but bytes."""
    state = [jnp.array([1.5, -2], jnp.bfloat16), jnp.arange(4, dtype=jnp.int4), np.arange(3.0)]

    def pack(leaves):
        stream = io.BytesIO()
        np.savez(stream, *leaves)
        return np.frombuffer(stream.getvalue(), np.uint8)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints_file, "_pack", pack)
        keep_state = Checkpoints(folder)
        keep_state.save(1, state)
        keep_state.close()
    assert_same_bits(Checkpoints(folder).load(state)[1], state)
    with pytest.raises(ValueError, match=r"other shapes or types.*float64\[3\] instead of float32\[3\]"):
        Checkpoints(folder).load([*state[:2], np.arange(3, dtype=np.float32)])


def test_another_small_type_is_refused(folder):
    states = Checkpoints(folder)
    states.save(1, jnp.ones(2, jnp.bfloat16))
    states.close()
    with pytest.raises(ValueError, match=r"It holds bfloat16\[2\] instead of float16\[2\]"):
        Checkpoints(folder).load(jnp.ones(2, jnp.float16))


def test_what_cannot_be_read_again_is_not_written(folder):
    with pytest.raises(ValueError, match="must consist of arrays and numbers, but has"):
        Checkpoints(folder).save(1, {"a": np.arange(3), "b": 2**70})
    assert not folder.exists()


def test_what_was_half_written_is_removed(folder):
    keep(folder, [10])
    half = folder / "20.orbax-checkpoint-tmp"
    half.mkdir()
    assert Checkpoints(folder).load(state_of(0))[0] == 10
    assert not half.exists()


def test_an_earlier_one_is_refused(folder):
    states = keep(folder, [10])
    with pytest.raises(ValueError, match="`done` must be larger than .*, but is 10"):
        states.save(10, state_of(10))


def test_a_number_to_keep_below_one_is_refused(folder):
    with pytest.raises(ValueError, match="`keep` must be at least 1, but is 0"):
        Checkpoints(folder, keep=0)


def test_a_full_disk_is_reported_and_the_work_goes_on(tmp_path, capfd):
    """No file may become larger than a kilobyte meanwhile; the checkpoint before stays, and a later one is written."""
    checkpoint = Progress(None, tmp_path, "part", interval=0.0).checkpoint()
    random = np.random.default_rng(0)
    state = random.random(100_000)
    checkpoint.save(1, state, always=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        checkpoint.save(2, state + 1, always=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "could not be written" in capfd.readouterr().err
    done, found = Progress(None, tmp_path, "part").checkpoint().load(state)
    assert done == 1
    np.testing.assert_array_equal(found, state)
    checkpoint.save(3, state + 2, always=True)
    done, found = Progress(None, tmp_path, "part").checkpoint().load(state)
    assert done == 3
    np.testing.assert_array_equal(found, state + 2)


def test_of_a_part_that_is_done_checkpoints_are_removed_and_nothing_else(tmp_path):
    keep_these = ["checkpoint-coala-pg-2-1", "checkpoint-coala-pg-1-corrupt-20", "checkpoint-mfos-1"]
    for name in ("checkpoint-coala-pg-1", "checkpoint-coala-pg-2", *keep_these):
        (tmp_path / name).mkdir()
    remove_checkpoints(tmp_path, "coala pg")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(keep_these)


def test_two_processes_hear_of_a_full_disk_and_of_what_the_first_one_reads(tmp_path):
    """What each of them prints; the second one sees another disk."""
    port = free_port()
    arguments = sys.executable, "-c", TWO_PROCESSES, str(port), str(tmp_path)
    both = [
        subprocess.Popen([*arguments, str(number)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=120) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], outputs
    first, second = ([line for line in out.splitlines() if not line.startswith("[Gloo]")] for out, _ in outputs)
    assert first == ["OSError: True", "1 [0. 1. 2.] 64 7", "3 [2. 3. 4.] 64 7", "ValueError: other shapes"]
    assert second == [*first[:3], "ValueError: it says why"]
    assert not (tmp_path / "of a disk that it does not share").exists()


TWO_PROCESSES = """
import resource, sys
from pathlib import Path
import jax, numpy as np
from coala_eqx.runs import Checkpoints

port, folder, number = sys.argv[1:]
jax.distributed.initialize(f"localhost:{port}", 2, int(number))
folder = Path(folder) / ("states" if number == "0" else "of a disk that it does not share")
state = {"a": np.arange(3.0), "big": np.random.default_rng(0).random(100_000), "key": jax.random.key(7)}
add = lambda value: state | {"a": state["a"] + value}

def loaded():
    done, found = Checkpoints(folder).load(add(9))
    assert np.array_equal(found["big"], state["big"])
    found["big"][0] = 0
    print(done, found["a"], 8 * found["a"].itemsize, jax.random.key_data(found["key"])[1])

states = Checkpoints(folder)
states.save(1, state)
states.wait()
if number == "0":
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
try:
    states.save(2, add(1))
    states.wait()
except OSError as error:
    print("OSError:", ("could not be written" if number == "0" else "it says why") in str(error))
if number == "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
loaded()
states.save(3, add(2))
states.close()
loaded()
try:
    Checkpoints(folder).load(state | {"a": np.arange(4.0)})
except ValueError as error:
    print("ValueError:", next(words for words in ("other shapes", "it says why") if words in str(error)))
"""
