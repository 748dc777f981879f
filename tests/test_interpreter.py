"""Traced functions that NumPy evaluates give what XLA gives: every rule, on ordinary numbers and on awkward ones."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from coala_eqx.interpreter import keys
from coala_eqx.interpreter import program as plain
from coala_eqx.interpreter.compiled import compiled
from coala_eqx.interpreter.rules import KEY_RULES, RULES

_RANDOM = np.random.default_rng(5)
X = _RANDOM.normal(size=(3, 4))
Y = _RANDOM.normal(size=(3, 4))
STACK = _RANDOM.normal(size=(2, 3, 4))
ODD = np.array([[0.0, -0.0, np.inf, -np.inf], [np.nan, 1e-300, 1e308, -1e308], [0.5, -2.5, 3.7, -0.1]])
HUGE = np.array([1e30, -1e30, np.inf, -np.inf, np.nan, 2.9, -2.9, 2.0**63, 254.6, -0.5])
WHOLE = np.array([[7, -7, 3], [-2, 0, 5]])
PARTS = np.array([[2, 2, -2], [3, 5, -3]])
UNSIGNED = np.array([0, 1, 7, 2**63, 2**64 - 1], np.uint64)
WHICH = np.array([2, 0, 1])
OUTSIDE = np.array([[0, 3], [-1, 7], [2, -5]])


def _fill(x, i):
    return x.at[i].get(mode="fill", fill_value=-1.5)


def _windows(x, i):
    """Gather windows of two numbers: `dynamic_slice`, vectorised."""
    return jax.vmap(lambda place: lax.dynamic_slice(x, (place[0], place[1]), (2, 3)))(i)


def _loop(x):
    return lax.while_loop(lambda s: s[0] < 4, lambda s: (s[0] + 1, s[1] * 1.5 + x), (0, x))


def _branches(x):
    return [lax.switch(number, [jnp.sin, jnp.cos, lambda v: v + 1], x) for number in (0, 2, 5)]


def _gru(x):
    step = lambda h, row: (jnp.tanh(h + row), (h.sum(), h))  # noqa: E731
    return lax.scan(step, jnp.zeros(4), x), lax.scan(step, jnp.zeros(4), x, reverse=True)


@jax.custom_jvp
def _own(x):
    return x**2


_own.defjvp(lambda primals, tangents: (_own(*primals), 5.0 * tangents[0]))


ELEMENTWISE = {
    "arithmetic": lambda x, y: (x + y, x - y, x * y, x / y, -x, jnp.abs(x), jnp.sign(x)),
    "order": lambda x, y: (jnp.maximum(x, y), jnp.minimum(x, y), x < y, x <= y, x > y, x >= y, x == y, x != y),
    "rounding": lambda x, y: (jnp.floor(x), jnp.ceil(x), jnp.isfinite(x), lax.rem(x, y), jnp.clip(x, -0.3, y)),
    "clamp": lambda x, y: lax.clamp(-0.5, x, 0.7),
    "powers": lambda x, y: (x**2, x**3, x**7, x**-1, x**-3, lax.integer_pow(y, 0), jnp.abs(x) ** y, x**2.0),
    "roots": lambda x, y: (jnp.sqrt(x), lax.rsqrt(jnp.abs(y)), jnp.cbrt(x), jnp.square(x)),
    "exponentials": lambda x, y: (jnp.exp(x), jnp.exp2(y), jnp.expm1(x), jnp.log(x), jnp.log1p(x)),
    "trigonometry": lambda x, y: (jnp.sin(y), jnp.cos(y), jnp.tan(y)),
    "sigmoids": lambda x, y: (jnp.tanh(x), jax.nn.sigmoid(x), lax.erf(x), lax.erfc(x), jax.nn.gelu(x), jax.nn.silu(y)),
    "gamma": lambda x, y: lax.lgamma(jnp.abs(y) + 0.1),
    "logic": lambda x, y: ((x < 0) & (y < 0), (x < 0) | (y < 0), ~(x < 0), (x < 0) ^ (y < 0)),
    "choice": lambda x, y: (jnp.where(x > 0, y, -1.0), lax.select_n((x > 0).astype(int) + (y > 0), x, y, x * y)),
}

SHAPES = {
    "broadcast": lambda x: jnp.broadcast_to(x[:, None], (3, 2, 4)),
    "reshape": lambda x: (x.reshape(2, 6), x.T, lax.expand_dims(x, (1,)), jnp.squeeze(x[:1], 0), x[::-1], x[:, ::2]),
    "join": lambda x: (jnp.concatenate([x, x + 1], axis=1), jnp.stack([x, x], axis=1), jnp.unstack(x, axis=1)),
    "split": lambda x: jnp.split(x, [1, 3], axis=1),
    "pad": lambda x: lax.pad(x, 7.0, ((1, 2, 0), (-1, 3, 1))),
    "pad away": lambda x: lax.pad(x, 7.0, ((-2, -1, 0), (0, -1, 2))),
    "slices": lambda x: (lax.dynamic_slice(x, (2, -1), (2, 3)), lax.dynamic_update_slice(x, x[:2, :2], (2, 9))),
    "sums": lambda x: (x.sum(0), x.sum(), x.prod(1), x.max(1), x.min(0), (x > 0).all(1), (x > 0).any(0), x.mean()),
    "places": lambda x: (jnp.argmax(x, 1), jnp.argmin(x, 0)),
    "running": lambda x: (jnp.cumsum(x, 1), lax.cumsum(x, 0, reverse=True), jnp.cumprod(x, 1)),
    "running extremes": lambda x: (lax.cummax(x, 1), lax.cummin(x, 0, reverse=True)),
    "numbers": lambda x: (jnp.arange(5), lax.broadcasted_iota(int, (2, 3), 1), jnp.eye(3)),
    "types": lambda x: (
        x.astype(np.float32),
        (x > 0).astype(int),
        x.astype(bool),
        lax.bitcast_convert_type(x, np.int64),
    ),
    "products": lambda x: (x @ x.T, jnp.einsum("ij,ik->jk", x, x), jnp.einsum("ij,ij->i", x, x), x @ jnp.ones(4)),
    "batched products": lambda x: jnp.einsum("bij,bkj->bik", jnp.stack([x, x + 1]), jnp.stack([x, 2 * x])),
    "copies": lambda x: (jnp.array(x, copy=True), lax.stop_gradient(x)),
    "scan": _gru,
    "while": _loop,
    "cond": _branches,
    "functions": lambda x: (jax.checkpoint(jnp.sin)(x), _own(x), jax.jit(jnp.cos)(x), jax.nn.softplus(x)),
    "their derivatives": jax.grad(lambda v: (_own(v) + jax.checkpoint(jnp.sin)(v)).sum()),
    "left to JAX": lambda x: (jnp.sort(x, 1), lax.erf_inv(jnp.tanh(x)), lax.digamma(jnp.abs(x) + 1)),
    "dead code": lambda x: jnp.sin(x) if jnp.cos(x).shape else x,
}

INDEXED = {
    "rows": lambda x, i: x[i],
    "entries": lambda x, i: jnp.take_along_axis(x, i[:, None], axis=1),
    "by both": lambda x, i: x[i, i],
    "columns": lambda x, i: x[:, i],
    "derivative of rows": lambda x, i: jax.grad(lambda v: (v[i] ** 2).sum())(x),
    "repeated": lambda x, i: jax.grad(lambda v: (v[i // 2] ** 3).sum())(x),
    "added": lambda x, i: (x.at[i].add(1.0), x.at[i // 2].add(x), x.at[i, i].add(2.0), x.at[:, i].add(3.0)),
    "replaced": lambda x, i: (x.at[i].set(9.0), x.at[0].set(x[1]), x.at[:, 1].set(0.0)),
    "added whole numbers": lambda x, i: (
        jnp.zeros((3, 4), int).at[i // 2].add(1),
        jnp.zeros(3, np.float32).at[i // 2].add(1),
    ),
    "one row for each": jax.vmap(lambda v, p: v[p]),
    "vectorised twice": lambda x, i: jax.vmap(jax.vmap(lambda p, v: v[p], (0, None)), (None, 0))(i, x),
    "derivative for each": jax.vmap(lambda v, p: jax.grad(lambda u: (u[p] * u[0]).sum())(v)),
    "one of several": lambda x, i: jax.vmap(lambda p: x[p].sum() * x[0, p])(i),
    "hot": lambda x, i: jax.nn.one_hot(i, 4),
}

AT_THE_EDGE = {
    "filled": lambda x, i: (_fill(x, i), x.at[i].get(mode="fill"), x.astype(int).at[i].get(mode="fill")),
    "clipped": lambda x, i: (x.at[i].get(mode="clip"), x.at[i].add(1.0, mode="clip"), x.at[i].set(2.0, mode="clip")),
    "dropped": lambda x, i: (x.at[i].add(1.0, mode="drop"), x.at[i].set(2.0, mode="drop")),
    "derivative": lambda x, i: jax.grad(lambda v: jnp.nansum(_fill(v, i) ** 2))(x),
    "windows": _windows,
    "derivative of windows": lambda x, i: jax.grad(lambda v: (_windows(v, i) ** 2).sum())(x),
    "for each": jax.vmap(lambda v, p: (_fill(v, p), v.at[p].add(1.0, mode="drop"))),
}

INTEGERS = {
    "division": lambda a, b: (lax.div(a, b), lax.rem(a, b), a // b, a % b),
    "bits": lambda a, b: (a & b, a | b, a ^ b, ~a),
    "powers": lambda a, b: (a**2, a**3),
    "by zero": lambda a, b: lax.div(a, b * 0),
}


UNCOMMON = {
    "functions of what is there": (lambda x: x.at[:1].apply(jnp.sin), X),
    "bits of one number": (lambda x: lax.bitcast_convert_type(x[0, 0], jnp.int64), X),
    "bits of many": (lambda i: (jnp.bitwise_or.reduce(i, axis=1), jnp.bitwise_and.reduce(i, axis=0)), WHOLE),
    "products of small numbers": (
        lambda i: jnp.dot(i.astype(jnp.int8) * 30, i.T.astype(jnp.int8), preferred_element_type=jnp.int32), WHOLE,
    ),
    "rest by zero": (lambda i: lax.rem(i, 0 * i), WHOLE),
    "half precision": (lambda x: (x.astype(jnp.bfloat16) * 300).astype(jnp.int8), X),
    "cases beyond the last": (lambda i: lax.select_n(jnp.clip(i, -1, 5).astype(np.int32), i, 2 * i, 3 * i), WHOLE),
    "loops of different lengths": (
        jax.vmap(lambda n: lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * 1.5), (0.0, 1.0))),
        X[:, 0] * 5,
    ),
    "and again": (jax.vmap(jax.vmap(lambda n: lax.fori_loop(0, n, lambda _, s: s * 1.5, 1.0))), np.abs(WHOLE)),
    "no steps": (lambda x: lax.scan(lambda c, row: (c + row.sum(), row * 2), 0.0, x[:0]), X),
    "nothing": (lambda x: (jnp.max(x[:, :0], axis=1, initial=-1.0), x[:0].at[jnp.arange(0)].set(1.0)), X),
    "complex numbers": (lambda x: jax.nn.sigmoid(x + 1j).real + jnp.abs(x * 1j) + jnp.sqrt(x + 0j).imag, X),
}  # fmt: skip


@pytest.mark.parametrize("name", UNCOMMON)
def test_uncommon_operations(name):
    function, argument = UNCOMMON[name]
    with jax.enable_x64(True):
        _same(_evaluated(function, argument), jax.jit(function)(argument))


def test_what_a_function_does_besides_is_done():
    seen = []

    def function(x):
        jax.debug.callback(lambda value: seen.append(float(value)), x.sum())
        return 2 * x

    with jax.enable_x64(True):
        program = plain.Program(jax.make_jaxpr(function)(X))
        for _ in range(3):
            program([jnp.asarray(X)])
        jax.effects_barrier()
    assert seen == [pytest.approx(X.sum())] * 3


def _same(made, expected):
    assert jax.tree.structure(made) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(made), map(np.asarray, jax.tree.leaves(expected)), strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        single = other.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-6 if single else 5e-13, atol=0 if single else 1e-300)


def _evaluated(function, *arguments):
    result = jax.make_jaxpr(function, return_shape=True)(*arguments)
    return jax.tree.unflatten(jax.tree.structure(result[1]), plain.Program(result[0])(arguments))


def _cases():
    for name, function in ELEMENTWISE.items():
        yield pytest.param(function, (X, Y), id=name)
        yield pytest.param(function, (ODD, ODD.T.reshape(3, 4)), id=f"{name}, odd numbers")
    for name, function in SHAPES.items():
        yield pytest.param(function, (X,), id=name)
        yield pytest.param(jax.vmap(function), (STACK,), id=f"{name}, vectorised")
    for name, function in INDEXED.items():
        yield pytest.param(function, (X, WHICH), id=name)
        yield pytest.param(jax.vmap(function, (0, None)), (STACK, WHICH), id=f"{name}, vectorised")
    for name, function in AT_THE_EDGE.items():
        yield pytest.param(function, (X, OUTSIDE), id=name)
    for name, function in INTEGERS.items():
        yield pytest.param(function, (WHOLE, PARTS), id=name)


CASES = [*_cases()]


@pytest.mark.parametrize(("function", "arguments"), CASES)
def test_numpy_gives_what_xla_gives(function, arguments):
    with jax.enable_x64(True):
        _same(_evaluated(function, *arguments), jax.jit(function)(*arguments))


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint8, np.float32, bool])
def test_conversions_saturate(kind):
    with jax.enable_x64(True):
        _same(_evaluated(lambda x: x.astype(kind), HUGE), jax.jit(lambda x: x.astype(kind))(HUGE))


@pytest.mark.parametrize("by", [0, 1, 63, 64, 70])
def test_shifts_of_unsigned_numbers(by):
    with jax.enable_x64(True):
        function = lambda x: lax.shift_right_logical(x, np.full(5, by, np.uint64))  # noqa: E731
        _same(_evaluated(function, UNSIGNED), jax.jit(function)(UNSIGNED))


def test_shifts_of_signed_numbers_are_left_to_jax():
    with jax.enable_x64(True):
        function = lambda x: lax.shift_right_logical(x, jnp.full((2, 3), 3))  # noqa: E731
        _same(_evaluated(function, WHOLE), jax.jit(function)(WHOLE))


def _draws(key):
    first, second, third = jax.random.split(key, 3)
    many = jax.random.split(first, (2, 3))
    folded = jax.vmap(lambda one: jax.random.fold_in(one, 7))(many[0])
    return (
        jax.random.bits(second, (3, 2), "uint8"),
        jax.random.bits(third, (5,), "uint32"),
        jax.random.bits(folded[1], (5,), "uint64"),
        jax.random.key_data(many.T),
        jax.random.key_data(jax.random.key(-5)),
        jax.random.key_data(jnp.concatenate([many, many[:1]])),
        jax.random.key_data(lax.dynamic_slice(many, (0, 1), (2, 2))),
        jax.random.key_data(jnp.broadcast_to(lax.expand_dims(first, (0,)), (3,))),
        jax.random.key_data(jax.random.wrap_key_data(jnp.arange(2, dtype=np.uint32), impl=jax.random.key_impl(key))
                            if str(key.dtype) == "key<fry>" else first),
        jax.random.uniform(second, (2,), dtype=jnp.float32),
        jax.random.normal(third, (4,)),
        jax.random.categorical(folded[2], jnp.ones((3, 4))),
        jax.random.permutation(first, 5),
        jax.random.key_data(lax.scan(lambda k, x: (jax.random.fold_in(k, x), k), first, jnp.arange(3))[1]),
        jax.random.key_data(jnp.stack([first, second])),
        jax.random.key_data(many.reshape(6)),
        jax.random.key_data(jnp.unstack(many)[1]),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["threefry2x32", "rbg"])
@pytest.mark.parametrize("several", [False, True])
def test_random_numbers_are_those_of_jax(kind, several):
    with jax.enable_x64(True):
        key = jax.random.key(3, impl=kind)
        if several and kind == "rbg":
            pytest.skip("JAX does not promise the same numbers for vectorised keys of this kind")
        function, key = (jax.vmap(_draws), jax.random.split(key, 6)) if several else (_draws, key)
        for one, other in zip(_evaluated(function, key), function(key), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-13 if one.dtype == np.float64 else 0)


def test_keys_come_back_as_keys():
    with jax.enable_x64(True):
        key = jax.random.key(4)
        (made,) = plain.Program(jax.make_jaxpr(lambda k: jax.random.split(k, 2))(key))([key])
        assert (jax.random.key_data(made) == jax.random.key_data(jax.random.split(key, 2))).all()


def test_every_rule_is_tried():
    """Whatever has a rule occurs in one of the functions above."""
    tried, tried_on_keys = set(), set()

    def collect(jaxpr):
        for equation in jaxpr.eqns:
            types = [variable.aval.dtype for variable in (*equation.invars, *equation.outvars)]
            (tried_on_keys if any(map(keys.is_known, types)) else tried).add(equation.primitive.name)
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                collect(inner)

    with jax.enable_x64(True):
        for case in CASES:
            function, arguments = case.values
            collect(jax.make_jaxpr(function)(*arguments).jaxpr)
        collect(jax.make_jaxpr(_draws)(jax.random.key(0)).jaxpr)
        collect(jax.make_jaxpr(jax.vmap(_draws))(jax.random.split(jax.random.key(0), 2)).jaxpr)
    assert {*RULES} - tried - {"shift_right_logical"} == set()
    assert {*KEY_RULES} - tried_on_keys == set()


def test_a_function_of_which_nothing_is_left_to_jax_is_known():
    with jax.enable_x64(True):
        assert plain.has_rules(lambda x: jnp.tanh(x) @ x.T, X)
        assert not plain.has_rules(lambda x: lax.scan(lambda s, row: (s, jnp.sort(row)), 0, x)[1], X)
        np.testing.assert_allclose(plain.evaluate(lambda x: jnp.sort(jnp.tanh(x)), X), np.sort(np.tanh(X)), rtol=1e-14)


def _various(x, y):
    """Many operations that coefficients may be written with."""
    z = jnp.where(x > y, jnp.abs(x), jnp.maximum(x, -y)) + jnp.cumsum(x, axis=0)[::-1]
    z = z @ jnp.swapaxes(y, 1, 2) + jnp.einsum("bij,bkj->bik", x, y) / (1 + jnp.sqrt(jnp.square(y).sum()))
    z = jnp.concatenate([z, z.mean(axis=0, keepdims=True)]).reshape(-1)[3:21:2] - x.min() + y.max()
    scanned, _ = jax.lax.scan(lambda carry, one: (carry * 0.5 + one, carry), x[0], y, reverse=True)
    return z[:, None] * scanned.ravel()[None] + jnp.sort(x.ravel())[:4].sum() + jnp.tanh(y).sum()


def test_many_operations_together():
    with jax.enable_x64(True):
        x, y = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
        np.testing.assert_allclose(plain.evaluate(_various, x, y), _various(jnp.asarray(x), jnp.asarray(y)), rtol=1e-12)


class TestWhatStaysTheSame:
    def test_is_computed_once(self):
        counted = []

        def count(x):
            counted.append(1)
            return np.asarray(x)

        def function(fixed, changing):
            return jax.pure_callback(count, jax.ShapeDtypeStruct((3,), np.float64), fixed) * changing

        with jax.enable_x64(True):
            fixed, others = jnp.arange(3.0), [np.full(3, float(n)) for n in range(5)]
            program = plain.Program(jax.make_jaxpr(function)(fixed, others[0]))
            for other in others:
                (made,) = program([fixed, other])
                np.testing.assert_array_equal(made, fixed * other)
        assert len(counted) <= 2  # before it is known what stays the same, and once more

    def test_arrays_that_are_changed_in_place_are_not_taken_for_the_same(self):
        with jax.enable_x64(True):
            array = np.arange(3.0)
            program = plain.Program(jax.make_jaxpr(jnp.sin)(array))
            for number in range(4):
                array[:] = number
                np.testing.assert_allclose(program([array])[0], np.sin(array), rtol=1e-15)

    @pytest.mark.parametrize("pattern", ["ab", "aabb", "abba", "aaaa", "abcabc"])
    def test_and_what_changes_is_noticed(self, pattern):
        with jax.enable_x64(True):
            known = {letter: jnp.asarray(np.random.default_rng(ord(letter)).normal(size=3)) for letter in "abc"}
            function = lambda x, y: jnp.sin(x).sum() + jnp.cos(y) * x + y.sum()  # noqa: E731
            program = plain.Program(jax.make_jaxpr(function)(known["a"], known["b"]))
            for first in pattern:
                for second in pattern:
                    (made,) = program([known[first], known[second]])
                    np.testing.assert_allclose(made, function(known[first], known[second]), rtol=1e-13)


class TestCompiled:
    def test_numbers_of_another_type_are_another_program(self):
        with jax.enable_x64(True):
            function = compiled(lambda x, n: x * n)
            assert function(np.ones(2, int), 2).dtype == np.int64
            assert function(np.ones(2, int), 2.0).dtype == np.float64
            assert function(np.ones(2, np.float32), 2).dtype == np.float32

    def test_what_is_no_array_comes_back(self):
        made = compiled(lambda x, words: {"x": x + 1, "words": words, "none": None})(np.zeros(2), "so")
        assert made["words"] == "so"
        assert made["none"] is None

    def test_under_jit_it_is_the_function(self):
        function = compiled(lambda x: jnp.sin(x) + 1)
        np.testing.assert_allclose(jax.jit(function)(0.5), np.sin(0.5) + 1, rtol=1e-6)

    def test_by_xla_it_is_the_same(self):
        with jax.enable_x64(True):
            function = compiled(lambda x: jnp.cumsum(jnp.sin(x)))
            np.testing.assert_allclose(function(X[0]), function(X[0], quick=False), rtol=1e-14)

    def test_an_error_is_passed_on(self):
        def wrong(x):
            raise ValueError("no sines here")

        with pytest.raises(ValueError, match="no sines"):
            compiled(wrong)(np.ones(2))
