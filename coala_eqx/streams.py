"""Named streams of random numbers: what one purpose draws is apart from what any other one draws."""

import hashlib

import jax
from jaxtyping import Array, Key

_NAMED = 2**32 - 1
"""What a key is folded with before any name. Neither `split` into fewer keys nor a count of iterations comes there."""


def stream(key: Key[Array, ""], name: str) -> Key[Array, ""]:
    """The key of one purpose, by its name: the same in every process, and another one for every name.

    `jax.random.fold_in(key, i)` is `jax.random.split(key, n)[i]`. So a key of which some part of a program takes
    numbered keys, and another part splits, gives both the same random numbers. A named stream of that key is equal to
    none of those keys.

    **Arguments:**

    - `key`: a typed key. It may be split, and folded with numbers, besides.
    - `name`: of the purpose.
    """
    digest = hashlib.sha256(name.encode()).digest()
    key = jax.random.fold_in(key, _NAMED)
    for start in (0, 4):
        key = jax.random.fold_in(key, int.from_bytes(digest[start : start + 4], "big"))
    return key
