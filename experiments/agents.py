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
from coala_eqx.runs.settings import named
from coala_eqx.runs.trees import read_tree
from coala_eqx.training import Pool
from coala_eqx.training.play import by_agent
from experiments.sampled import Settings
from experiments.settings import override, renamed


def load_agents(path: Path, part: str) -> tuple[Settings, Pool, tuple[AbstractPolicy, ...]]:
    """Read the settings, the pool and the agents of a part: one policy for each agent, leaves `[seeds, …]`.

    **Raises** `ValueError` if the folder holds no run of a sampled figure, or if the run has no such part or has not
    trained it.
    """
    try:
        made_by = json.loads((path / "settings.json").read_text(encoding="utf-8"))
        experiment = importlib.import_module(f"experiments.{made_by['figure'].replace('-', '_')}")
        default = type(experiment.PRESETS["cpu"])()
        here = {"devices": 1, "chunk": 1}  # the run's values fit the machine that trained
        trainings = override(default, renamed(made_by["settings"], named(default)) | here).trainings()
    except (OSError, KeyError, ImportError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} holds no run of a sampled figure: {error}") from error
    if part not in trainings:
        raise ValueError(f"{path} has no part {part!r}, but {', '.join(map(repr, trainings))}.")
    settings, pool = trainings[part]
    name = f"agents-{file_name(part)}"
    if not any((path / f"{name}{ending}").exists() for ending in (".tree", ".eqx")):
        lender = getattr(experiment, "RECORDS_OF", None)
        if lender is not None and (path / "records.parquet").exists():
            raise ValueError(
                f"{path / name}.tree does not exist: records and agents are those of a run of {lender}. Name its "
                "folder."
            )
        raise ValueError(f"{path / name}.tree does not exist: this part is not finished; run its command again.")
    with jax.enable_x64(False):
        agents = _read(path / f"{name}.tree", pool, settings)
    return settings, pool, agents


def _read(file: Path, pool: Pool, settings: Settings) -> tuple[AbstractPolicy, ...]:
    """The agents. **Raises** `ValueError` unless they have the structure, shapes and types that the settings give."""
    expected = eqx.filter_eval_shape(lambda: by_agent(pool, settings.init(pool).groups))
    if file.exists():
        agents = read_tree(file)
        if found := differences(leaves_of(agents), leaves_of(expected)):
            raise ValueError(f"{file} does not hold the agents that its settings describe: {'; '.join(found)}.")
        return agents
    file, groups = file.with_suffix(".eqx"), eqx.filter_eval_shape(settings.init, pool).groups  # of a former version
    try:
        return by_agent(pool, files.read_leaves(file, groups))
    except (OSError, RuntimeError, ValueError) as error:  # the first cause says what Equinox found
        reason = " ".join(str(_root(error)).split())
        raise ValueError(f"{file} does not hold the agents that its settings describe: {reason}.") from error


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
