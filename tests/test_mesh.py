"""Meshes of devices."""

import jax
import numpy as np
import pytest

from coala_eqx.training import chunk_for_cache, make_mesh, place
from coala_eqx.training.mesh import mean_over_chunks, on_host
from coala_eqx.training.updates import CACHED


def test_one_device_makes_a_mesh_on_which_arrays_are_what_they_were():
    mesh = make_mesh(3, (4, 0), jax.devices()[:1])
    assert mesh.shape == {"seeds": 1, "meta_batch": 1}
    tree = {"a": np.arange(6.0).reshape(3, 2), "key": jax.random.split(jax.random.key(0), 3)}
    placed = place(tree, mesh)
    np.testing.assert_array_equal(on_host(placed["a"]), tree["a"])
    np.testing.assert_array_equal(on_host(placed["key"]), jax.random.key_data(tree["key"]))


def test_devices_that_divide_neither_seeds_nor_opponents_are_refused_with_a_number_that_does():
    message = r"8 devices do not divide 2 seeds and 6 \+ 2 opponents.* leave 4 for the opponents\. Take 4\."
    with pytest.raises(ValueError, match=message):
        make_mesh(2, (6, 2), [None] * 8)


def test_means_over_chunks_have_every_entry_once():
    numbers = np.arange(12.0)
    mean, squares, number = mean_over_chunks(lambda some: (some.mean(), (some**2).mean(), len(some)), numbers, 4)
    assert (mean, squares, number) == (5.5, (numbers**2).mean(), 4)


def test_chunks_divide_the_trajectories_and_fit_the_cache():
    assert chunk_for_cache(12, CACHED // 5) == 4
    assert chunk_for_cache(12, CACHED // 5, cores=2) == 6
    assert chunk_for_cache(12, CACHED // 5, multiple=3) == 3
    assert chunk_for_cache(12, 2 * CACHED, multiple=2) == 2
    assert chunk_for_cache(12, 1) == 12
    assert chunk_for_cache(3, 1, multiple=2) == 3
