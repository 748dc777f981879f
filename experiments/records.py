"""A run directory: settings, records and claims, so that a run can be interrupted and resumed."""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from coala_eqx.version import __version__


class RunDirectory:
    """`settings.json`, `records.parquet` and `FIGURE.json` below one folder.

    **Arguments:**

    - `path`: made if it does not exist.
    - `figure`, `settings`: what is run; a dataclass.

    **Raises** `ValueError` if the folder holds a run of other settings.
    """

    def __init__(self, path: Path, figure: str, settings: Any):
        self.path = path
        self.figure = figure
        path.mkdir(parents=True, exist_ok=True)
        made_by = {"figure": figure, "version": __version__, "settings": _plain(dataclasses.asdict(settings))}
        file = path / "settings.json"
        if file.exists() and (found := json.loads(file.read_text())) != made_by:
            raise ValueError(
                f"{path} holds a run of other settings, {found}; the settings asked for are {made_by}. Give another "
                f"--run-dir, or remove the folder."
            )
        _write(file, json.dumps(made_by, indent=2) + "\n")

    def load(self) -> list[dict[str, Any]]:
        """The records so far."""
        file = self.path / "records.parquet"
        return pl.read_parquet(file).to_dicts() if file.exists() else []

    def save(self, records: Sequence[dict[str, Any]]) -> None:
        """Replace the records, at once or not at all."""
        temporary = self.path / ".records.parquet"
        pl.DataFrame(records).write_parquet(temporary)
        os.replace(temporary, self.path / "records.parquet")  # noqa: PTH105 (atomic on every system)

    def save_claims(self, claims: Sequence[dict[str, Any]]) -> None:
        """Write `FIGURE.json`."""
        _write(self.path / f"{self.figure}.json", json.dumps(list(claims), indent=2) + "\n")


def claim(text: str, measured: float, relation: str, threshold: float) -> dict[str, Any]:
    """A claim that is judged by a number: `relation` is `"≤"` or `"≥"`."""
    holds = measured <= threshold if relation == "≤" else measured >= threshold
    return {
        "claim": text,
        "measured": measured,
        "relation": relation,
        "threshold": threshold,
        "holds": bool(holds),
    }


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _write(file: Path, text: str) -> None:
    temporary = file.with_name("." + file.name)
    temporary.write_text(text)
    os.replace(temporary, file)  # noqa: PTH105
