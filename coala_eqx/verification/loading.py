"""Loading what a user names on the command line: classes in files, in modules, and of other packages."""

import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from coala_eqx import estimators as builtin
from coala_eqx.estimators import AbstractEstimator

ENTRY_POINTS = "coala_eqx.estimators"
"""The entry-point group under which other packages can register estimators."""

DEFAULT_ESTIMATORS: tuple[type[AbstractEstimator], ...] = (
    builtin.CoalaPG,
    builtin.MFOS,
    builtin.BatchUnaware,
    builtin.Reinforce,
    builtin.LolaExact,
    builtin.LolaDice,
    builtin.LolaCoala,
)
"""The estimators of this package, in the order of the table."""

Kind = TypeVar("Kind")


def load_estimator(source: str) -> AbstractEstimator:
    """An estimator by its name: of this package, of an entry point, `FILE.py:NAME` or `module:NAME`.

    **Raises** `ValueError` that says what was not found, or what went wrong on import.
    """
    known = {cls.__name__: cls for cls in DEFAULT_ESTIMATORS}
    if source in known:
        return known[source]()
    registered = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if source in registered:
        return load_object(registered[source].value, AbstractEstimator, "estimator")
    if ":" not in source:
        raise ValueError(
            f"There is no estimator {source!r}: it is none of {', '.join([*known, *registered])}; for one of your own "
            f"write FILE.py:NAME or module:NAME."
        )
    return load_object(source, AbstractEstimator, "estimator")


def load_object(source: str, kind: type[Kind], what: str) -> Kind:
    """An instance of `kind` from `FILE.py:NAME` or `module:NAME`; a class is called without arguments.

    **Raises** `ValueError` that says what was not found, what went wrong, or what was found instead.
    """
    place, _, name = source.rpartition(":")
    if not place or not name:
        raise ValueError(f"The {what} {source!r} must be written FILE.py:NAME or module:NAME.")
    module = _import_file(Path(place), what) if place.endswith(".py") else _import_module(place, what)
    found = getattr(module, name, None)
    if found is None:
        offered = [
            key
            for key, value in vars(module).items()
            if _is_kind(value, kind) and getattr(value, "__module__", None) == module.__name__
        ]
        raise ValueError(
            f"{place} has no {name!r}; it defines {', '.join(offered)}."
            if offered
            else f"{place} has no {name!r}, and no other {what}."
        )
    if isinstance(found, kind):
        return found
    if inspect.isabstract(found) and issubclass(found, kind):
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise ValueError(f"{source} is abstract: it must define {missing}.")
    if not _is_kind(found, kind):
        raise ValueError(f"{source} is no {what}: it must be a subclass of {kind.__name__}, but is {found!r}.")
    try:
        return found()
    except Exception as error:
        raise ValueError(f"{source} cannot be made without arguments: {error}") from error


def _is_kind(value: Any, kind: type) -> bool:
    return isinstance(value, kind) or (
        inspect.isclass(value) and issubclass(value, kind) and not inspect.isabstract(value)
    )


def _import_file(path: Path, what: str) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"There is no file {str(path)!r} to load the {what} from.")
    # A prefix, so that a file called json.py does not replace the module json.
    name = f"_coala_eqx_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{str(path)!r} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    directory = str(path.parent.resolve())
    sys.path.insert(0, directory)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ValueError(f"{str(path)!r} fails on import: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(directory)
    return module


def _import_module(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise ValueError(f"There is no module {name!r} to load the {what} from.") from error
        raise ValueError(f"The module {name!r} fails on import: {error}") from error
    except Exception as error:
        raise ValueError(f"The module {name!r} fails on import: {type(error).__name__}: {error}") from error
