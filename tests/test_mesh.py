"""Meshes of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

from coala_eqx.runs.processes import on_host
from coala_eqx.training import make_mesh, place
from coala_eqx.training.layout import CACHED, PLAYED, chunk_for_cache, group_for_cache
from coala_eqx.training.pieces import map_in_groups, mean_over_chunks


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
    with pytest.raises(ValueError, match="`devices` must name one or more"):
        make_mesh(2, (6, 2), [])


FOUR = AbstractMesh((1, 4), ("seeds", "meta_batch"), axis_types=(AxisType.Auto,) * 2)
"""Devices that share a meta-batch."""


def test_means_over_chunks_have_every_entry_once():
    numbers = np.arange(12.0)
    mean, squares, number = mean_over_chunks(lambda some: (some.mean(), (some**2).mean(), len(some)), numbers, 4)
    assert (mean, squares, number) == (5.5, (numbers**2).mean(), 4)


def test_chunks_divide_the_trajectories_and_fit_the_cache():
    assert chunk_for_cache(12, CACHED // 5) == 4
    assert chunk_for_cache(12, CACHED // 5, cores=2) == 6
    assert chunk_for_cache(18, CACHED // 10, multiple=3) == 9
    assert chunk_for_cache(12, 2 * CACHED, multiple=2) == 4
    assert chunk_for_cache(6, 2 * CACHED, multiple=2) == 2
    assert chunk_for_cache(12, 2 * CACHED) == 2
    assert chunk_for_cache(12, 1) == 12
    assert chunk_for_cache(3, 1, multiple=2) == 3


@pytest.mark.parametrize(("size", "group"), [(None, 12), (100, 12), (12, 12), (11, 6), (5, 4), (1, 1)])
def test_groups_have_every_entry_once_in_order_and_divide_their_number(size, group):
    sizes = []

    def doubled(numbers):
        sizes.append(numbers.size)
        return 2 * numbers

    def one(entry):
        kind, number, key = entry
        shape = jax.ShapeDtypeStruct((), number.dtype)
        return kind, jax.pure_callback(doubled, shape, number, vmap_method="broadcast_all"), jax.random.normal(key)

    keys = jax.random.split(jax.random.key(0), 12)
    kind, numbers, drawn = map_in_groups(one, (max, jnp.arange(12), keys), size)
    assert kind is max
    np.testing.assert_array_equal(numbers, 2 * np.arange(12))
    np.testing.assert_array_equal(drawn, jax.vmap(jax.random.normal)(keys))
    assert sizes == [group] * (12 // group)


def test_groups_are_of_each_device_and_there_are_none_where_devices_have_different_shares():
    """As it is traced for four devices."""

    def loops(number):
        with jax.sharding.use_abstract_mesh(FOUR):
            jaxpr = jax.make_jaxpr(lambda numbers: map_in_groups(lambda one: 2 * one, numbers, 1))(jnp.arange(number))
        return [equation.params["length"] for equation in jaxpr.eqns if equation.primitive.name == "scan"]

    assert loops(8) == [2]
    assert loops(4) == loops(6) == loops(2) == []


def test_chunks_are_of_all_devices():
    with (
        jax.sharding.use_abstract_mesh(FOUR),
        pytest.raises(ValueError, match="must be a multiple of the 4 devices that share a meta-batch, but is 6"),
    ):
        jax.eval_shape(lambda numbers: mean_over_chunks(jnp.sum, numbers, 6), jnp.arange(12.0))


def test_groups_of_none_are_empty():
    assert map_in_groups(lambda one: 2 * one, jnp.zeros((0, 3)), 4).shape == (0, 3)


def test_groups_fit_the_cache():
    assert group_for_cache(PLAYED // 4) == 4
    assert group_for_cache(2 * PLAYED) == 1
