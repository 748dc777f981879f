"""States on disk: what is kept, what is broken, and a full disk."""

import io
import json
import resource
import shutil
import subprocess
import sys
import warnings
import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from coala_eqx.runs.checkpoints import Checkpoints, CorruptCheckpointWarning
from coala_eqx.runs.processes import free_port, on_host
from coala_eqx.runs.progress import Progress, remove_checkpoints
from coala_eqx.version import __version__


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


def test_a_folder_may_have_any_name(tmp_path):
    folder = tmp_path / "Läufe %2E #1" / "a b?c"
    keep(folder, [10])
    assert_same(Checkpoints(folder).load(state_of(0))[1], state_of(10))


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
    damage(folder, 20, "emptied")
    with pytest.raises(
        ValueError,
        match=r"10 does not fit, and is kept as it is: it holds another state .format 2, of coala_eqx .*: "
        r"a is float64\[5000\] instead of int64\[3\]\. Move it away",
    ):
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


def write_packed(folder, leaves, types):
    """A checkpoint as the versions before wrote it: all leaves in one array of bytes; the first had no types."""
    stream = io.BytesIO()
    bits = [
        leaf if types is False or leaf.dtype.isbuiltin != 2 else
        np.frombuffer(leaf.tobytes(), np.uint8).reshape(*leaf.shape, leaf.dtype.itemsize)
        for leaf in leaves
    ]  # fmt: skip
    names = {"types": np.array([leaf.dtype.name for leaf in leaves])} if types else {}
    np.savez(stream, *bits, **names)
    packed = {"bytes": np.frombuffer(stream.getvalue(), np.uint8)}
    with ocp.CheckpointManager(folder, item_names=("state",)) as manager:
        manager.save(1, args=ocp.args.Composite(state=ocp.args.StandardSave(packed)))


@pytest.mark.parametrize("types", [False, True])
def test_packed_checkpoints_of_earlier_versions_are_read(types, folder):
    state = [jnp.array([1.5, -2], jnp.bfloat16), jnp.arange(4, dtype=jnp.int4), np.arange(3.0), jax.random.key(5)]
    write_packed(folder, [on_host(leaf) for leaf in state], types)
    states = Checkpoints(folder)
    assert_same_bits(states.load(state)[1], state)
    with pytest.raises(ValueError, match=r"another state .format 1.: 2 is float64\[3\] instead of float32\[3\]\. Move"):
        states.load([*state[:2], np.arange(3, dtype=np.float32), state[3]])
    with pytest.raises(ValueError, match=r"leaf 4 is not expected, uint32\[2\]"):
        states.load(state[:3])
    states.save(2, state)
    states.close()
    assert Checkpoints(folder).load(state)[0] == 2


def test_a_checkpoint_is_a_tree_that_says_what_it_is(folder):
    """By Orbax alone: leaves by their paths, the versions of the format and of the package."""
    states = Checkpoints(folder)
    states.save(7, {"groups": (Moments(jnp.ones(2), None),), "a/b.c": np.arange(3), "key": jax.random.key(3), "": 2})
    states.close()
    tree = ocp.PyTreeCheckpointer().restore(folder / "7" / "state")
    assert set(tree) == {"groups", "a%2Fb%2Ec", "key", "%"}
    np.testing.assert_array_equal(tree["groups"]["0"]["mean"], [1, 1])
    about = json.loads((folder / "7" / "about" / "metadata").read_text())
    assert (about["format"], about["coala_eqx"]) == (2, __version__)
    assert [leaf["path"] for leaf in about["leaves"]] == ["%", "a%2Fb%2Ec", "groups/0/mean", "key"]
    assert about["leaves"][3]["key"] == "threefry2x32"


class Moments(NamedTuple):
    mean: Any
    square: Any


def test_each_leaf_that_differs_is_named(folder):
    """Missing ones, those that are not expected, and other shapes, types and kinds of keys."""
    states = Checkpoints(folder)
    states.save(1, {"a": Moments(np.zeros(2), np.zeros(3)), "key": jax.random.key(3), "old": np.int8(1)})
    states.close()
    other = {"a": Moments(np.zeros((2, 1)), np.zeros(3)), "key": jax.random.key(3, impl="rbg"), "new": np.zeros(4)}
    with pytest.raises(ValueError, match="does not fit") as error:
        Checkpoints(folder).load(other)
    for words in (
        "a/mean is float64[2] instead of float64[2, 1]; key is key<threefry2x32>[] instead of key<rbg>[]",
        "new is missing, float64[4]; old is not expected, int8[]. Move it away",
    ):
        assert words in str(error.value)
    assert "square" not in str(error.value)
    with pytest.raises(ValueError, match="and 5 more"):
        Checkpoints(folder).load({str(number): np.zeros(1) for number in range(11)})


def rewrite(folder, step, **changes):
    """Change what a checkpoint says of itself, with its checksum."""
    file = folder / str(step) / "about" / "metadata"
    about = {name: value for name, value in json.loads(file.read_text()).items() if name != "crc32"} | changes
    checksum = zlib.crc32(json.dumps(about, sort_keys=True).encode())
    file.write_text(json.dumps(about | {"crc32": checksum}))


def test_another_version_is_read_where_the_tree_fits(folder):
    """An older package's is; that of a later format is refused, and not taken for a broken one."""
    keep(folder, [10, 20])
    rewrite(folder, 20, coala_eqx="0.0.1")
    assert_same(Checkpoints(folder).load(state_of(0))[1], state_of(20))
    rewrite(folder, 20, coala_eqx="9.0", format=3)
    with pytest.raises(
        ValueError, match="20 does not fit, .* it has format 3, of coala_eqx 9.0; this version reads up to 2"
    ):
        Checkpoints(folder).load(state_of(0))
    assert {path.name for path in folder.parent.iterdir()} == {folder.name}


def test_a_flipped_bit_in_any_file_is_detected_or_changes_nothing(folder, tmp_path):
    """In many places of each file, also of those that describe the others."""
    keep(folder, [10, 20])
    draw, detected, files = np.random.default_rng(0), set(), []
    for file in sorted(path for path in (folder / "20").rglob("*") if path.is_file()):
        whole = file.read_bytes()
        files += [file] if whole else []
        for place in {0, len(whole) // 2, len(whole) - 1, *draw.integers(0, max(len(whole), 1), 6)} if whole else ():
            copy = tmp_path / "copy" / "states"
            shutil.copytree(folder, copy)
            content = bytearray(whole)
            content[place] ^= 1 << int(draw.integers(8))
            (copy / file.relative_to(folder)).write_bytes(content)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                done, found = Checkpoints(copy).load(state_of(0))
            assert (done == 10) == any(issubclass(one.category, CorruptCheckpointWarning) for one in caught)
            assert_same(found, state_of(done))
            detected |= {file} if done == 10 else set()
            shutil.rmtree(copy.parent)
    assert folder / "20" / "about" / "metadata" in detected
    assert max(files, key=lambda file: file.stat().st_size) in detected


def test_two_leaves_of_one_path_are_refused(folder):
    class Twice:
        pass

    entries = (jax.tree_util.DictKey("x"),) * 2
    jax.tree_util.register_pytree_with_keys(
        Twice, lambda _: (zip(entries, (np.zeros(1), np.ones(1)), strict=True), None), lambda _, leaves: Twice()
    )
    with pytest.raises(ValueError, match="a path of its own, but 'a/x' is the path of several"):
        Checkpoints(folder).save(1, {"a": Twice()})


def test_all_but_the_last_are_removed(folder):
    keep(folder, [10, 20])
    states = Checkpoints(folder)
    states.remove(but_the_last=True)
    assert [path.name for path in folder.iterdir()] == ["20"]
    assert_same(states.load(state_of(0))[1], state_of(20))


def test_another_small_type_is_refused(folder):
    states = Checkpoints(folder)
    states.save(1, jnp.ones(2, jnp.bfloat16))
    states.close()
    with pytest.raises(ValueError, match=r"% is bfloat16\[2\] instead of float16\[2\]"):
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
    assert first == ["OSError: True", "1 [0. 1. 2.] 64 7", "3 [2. 3. 4.] 64 7", "ValueError: does not fit"]
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
    print("ValueError:", next(words for words in ("does not fit", "it says why") if words in str(error)))
"""
