"""Hawk: against a plain NumPy version of it, its ways to compute a sequence, and how it starts."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from coala_eqx.benchmarks.training import matrices, without_products
from coala_eqx.policies import GRU, MLP, Hawk, replay_actions
from coala_eqx.policies.recurrence import linear_recurrence

STEPS = 11


def make(key, **changes):
    settings = {"width": 6, "blocks": 2, "recurrent": 8, "expanded": 10, "heads": 2, "kernel": 3, "head_scale": 1.0}
    return Hawk(5, 2, **(settings | changes), key=key)


def shaken(policy, key):
    """The same with all parameters moved, so that none of them is 0 or 1."""
    leaves, structure = jax.tree.flatten(policy)
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten(
        leaf + 0.3 * jax.random.normal(k, leaf.shape) for leaf, k in zip(leaves, keys, strict=True)
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def block_in_numpy(block, sequence):
    """One residual block, step by step, from De et al. (2024), Section 2."""
    block = jax.tree.map(np.asarray, block)

    def layer(linear, x):
        return linear.weight @ x + linear.bias

    def norm(scale, x):
        return scale * x / np.sqrt(np.mean(x**2) + 1e-6)

    def gate(parameters, x):
        size = parameters.weight.shape[1]
        heads = [x[h * size : (h + 1) * size] @ parameters.weight[h] for h in range(len(parameters.weight))]
        return sigmoid(np.concatenate(heads) + parameters.bias.ravel())

    decay = sigmoid(block.unit.decay)
    kernel = len(block.convolution)
    state, earlier, outputs = np.zeros(len(decay)), [np.zeros(len(decay))] * (kernel - 1), []
    for x in sequence:
        normed = norm(block.recurrence_norm.scale, x)
        earlier = [*earlier, layer(block.branch, normed)]
        convolved = sum(block.convolution[i] * earlier[-kernel + i] for i in range(kernel)) + block.convolution_bias
        a = decay ** (8 * gate(block.unit.recurrence_gate, convolved))
        state = a * state + np.sqrt(1 - a**2) * gate(block.unit.input_gate, convolved) * convolved
        between = x + layer(block.back, state * gelu(layer(block.gate, normed)))
        normed = norm(block.mlp_norm.scale, between)
        expanded = gelu(layer(block.mlp_gate, normed)) * layer(block.mlp_branch, normed)
        outputs.append(between + layer(block.mlp_back, expanded))
    return np.stack(outputs)


def test_it_is_what_the_paper_writes(getkey):
    policy = shaken(make(getkey()), getkey())
    observations = jax.random.normal(getkey(), (STEPS, 5))
    _, output = policy.unroll(policy.initial_memory(), observations, jnp.zeros(STEPS, int))
    features = np.asarray(observations) @ np.asarray(policy.embedding.weight).T + np.asarray(policy.embedding.bias)
    for block in policy.blocks:
        features = block_in_numpy(block, features)
    features = np.asarray(policy.norm.scale) * features / np.sqrt((features**2).mean(axis=1, keepdims=True) + 1e-6)
    for found, head in ((output.logits, policy.read_out.policy), (output.values[:, None], policy.read_out.value)):
        expected = features @ np.asarray(head.weight).T + np.asarray(head.bias)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "changes", [{"scan": "associative"}, {"rematerialise": 4}, {"rematerialise": 4, "scan": "associative"}]
)
def test_other_ways_to_compute_it_give_the_same(changes, getkey):
    """Outputs and gradients; 11 steps are no multiple of 4."""
    key, key_shake = getkey(), getkey()
    observations, actions = jax.random.normal(getkey(), (3, STEPS, 5)), jnp.ones((3, STEPS), int)

    def outputs(policy):
        log_probs, values = replay_actions(policy, observations, actions)
        return (log_probs * jnp.sin(jnp.arange(STEPS))).sum() + (values**2).sum(), (log_probs, values)

    results = []
    for each in ({"scan": "sequential"}, changes):
        policy = shaken(make(key, **each), key_shake)
        (_, out), gradient = eqx.filter_value_and_grad(outputs, has_aux=True)(policy)
        results.append((*out, *jax.tree.leaves(gradient)))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


def test_rematerialising_keeps_fewer_activations(getkey):
    """Bytes that the compiled gradient of a sequence needs for what it keeps: of twenty steps, however long it is."""
    key = getkey()

    def needed(steps, rematerialise):
        observations, actions = jnp.ones((4, steps), int), jnp.ones((4, steps), int)
        policy = make(key, rematerialise=rematerialise)
        function = eqx.filter_jit(eqx.filter_grad(lambda p: replay_actions(p, observations, actions)[0].sum()))
        return function.lower(policy).compile().compiled.memory_analysis().temp_size_in_bytes

    assert needed(400, 20) < needed(400, None) / 3
    assert needed(800, 20) - needed(400, 20) < (needed(800, None) - needed(400, None)) / 5


def test_the_benchmark_counts_all_products(getkey):
    """Of the embedding, of a block's branches and gates, of its MLP, and of what is read out."""
    shapes = sorted(matrix.shape for matrix in matrices(Hawk(5, 2, width=8, key=getkey())))
    assert shapes == sorted([(8, 5), *[(8, 8)] * 8, (2, 8), (1, 8)])


def test_the_benchmark_leaves_out_all_products_and_nothing_else(getkey):
    """There and back: three of each matrix, but one less where inputs need no gradient, and two where values do not."""
    hawk, observations, actions = make(getkey()), jnp.zeros((1, STEPS), int), jnp.zeros((1, STEPS), int)

    def count(policy):
        """Products there and back, and operations of other kinds that no product becomes."""
        value = lambda policy: replay_actions(policy, observations, actions)[0].sum()  # noqa: E731
        there = str(eqx.filter_make_jaxpr(value)(policy)[0])
        both = str(eqx.filter_make_jaxpr(eqx.filter_grad(value))(policy)[0])
        others = [there.count(" add ")] + [both.count(f" {name}") for name in ("logistic", "tanh", "rsqrt", "scan")]
        return both.count("dot_general"), others

    products, others = count(hawk)
    none, same = count(without_products(hawk))
    assert (products, none) == (3 * len(matrices(hawk)) - 1 - 2, 0)
    assert others == same
    assert min(others) > 0


def test_gradients_go_through_the_whole_sequence(getkey):
    """The first observation moves the last value, although the convolution has not seen it for long."""
    policy = shaken(make(getkey()), getkey())

    def last_value(first):
        observations = jnp.zeros((STEPS, 5)).at[0].set(first)
        return policy.unroll(policy.initial_memory(), observations, jnp.zeros(STEPS, int))[1].values[-1]

    assert jnp.abs(jax.grad(last_value)(jnp.ones(5))).max() > 1e-6


@pytest.mark.parametrize(
    "make",
    [
        functools.partial(Hawk, head_scale=1.0),
        functools.partial(Hawk, head_scale=1.0, scan="associative"),
        functools.partial(Hawk, head_scale=1.0, rematerialise=3),
        GRU,
    ],
    ids=["Hawk", "associative", "rematerialised", "GRU"],
)
def test_it_forgets_if_it_should(make, getkey):
    """Every four steps, in sequences and step by step: as if a fresh one began."""
    key = getkey()
    policy, forgetful = (make(5, 2, width=6, key=key, **more) for more in ({}, {"forget_after": 4}))
    observations, none = jax.random.normal(getkey(), (STEPS, 5)), jnp.zeros(STEPS, int)
    _, whole = forgetful.unroll(forgetful.initial_memory(), observations, none)
    for start in range(0, STEPS, 4):
        seen = observations[start : start + 4]
        _, fresh = policy.unroll(policy.initial_memory(), seen, none[: len(seen)])
        np.testing.assert_allclose(whole.logits[start : start + 4], fresh.logits, rtol=1e-9, atol=1e-12)
    memory = forgetful.initial_memory()
    for step in range(STEPS):
        memory, output = forgetful(memory, observations[step], none[0])
        np.testing.assert_allclose(whole.logits[step], output.logits, rtol=1e-9, atol=1e-12)


def test_by_default_it_starts_uniform_with_slow_decays(getkey):
    policy = Hawk(5, 3, key=getkey())
    _, output = policy.unroll(policy.initial_memory(), jnp.arange(5), jnp.zeros(5, int))
    np.testing.assert_array_equal(output.logits, 0)
    np.testing.assert_array_equal(output.values, 0)
    decays = np.asarray(jax.nn.sigmoid(policy.blocks[0].unit.decay)) ** 8
    assert decays.min() >= 0.9
    assert decays.max() <= 0.999
    assert len(np.unique(decays)) == 32
    assert policy.blocks[0].unit.input_gate.weight.shape == (2, 16, 16)


@pytest.mark.parametrize("bias", [-60.0, -90.0, -200.0, -1000.0])
@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_gates_that_are_shut_do_no_harm(double, bias, getkey):
    """With r near 0, or 0 to rounding, a_t is 1 to rounding: states stay, and gradients are finite."""
    with jax.enable_x64(double):
        policy = make(getkey())
        shut = jnp.full((2, 4), bias)
        policy = eqx.tree_at(lambda p: p.blocks[0].unit.recurrence_gate.bias, policy, shut)
        gradient = eqx.filter_grad(
            lambda p: replay_actions(p, jnp.ones((1, STEPS), int), jnp.ones((1, STEPS), int))[0].sum()
        )(policy)
        assert shut.dtype == (jnp.float64 if double else jnp.float32)
        assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("scan", ["sequential", "associative"])
def test_a_recurrence_is_its_definition(scan):
    generator = np.random.default_rng(0)
    decay, inputs, state = generator.uniform(size=(7, 3)), generator.normal(size=(7, 3)), generator.normal(size=3)
    found = linear_recurrence(jnp.asarray(decay), jnp.asarray(inputs), jnp.asarray(state), scan)
    for step in range(7):
        state = decay[step] * state + inputs[step]
        np.testing.assert_allclose(found[step], state, rtol=1e-13)


def test_an_mlp_remembers_nothing(getkey):
    policy = MLP(5, 2, key=getkey())
    _, output = policy.unroll(policy.initial_memory(), jnp.array([1, 4, 1]), jnp.zeros(3, int))
    np.testing.assert_array_equal(output.logits[0], output.logits[2])
    assert not jnp.allclose(output.logits[0], output.logits[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "`heads` must divide the width of the recurrence, 8, but is 3"),
        ({"blocks": 0}, "`blocks` must be at least 1, but is 0"),
        ({"scan": "fast"}, "`scan` must be 'auto', 'sequential' or 'associative', but is 'fast'"),
        ({"rematerialise": 0}, "`rematerialise` must be at least 1, but is 0"),
    ],
)
def test_bad_sizes_are_named(changes, message, getkey):
    with pytest.raises(ValueError, match=message):
        make(getkey(), **changes)
