"""Modules on disk that say by themselves what they are: a description in JSON, and arrays to the bit.

A file can be read in another process, by another program, wherever the classes in it can be imported: those of
installed packages by their names, those of a script by its path.
"""

import dataclasses
import functools
import importlib
import importlib.util
import inspect
import io
import json
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
"""Version of the files."""

_DESCRIPTION = "tree.json"


def write_tree(path: Path, tree: Any) -> None:
    """Write a pytree of modules, containers, numbers, functions that have names, and arrays.

    **Raises** `ValueError` that names what cannot be described, such as a function within a function.
    """
    arrays: list[np.ndarray] = []
    described = _describe(tree, arrays, "tree")
    content = {"format": FORMAT, "coala_eqx": __version__, "tree": described}
    with zipfile.ZipFile(path, "w") as held:
        _write(held, _DESCRIPTION, json.dumps(content, indent=1, ensure_ascii=False).encode())
        for number, array in enumerate(arrays):
            stream = io.BytesIO()
            np.save(stream, np.frombuffer(array.tobytes(), np.uint8), allow_pickle=False)
            _write(held, f"{number}.npy", stream.getvalue())


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
            return _make(content["tree"], lambda number: np.load(io.BytesIO(held.read(f"{number}.npy"))))
    except (OSError, KeyError, TypeError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ValueError(f"{path} holds no tree that can be read: {error!r}.") from error
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from error


def _write(held: zipfile.ZipFile, name: str, content: bytes) -> None:
    held.writestr(zipfile.ZipInfo(name), content)  # without a date, so that the same tree gives the same bytes


def _describe(value: Any, arrays: list[np.ndarray], place: str) -> Any:
    inner: Callable[[Any, Any], Any] = lambda one, name: _describe(one, arrays, f"{place}.{name}")  # noqa: E731
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and value == value):
        return value if not isinstance(value, float) or abs(value) != float("inf") else {"float": str(value)}
    if isinstance(value, float):
        return {"float": "nan"}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _describe_array(value, arrays)
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return {type(value).__name__: [inner(one, number) for number, one in enumerate(value)]}
    if isinstance(value, dict):
        return {"dict": [[inner(key, "key"), inner(one, key)] for key, one in value.items()]}
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
    reduced: Any = value.__reduce__()
    if not isinstance(reduced, tuple) or any(one is not None for one in reduced[2:]):
        raise ValueError(f"{place} is a {type(value).__name__}, which cannot be kept: {value!r}.")
    return {"made": [inner(reduced[0], "made"), inner(tuple(reduced[1]), "arguments")]}


def _describe_array(value: Any, arrays: list[np.ndarray]) -> Any:
    kind = "numpy" if isinstance(value, np.ndarray | np.generic) else "jax"
    if is_key(value):
        return {"key": str(jax.random.key_impl(value)), "data": _describe_array(jax.random.key_data(value), arrays)}
    array = np.asarray(value)
    arrays.append(array)
    return {kind: len(arrays) - 1, "dtype": array.dtype.name, "shape": list(array.shape)}


def _name(value: Any, place: str) -> str:
    """The module and name by which an object can be imported; of the script that runs, its path."""
    module, name = value.__module__, value.__qualname__
    if "<" in name:
        raise ValueError(f"{place} is {value!r}, which has no name that can be imported: define it in a module.")
    if module == "__main__":
        file = getattr(sys.modules["__main__"], "__file__", None)
        if file is None:
            raise ValueError(f"{place} is {value!r}, of an interactive session: define it in a file.")
        module = str(Path(file).resolve())
    elif module in sys.modules and "." not in module and (file := getattr(sys.modules[module], "__file__", None)):
        spec = importlib.util.find_spec(module) if _is_importable(module) else None
        module = module if spec is not None and spec.origin == file else str(Path(file).resolve())
    return f"{module}:{name}"


def _is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _make(described: Any, load: Callable[[int], np.ndarray]) -> Any:
    if not isinstance(described, dict):
        return described
    inner = functools.partial(_make, load=load)
    (kind, content), *_ = described.items()
    if kind == "float":
        return float(content)
    if kind in ("jax", "numpy"):
        array = load(content).view(jax.numpy.dtype(described["dtype"])).reshape(described["shape"])
        return jax.numpy.asarray(array) if kind == "jax" else array
    if kind == "key":
        return jax.random.wrap_key_data(inner(described["data"]), impl=content)
    if kind in ("list", "tuple"):
        return {"list": list, "tuple": tuple}[kind](map(inner, content))
    if kind == "dict":
        return {inner(key): inner(one) for key, one in content}
    if kind == "object":
        return _find(content)
    if kind == "dtype":
        return jax.numpy.dtype(content)
    if kind == "partial":
        function, arguments, keywords = map(inner, content)
        return functools.partial(function, *arguments, **keywords)
    if kind == "made":
        make, arguments = map(inner, content)
        return make(*arguments)
    made = object.__new__(_find(content))
    for name, value in described["fields"].items():
        object.__setattr__(made, name, inner(value))
    return made


def _find(name: str) -> Any:
    place, _, path = name.rpartition(":")
    module = import_source(place, "class") if place.endswith(".py") else importlib.import_module(place)
    return functools.reduce(getattr, path.split("."), module)
