"""JAX's random numbers by NumPy, bit by bit the same. A threefry key is held as one opaque value of eight bytes.

Source: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3", for the hash.
"""

import math
from typing import Any

import jax
import numpy as np

_KEY = np.dtype("V8")
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def is_known(dtype: Any) -> bool:
    """Whether arrays of this type are keys that this module supports."""
    return str(dtype) == "key<fry>" and jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]


def from_jax(keys: Any) -> np.ndarray:
    """Keys in this module's NumPy form."""
    return _of_words(np.asarray(jax.random.key_data(keys)))


def to_jax(keys: np.ndarray) -> Any:
    """Keys in JAX's form."""
    return jax.random.wrap_key_data(jax.numpy.asarray(_words(keys)), impl="threefry2x32")


def is_keys(array: Any) -> bool:
    """Whether an array holds keys in this module's form."""
    return isinstance(array, np.ndarray) and array.dtype == _KEY


def split(keys: np.ndarray, *, shape: tuple[int, ...], **_: Any) -> np.ndarray:
    """Split each key; the result is `[*keys, *shape]`."""
    return _of_words(np.stack(_hashed_numbers(keys, shape), axis=-1))


def bits(keys: np.ndarray, *, bit_width: int, shape: tuple[int, ...], **_: Any) -> np.ndarray:
    """Random bits `[*keys, *shape]`, as unsigned integers."""
    high, low = _hashed_numbers(keys, shape)
    if bit_width == 64:
        return np.asarray((high.astype(np.uint64) << np.uint64(32)) | low)
    return np.asarray(high ^ low, f"u{bit_width // 8}")


def fold_in(keys: np.ndarray, numbers: np.ndarray, **_: Any) -> np.ndarray:
    """New keys from keys and numbers."""
    first, second = _halves(keys)
    return _of_words(np.stack(_hash(first, second, np.zeros_like(numbers, np.uint32), numbers.astype(np.uint32)), -1))


def seed(seeds: np.ndarray, **_: Any) -> np.ndarray:
    """Keys from whole numbers."""
    signed = seeds.astype(np.int32) if seeds.dtype.itemsize < 4 else seeds
    whole = signed.astype(f"u{signed.dtype.itemsize}").astype(np.uint64)
    words = [(whole >> np.uint64(32)).astype(np.uint32), (whole & np.uint64(0xFFFFFFFF)).astype(np.uint32)]
    return _of_words(np.stack(words, axis=-1))


def wrap(words: np.ndarray, **_: Any) -> np.ndarray:
    """Keys from their two words."""
    return _of_words(words)


def unwrap(keys: np.ndarray, **_: Any) -> np.ndarray:
    """The two words of each key."""
    return _words(keys)


def _of_words(words: np.ndarray) -> np.ndarray:
    return np.asarray(np.ascontiguousarray(words, np.uint32).view(_KEY)[..., 0])


def _words(keys: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(keys)[..., None].view(np.uint32).reshape(*keys.shape, 2)


def _halves(keys: np.ndarray) -> tuple[Any, Any]:
    words = _words(keys)
    return words[..., 0], words[..., 1]


def _hashed_numbers(keys: np.ndarray, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The hashes of 0, 1, … for each key, `[*keys, *shape]`."""
    number = np.arange(math.prod(shape), dtype=np.uint64).reshape(shape)
    first, second = (np.reshape(half, (*keys.shape, *(1,) * len(shape))) for half in _halves(keys))
    return _hash(first, second, (number >> np.uint64(32)).astype(np.uint32), number.astype(np.uint32))


def _hash(first: Any, second: Any, high: Any, low: Any) -> tuple[Any, Any]:
    """Threefry-2x32 with 20 rounds: the hash of the number (high, low) under the key (first, second)."""
    keys = (first, second, first ^ second ^ _PARITY)
    with np.errstate(over="ignore"):
        high, low = high + first, low + second
        for number in range(5):
            for rotation in _ROTATIONS[number % 2]:
                high = high + low
                low = (low << np.uint32(rotation)) | (low >> np.uint32(32 - rotation))
                low = high ^ low
            high = high + keys[(number + 1) % 3]
            low = low + keys[(number + 2) % 3] + np.uint32(number + 1)
    return high, low
