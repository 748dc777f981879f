"""Trained agents, read back from a run's folder."""

import importlib
import json
from pathlib import Path

import equinox as eqx
import jax

from coala_eqx.policies import AbstractPolicy
from coala_eqx.runs import files
from coala_eqx.runs.progress import file_name
from coala_eqx.runs.settings import named
from coala_eqx.training import Pool
from coala_eqx.training.play import by_agent
from experiments.sampled import Settings
from experiments.settings import override, renamed


def load_agents(path: Path, part: str) -> tuple[Settings, Pool, tuple[AbstractPolicy, ...]]:
    """Load the settings and the pool of a part's training, and its agents, one policy each with leaves `[seeds, …]`.

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
    file = path / f"agents-{file_name(part)}.eqx"
    if not file.exists():
        lender = getattr(experiment, "RECORDS_OF", None)
        if lender is not None and (path / "records.parquet").exists():
            raise ValueError(
                f"{file} does not exist: records and agents are those of a run of {lender}; name its folder."
            )
        raise ValueError(f"{file} does not exist: this part is not finished; run its command again.")
    with jax.enable_x64(False):
        agents = eqx.filter_eval_shape(settings.init, pool).groups
        try:
            return settings, pool, by_agent(pool, files.read_leaves(file, agents))
        except (OSError, RuntimeError, ValueError) as error:  # the first cause says what Equinox found
            reason = " ".join(str(_root(error)).split())
            raise ValueError(f"{file} does not hold the agents that its settings describe: {reason}.") from error


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
