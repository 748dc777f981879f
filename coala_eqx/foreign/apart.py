"""Run foreign code so that its changes to this process are undone and every way of ending is an error."""

import contextlib
import inspect
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

from coala_eqx.terminal import Terminal

_WATCHED = ("builtins", "math", "numpy", "jax", "jax.lax", "jax.nn", "jax.numpy", "jax.random", "equinox")
"""Modules outside this package that a certificate depends on."""

_MISSING = object()
Value = TypeVar("Value")


class ForeignError(ValueError):
    """Foreign code failed. The message is one line."""


def run_apart(function: Callable[[], Value], *, program: str) -> Value:
    """Call foreign code, and restore the process afterwards.

    Its prints go to standard error, its command line is `program` alone, and its input is empty. Afterwards streams,
    working directory, command line, path, configuration of JAX, limits, warning filters and signal handlers are as
    before.

    **Raises** `ForeignError` with whatever the code raised, including `SystemExit`, and if the code replaced a part of
    this package, of JAX or of NumPy; `KeyboardInterrupt` only if somebody pressed Ctrl-C.
    """
    parts = {place: dict(names) for place, names in _parts()}
    pressed: list[int] = []
    with _undone(), _watch_interrupts(pressed):
        sys.argv = [program]
        try:
            value = function()
        except ForeignError:
            raise
        except BaseException as error:
            if pressed and isinstance(error, KeyboardInterrupt):
                raise
            raise ForeignError(describe(error)) from error
        finally:
            changed = _put_back(parts)
    if changed:
        raise ForeignError(
            f"it replaces {', '.join(sorted(changed)[:3])}, so another program than this package would be certified; "
            f"write a class of your own instead"
        )
    return value


def describe(error: BaseException) -> str:
    """The type and the text of an error, in one line. For `SystemExit` it adds that Python ends."""
    words = in_one_line(error, str)
    name = type(error).__name__
    end = " (it ends Python)" if isinstance(error, SystemExit) else ""
    return f"{name}: {words}{end}" if words else f"{name}{end}"


def in_one_line(value: Any, words: Callable[[Any], str] = repr) -> str:
    """The text of a foreign object in one line, cut if it is long. Its `repr` is foreign code, too, and may fail."""
    try:
        line = " ".join(words(value).split())
    except BaseException:
        line = "" if isinstance(value, BaseException) else f"a {type(value).__name__}"
    return f"{line[:400]} …" if len(line) > 400 else line


@contextlib.contextmanager
def _undone() -> Iterator[None]:
    """Undo what the block does to the process."""
    streams = sys.stdin, sys.stdout, sys.stderr
    folder, argv, path, hooks = _folder(), sys.argv[:], sys.path[:], (sys.excepthook, sys.displayhook)
    limit, numpy_errors, settings = sys.getrecursionlimit(), np.geterr(), dict(jax.config.values)
    trace, profile = sys.gettrace(), sys.getprofile()
    aside = Terminal(sys.stderr)
    with warnings.catch_warnings(), open(os.devnull, encoding="utf-8") as nothing:  # noqa: PTH123
        sys.stdin, sys.stdout, sys.stderr = nothing, aside, aside
        try:
            yield
        finally:
            sys.stdin, sys.stdout, sys.stderr = streams
            sys.argv, sys.path[:], (sys.excepthook, sys.displayhook) = argv, path, hooks
            sys.setrecursionlimit(limit)
            np.seterr(**numpy_errors)
            if sys.gettrace() is not trace:
                sys.settrace(trace)
            if sys.getprofile() is not profile:
                sys.setprofile(profile)
            if folder is not None and _folder() != folder:
                os.chdir(folder)
            _restore_settings(settings)


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 (a Path would be made of what may not exist)
    except OSError:
        return None


def _restore_settings(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if jax.config.values.get(name) != value:
            try:
                jax.config.update(name, value)
            except Exception as error:
                raise ForeignError(
                    f"it changes JAX's setting {name}, which certificates depend on and which cannot be restored: "
                    f"{error}"
                ) from error


@contextlib.contextmanager
def _watch_interrupts(pressed: list[int]) -> Iterator[None]:
    """Record every Ctrl-C in `pressed`, to tell it from a `KeyboardInterrupt` that the block raises itself. Signal
    handlers that the block installs are removed.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield  # Ctrl-C does not reach this thread, or not through Python
        return

    def note(number: int, frame: Any) -> None:
        pressed.append(number)
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _parts() -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and their values, for each module and class."""
    for name, module in list(sys.modules.items()):
        ours = name.partition(".")[0] == "coala_eqx"
        if module is not None and (ours or name in _WATCHED):
            yield name, vars(module)
            for value in list(vars(module).values()) if ours else ():
                if inspect.isclass(value) and value.__module__ == name:
                    public = {
                        key: of for key, of in vars(value).items() if key == "__call__" or not key.startswith("_")
                    }
                    yield f"{name}.{value.__qualname__}", public


def _put_back(parts: dict[str, dict[str, Any]]) -> list[str]:
    """Restore what was replaced in modules and classes. **Returns** the names of everything that was replaced."""
    changed = []
    for place, names in _parts():
        for key, value in parts.get(place, {}).items():
            if key.startswith("__") and key != "__call__":
                continue
            if names.get(key, _MISSING) is not value:
                changed.append(f"{place}.{key}")
                owner: Any = sys.modules.get(place) or _class(place)
                setattr(owner, key, value)
    return changed


def _class(place: str) -> Any:
    module, _, name = place.rpartition(".")
    return getattr(sys.modules[module], name)
