"""Kept runs: what the docs show of them, beside their pictures."""

import importlib
import json
from pathlib import Path
from typing import Any

import polars as pl

from experiments.claims import DILEMMA

RECORDS = "records.parquet"

AGAIN = "again.csv"
"""File of final rewards of seeds whose records are not kept. A seed is given by `seed`, the `--set seed` of its run,
and `number`.
"""


def kept_folders(root: Path) -> list[Path]:
    """Folders of all kept runs, in the order of the experiments' list. Other games come last."""
    figures = list(importlib.import_module("experiments.__main__").FIGURES)
    folders = [folder for folder in root.iterdir() if (folder / "origin.json").exists()]
    return sorted(folders, key=lambda one: (game_of(one) != DILEMMA, figures.index(made(one)["figure"]), one.name))


def records_of(folder: Path) -> list[dict[str, Any]]:
    """All kept records, and final rewards of further seeds (`panel` is `again`)."""
    return [*pl.read_parquet(folder / RECORDS).to_dicts(), *again(folder)]


def again(folder: Path) -> list[dict[str, Any]]:
    """Final rewards of further seeds, as records with seeds of their own."""
    if not (folder / AGAIN).exists():
        return []
    table = pl.read_csv(folder / AGAIN, comment_prefix="#")
    return [
        {
            "part": row["estimator"],
            "panel": "again",
            "estimator": row["estimator"],
            "seed": 1000 * row["seed"] + row["number"],
            "reward": row["reward"],
            "finite": 1.0,
        }
        for row in table.iter_rows(named=True)
    ]


def made(folder: Path) -> dict[str, Any]:
    """The figure of a run, and its settings, as a dictionary."""
    return json.loads((folder / "settings.json").read_text(encoding="utf-8"))


def origins(folder: Path) -> list[dict[str, Any]]:
    """Commands, versions and machines that made a run."""
    return json.loads((folder / "origin.json").read_text(encoding="utf-8"))


def claims_of(folder: Path) -> list[dict[str, Any]]:
    """The kept claims of a run."""
    return json.loads((folder / f"{made(folder)['figure']}.json").read_text(encoding="utf-8"))


def game_of(folder: Path) -> str:
    """The game of a run: a name or a file."""
    return made(folder)["settings"].get("payoffs", DILEMMA)


def heading(folder: Path) -> str:
    """Heading of the run's section."""
    title = document(folder).partition("\n")[0].rstrip(".")
    if game_of(folder) == DILEMMA:
        return title
    return f"{title.partition(':')[0]} in another game: {Path(game_of(folder)).stem}"


def document(folder: Path) -> str:
    """Docstring of the run's experiment."""
    return importlib.import_module(f"experiments.{made(folder)['figure'].replace('-', '_')}").__doc__ or ""
