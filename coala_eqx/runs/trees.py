"""Modules in files that describe themselves: a description in JSON, and the bits of all arrays.

A file can be read in another process, by another program, wherever the classes in it can be imported: those of
installed packages by their names, those of a script by its path.
"""

import dataclasses
import functools
import importlib
import inspect
import io
import json
import math
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from coala_eqx.foreign.files import import_source
from coala_eqx.runs.processes import is_key
from coala_eqx.version import __version__

FORMAT = 1
"""Version of the files' format."""

_DESCRIPTION = "tree.json"


def write_tree(path: Path, tree: Any) -> None:
    """Write a pytree of modules, containers, numbers, functions that have names, and arrays.

    **Raises** `ValueError` that names what cannot be described, such as a function within a function.
    """
    described, arrays = describe_tree("tree", tree)
    content = {"format": FORMAT, "coala_eqx": __version__, "tree": described}
    with zipfile.ZipFile(path, "w") as held:
        _write(held, _DESCRIPTION, json.dumps(content, indent=1, ensure_ascii=False).encode())
        for number, array in enumerate(arrays):
            stream = io.BytesIO()
            np.save(stream, array, allow_pickle=False)
            _write(held, f"{number}.npy", stream.getvalue())


def describe_tree(name: str, tree: Any) -> tuple[Any, list[np.ndarray]]:
    """The description of a tree, for JSON, and the bytes of its arrays, which it numbers.

    **Raises** `ValueError` that names what cannot be described, such as a function within a function; `name` is what
    the whole tree is called there.
    """
    arrays: list[np.ndarray] = []
    described = _describe(tree, arrays, name)
    return described, [np.frombuffer(array.tobytes(), np.uint8) for array in arrays]


def make_tree(described: Any, load: Callable[[int], np.ndarray]) -> Any:
    """Make the tree of a description; `load` gives the bytes of an array by its number.

    **Raises** `ImportError`, `AttributeError` or `ValueError` if a class that it names cannot be imported.
    """
    return _make(described, load)


def read_tree(path: Path) -> Any:
    """Read what `write_tree` wrote.

    **Raises** `ValueError` if the file holds no such tree, or names a class that cannot be imported.
    """
    try:
        with zipfile.ZipFile(path) as held:
            content = json.loads(held.read(_DESCRIPTION))
            if content["format"] > FORMAT:
                raise ValueError(
                    f"it has format {content['format']}, of coala_eqx {content['coala_eqx']}; this version reads up to "
                    f"{FORMAT}"
                )
            return make_tree(content["tree"], lambda number: np.load(io.BytesIO(held.read(f"{number}.npy"))))
    except (OSError, KeyError, TypeError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ValueError(f"{path} holds no tree that can be read: {error!r}.") from error
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error


def _write(held: zipfile.ZipFile, name: str, content: bytes) -> None:
    held.writestr(zipfile.ZipInfo(name), content)  # without a date, so that the same tree gives the same bytes


Describe = Callable[[Any, Any], Any]
"""A function (value, its name within the whole) → its description."""


def _describe(value: Any, arrays: list[np.ndarray], place: str) -> Any:
    def inner(one: Any, name: Any) -> Any:
        return _describe(one, arrays, f"{place}.{name}")

    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.ndarray | np.generic):
        return _describe_array("numpy", value, arrays)
    if isinstance(value, jax.Array):
        return _describe_jax(value, arrays)
    described = _describe_container(value, inner) or _describe_object(value, inner, place)
    if described is None:
        raise ValueError(f"{place} is a {type(value).__name__}, which cannot be kept: {value!r}.")
    return described


def _describe_container(value: Any, inner: Describe) -> Any:
    if type(value) in (list, tuple):
        return {type(value).__name__: [inner(one, number) for number, one in enumerate(value)]}
    if isinstance(value, dict):
        return {"dict": [[inner(key, "key"), inner(one, key)] for key, one in value.items()]}
    return None


def _describe_object(value: Any, inner: Describe, place: str) -> Any:
    if isinstance(value, functools.partial):
        parts = {"func": value.func, "args": value.args, "keywords": dict(value.keywords)}
        return {"partial": [inner(one, name) for name, one in parts.items()]}
    if inspect.isclass(value) or (callable(value) and hasattr(value, "__qualname__")):
        return {"object": _name(value, place)}
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]
        fields = {name: inner(getattr(value, name), name) for name in names}
        return {"module": _name(type(value), place), "fields": fields}
    if isinstance(value, np.dtype):
        return {"dtype": value.name}
    try:
        reduced: Any = value.__reduce__()
    except Exception as error:  # of any kind, as it is somebody else's
        raise ValueError(f"{place} is a {type(value).__name__}, which cannot be kept: {error}.") from error
    if not isinstance(reduced, tuple) or any(one is not None for one in reduced[2:]):
        return None
    return {"made": [inner(reduced[0], "made"), inner(tuple(reduced[1]), "arguments")]}


def _describe_jax(value: jax.Array, arrays: list[np.ndarray]) -> Any:
    if is_key(value):
        return {"key": str(jax.random.key_impl(value)), "data": _describe_jax(jax.random.key_data(value), arrays)}
    return _describe_array("jax", value, arrays)


def _describe_array(kind: str, value: Any, arrays: list[np.ndarray]) -> Any:
    array = np.asarray(value)
    arrays.append(array)
    return {kind: len(arrays) - 1, "dtype": array.dtype.name, "shape": list(array.shape)}


def _name(value: Any, place: str) -> str:
    """The module, or the path of a script or of another file that was named, and the name of an object in it."""
    module, name = value.__module__, value.__qualname__
    if "<" in name:
        raise ValueError(f"{place} is {value!r}, which has no name that can be imported: define it in a module.")
    if module == "__main__":
        file = getattr(sys.modules["__main__"], "__file__", None)
        if file is None:
            raise ValueError(f"{place} is {value!r}, of an interactive session: define it in a file.")
        module = str(Path(file).resolve())
    elif module in sys.modules and "." not in module and (file := getattr(sys.modules[module], "__file__", None)):
        module = module if _origin(module) == file else str(Path(file).resolve())
    return f"{module}:{name}"


def _origin(module: str) -> str | None:
    """The file that another process would import by this name; modules that were made from files are not asked."""
    for finder in sys.meta_path:
        if (spec := finder.find_spec(module, None)) is not None:
            return spec.origin
    return None


def _make(described: Any, load: Callable[[int], np.ndarray]) -> Any:
    if not isinstance(described, dict):
        return described
    (kind, content), *_ = described.items()
    if kind in ("jax", "numpy"):
        array = load(content).view(jax.numpy.dtype(described["dtype"])).reshape(described["shape"])
        return jax.numpy.asarray(array) if kind == "jax" else array
    inner = functools.partial(_make, load=load)
    if kind == "key":
        return jax.random.wrap_key_data(inner(described["data"]), impl=content)
    if kind == "module":
        made = object.__new__(_find(content))
        for name, value in described["fields"].items():
            object.__setattr__(made, name, inner(value))
        return made
    return _KINDS[kind](content, inner)


def _make_partial(content: Any, inner: Callable[[Any], Any]) -> Any:
    function, arguments, keywords = map(inner, content)
    return functools.partial(function, *arguments, **keywords)


_KINDS: dict[str, Callable[[Any, Callable[[Any], Any]], Any]] = {
    "float": lambda content, _: float(content),
    "list": lambda content, inner: [*map(inner, content)],
    "tuple": lambda content, inner: tuple(map(inner, content)),
    "dict": lambda content, inner: {inner(key): inner(one) for key, one in content},
    "object": lambda content, _: _find(content),
    "dtype": lambda content, _: jax.numpy.dtype(content),
    "partial": _make_partial,
    "made": lambda content, inner: inner(content[0])(*inner(content[1])),
}
"""By kind of a description: functions (its content, the function that makes inner values) → the value."""


def _find(name: str) -> Any:
    place, _, path = name.rpartition(":")
    module = import_source(place, "class") if place.endswith(".py") else importlib.import_module(place)
    return functools.reduce(getattr, path.split("."), module)
