"""Trained agents, read back from a run's folder."""

import importlib
import json
from pathlib import Path

import equinox as eqx
import jax

from coala_eqx.policies import AbstractPolicy
from coala_eqx.runs import files
from coala_eqx.runs.leaves import differences, leaves_of
from coala_eqx.runs.names import file_name
from coala_eqx.runs.trees import read_tree
from coala_eqx.training import Pool
from coala_eqx.training.play import by_agent
from experiments.sampled import Settings


def load_agents(path: Path, part: str) -> tuple[Settings, Pool, tuple[AbstractPolicy, ...]]:
    """Read the agents of a part, with its settings and its pool: one policy each, leaves `[seeds, …]`.

    **Raises** `ValueError` if the folder holds no run of a sampled figure, or the part is none of it, or not trained.
    """
    try:
        made_by = json.loads((path / "settings.json").read_text(encoding="utf-8"))
        experiment = importlib.import_module(f"experiments.{made_by['figure'].replace('-', '_')}")
        given = {name: tuple(v) if isinstance(v, list) else v for name, v in made_by["settings"].items()}
        here = {"devices": 1, "chunk": 1}  # which were of the machine that trained
        trainings = type(experiment.PRESETS["cpu"])(**given | here).trainings()
    except (OSError, KeyError, ImportError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} holds no run of a sampled figure: {error}") from error
    if part not in trainings:
        raise ValueError(f"{path} has no part {part!r}, but {', '.join(map(repr, trainings))}.")
    settings, pool = trainings[part]
    name = f"agents-{file_name(part)}"
    if not any((path / f"{name}{ending}").exists() for ending in (".tree", ".eqx")):
        lender = getattr(experiment, "RECORDS_OF", None)
        if lender is not None and (path / "records.parquet").exists():
            raise ValueError(f"{path / name}.tree does not exist: these records are {lender}'s, and so are the agents.")
        raise ValueError(f"{path / name}.tree does not exist: this part has not come to its end.")
    with jax.enable_x64(False):
        agents = _read(path / f"{name}.tree", pool, settings)
    return settings, pool, agents


def _read(file: Path, pool: Pool, settings: Settings) -> tuple[AbstractPolicy, ...]:
    """The agents; **raises** `ValueError` unless they are as the settings make them."""
    expected = eqx.filter_eval_shape(lambda: by_agent(pool, settings.init(pool).groups))
    if file.exists():
        agents = read_tree(file)
        if found := differences(leaves_of(agents), leaves_of(expected)):
            raise ValueError(f"{file} holds no agents as its settings make them: {'; '.join(found)}.")
        return agents
    file, groups = file.with_suffix(".eqx"), eqx.filter_eval_shape(settings.init, pool).groups  # of a former version
    try:
        return by_agent(pool, files.read_leaves(file, groups))
    except (OSError, RuntimeError, ValueError) as error:  # what Equinox finds is named at its root
        reason = " ".join(str(_root(error)).split())
        raise ValueError(f"{file} holds no agents as its settings make them: {reason}.") from error


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
