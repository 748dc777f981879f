"""Files that `coala-eqx verify` writes.

They are checked before anything is computed, and are never left half-written.
"""

import dataclasses
import datetime
import json
import math
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from coala_eqx.extras import require_matplotlib
from coala_eqx.verification.certificate import Certificate
from coala_eqx.verification.problems import NamedProblem
from coala_eqx.verification.structural import StructuralCertificate
from coala_eqx.version import __version__

_STREAM = re.compile(r"/dev/(stdin|stdout|stderr|fd/[012])|/proc/self/fd/[012]")

PICTURES = (".png", ".pdf", ".svg")
"""Accepted suffixes of pictures."""


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[str] = (), streams: Iterable[Any] = ()) -> None:
    """Refuse files that cannot be written, before anything is computed.

    **Arguments:**

    - `outputs`: paths, keyed by option. The path of `--json` may have any name; the others must be pictures.
    - `inputs`: files that are read and must not be overwritten.
    - `streams`: streams that tables are printed to and that must not be overwritten.

    **Raises** `ValueError` that names the option.
    """
    seen = {Path(place).resolve(): f"{place!r}, which is read" for place in inputs}
    for option, path in outputs.items():
        if path is None:
            continue
        try:
            if _STREAM.fullmatch(str(path)) or any(_is_stream(path, stream) for stream in streams):
                raise ValueError(
                    f"{option} must name a file of its own, but {str(path)!r} is where tables are printed."
                )
            place = path.resolve()
            if place in seen:
                raise ValueError(f"{option} would overwrite {seen[place]}; name another file.")
            if place.is_dir():
                raise ValueError(f"{option} must name a file, but {str(path)!r} is a folder.")
            if not _is_special(path):
                seen[place] = f"what {option} writes"
                _check_writable(option, path, place)
        except OSError as error:
            raise ValueError(f"{option} cannot write {str(path)!r}: {error.strerror or error}.") from error
        if option != "--json":
            _check_picture(option, path)


def write_safely(path: Path, write: Callable[[Path], None]) -> None:
    """Call `write` with a temporary path beside `path`, and move the file into place once it is complete.

    A path that is not a regular file, such as `/dev/stdout`, is written to directly.
    """
    place = path.resolve()
    if _is_special(path):
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder, f"whole{path.suffix}")
            write(whole)
            with path.open("wb") as stream:
                stream.write(whole.read_bytes())
        return
    beside = place.with_name(f".{place.stem[:100]}.{os.getpid()}{place.suffix}")
    try:
        write(beside)
        if place.exists():
            shutil.copymode(place, beside)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)


def write_json(
    path: Path,
    certificates: Sequence[Certificate],
    problems: Sequence[NamedProblem],
    settings: Mapping[str, Any],
    structures: Sequence[StructuralCertificate] = (),
    *,
    complete: bool = True,
) -> None:
    """Write the content of the tables, unrounded, together with versions and settings. Infinities and NaN become
    `null`.

    **Raises** `OSError` if the file cannot be written.
    """
    content = {
        "coala_eqx": __version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "settings": settings,
        "complete": complete,
        "structural": [_structural_entries(structure) for structure in structures],
        "problems": [
            {
                "name": named.name,
                "game": named.game,
                "batch": named.problem.batch,
                "episodes": named.problem.episodes,
                "steps": named.problem.steps,
                "policy": type(named.policy).__name__,
                "learner": named.learner,
            }
            for named in problems
        ],
        "certificates": [_entries(certificate) for certificate in certificates],
    }
    text = json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # Bytes of a path that are not UTF-8 become surrogates. JSON can spell them, UTF-8 cannot.
    write_safely(path, lambda place: _store(place, text.encode("utf-8", "backslashreplace")))


def _is_special(path: Path) -> bool:
    """Whether the path is a pipe or a device. The path is not resolved, because the real path of a pipe does not
    exist.
    """
    return path.exists() and not path.is_file()


def _is_stream(path: Path, stream: Any) -> bool:
    """Whether the stream is redirected to this file."""
    try:
        printed, file = os.fstat(stream.fileno()), path.stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(file.st_mode) and os.path.samestat(printed, file)


def _store(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _entries(certificate: Any) -> dict[str, Any]:
    """The fields of a certificate, without arrays and without the estimator itself."""
    fields = {field.name: getattr(certificate, field.name) for field in dataclasses.fields(certificate) if field.repr}
    return {name: value for name, value in fields.items() if not isinstance(value, np.ndarray | jax.Array)}


def _structural_entries(structure: StructuralCertificate) -> dict[str, Any]:
    """The fields of a structural certificate, and the counterexample to a refuted claim as a sentence."""
    found = None if structure.kept else structure.counterexample
    shaped = None if structure.learner_critic is None else dataclasses.asdict(structure.learner_critic)
    counterexample = None if found is None else found.text
    return _entries(structure) | {
        "kept": structure.kept,
        "counterexample": counterexample,
        "learner_critic": shaped,
    }


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer | np.bool):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return getattr(value, "text", None) or str(value)


def _check_writable(option: str, path: Path, place: Path) -> None:
    folder = place.parent
    if not folder.is_dir():
        raise ValueError(f"{option} cannot write {str(path)!r}: there is no folder {str(folder)!r}.")
    if place.exists() and not os.access(place, os.W_OK):
        raise ValueError(f"{option} cannot write {str(path)!r}: the file is read-only.")
    with tempfile.NamedTemporaryFile(dir=folder, prefix="."):
        pass


def _check_picture(option: str, path: Path) -> None:
    if path.suffix.lower() not in PICTURES:
        raise ValueError(f"{option} must end with one of {', '.join(PICTURES)}, but is {str(path)!r}.")
    require_matplotlib(option)
