"""Import files and modules that a user names. Each file is a module of its own, with its own neighbours."""

import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import CodeType, ModuleType

from coala_eqx.foreign.apart import ForeignError, run_apart

_NEIGHBOURS: dict[str, dict[str, ModuleType]] = {}
"""Modules that files of a folder have imported from that folder, keyed by folder."""


class _Loader(importlib.machinery.SourceFileLoader):
    """A loader that compiles the file itself, never cached code of an earlier file with the same size and time."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def import_source(place: str, what: str) -> ModuleType:
    """Import the module that `place` names: a file if it ends with `.py`, else a module.

    **Raises** `ValueError` that says what was not found, or what failed.
    """
    if place.endswith(".py"):
        return _import_file(Path(place), what)
    path = Path(place)
    if len(path.parts) > 1 or path.suffix.lower() in (".py", ".pyw", ".txt", ".ipynb", ".pyc"):
        raise ValueError(f"{place!r} must end with .py, to load the {what} from that file, or be the name of a module.")
    return _import_module(place, what)


def _import_file(path: Path, what: str) -> ModuleType:
    try:
        if path.is_dir():
            raise ValueError(f"{str(path)!r} is a folder; name the file to load the {what} from.")
        if not path.is_file():
            raise ValueError(f"There is no file {str(path)!r} to load the {what} from.")
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read, to load the {what} from it: {error}.") from error
    place = path.resolve()
    # The name depends on path and content: a file json.py must not replace the module json, nor another mine.py this.
    digest = hashlib.sha256(str(place).encode("utf-8", "surrogateescape") + b"\0" + content).hexdigest()[:16]
    name = f"_coala_eqx_user_{digest}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, place, loader=_Loader(name, str(place)))
    if spec is None:
        raise ValueError(f"{str(path)!r} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        run_apart(lambda: _execute(module, str(place.parent)), program=str(path))
    except BaseException as error:
        sys.modules.pop(name, None)
        if not isinstance(error, ForeignError):
            raise
        hint = "; a file of a package is named module:NAME" if "no known parent package" in str(error) else ""
        raise ValueError(f"{str(path)!r} fails on import: {error}{hint}") from error
    sys.modules[name] = module  # the file may have replaced its own entry
    return module


def _execute(module: ModuleType, folder: str) -> None:
    """Run a module where it can import its neighbours but not those of other folders."""
    for other, modules in _NEIGHBOURS.items():
        for name, neighbour in modules.items():
            if other != folder and sys.modules.get(name) is neighbour:
                del sys.modules[name]
    sys.modules.update(_NEIGHBOURS.get(folder, {}))
    sys.path.insert(0, folder)
    assert module.__spec__ is not None
    assert module.__spec__.loader is not None
    try:
        module.__spec__.loader.exec_module(module)
    finally:
        known = _NEIGHBOURS.setdefault(folder, {})
        known |= {name: found for name, found in list(sys.modules.items()) if _lies_in(folder, name)}
        for modules in _NEIGHBOURS.values():
            for name, neighbour in modules.items():
                sys.modules.setdefault(name, neighbour)


def _lies_in(folder: str, name: str) -> bool:
    """Whether a module, or the package that it belongs to, lies in this folder."""
    top = sys.modules.get(name.partition(".")[0])
    spec = getattr(top, "__spec__", None)
    if name.startswith("_coala_eqx_user_") or spec is None:
        return False
    places = spec.submodule_search_locations or [spec.origin]
    return any(place is not None and str(Path(place).parent) == folder for place in places)


def _import_module(name: str, what: str) -> ModuleType:
    def load() -> ModuleType | ModuleNotFoundError:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(error.name + ".")):
                return error
            raise

    try:
        module = run_apart(load, program=name)
    except ForeignError as error:
        raise ValueError(f"The module {name!r} fails on import: {error}") from error
    if isinstance(module, ModuleNotFoundError):
        hint = f" To load the file, write {name}.py:NAME." if Path(f"{name}.py").is_file() else ""
        raise ValueError(f"There is no module {name!r} to load the {what} from.{hint}") from module
    return module
