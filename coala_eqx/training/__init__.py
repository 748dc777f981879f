"""Training of meta agents: who meets whom, how they learn, on which devices, and the driver."""

import importlib
import warnings
from typing import Any

from coala_eqx.training.agent import Agent as Agent
from coala_eqx.training.agent import NaiveLearners as NaiveLearners
from coala_eqx.training.algorithms import A2C as A2C
from coala_eqx.training.algorithms import PPO as PPO
from coala_eqx.training.algorithms import AbstractAlgorithm as AbstractAlgorithm
from coala_eqx.training.algorithms import Follow as Follow
from coala_eqx.training.algorithms import UpdateInfo as UpdateInfo
from coala_eqx.training.api import Trained as Trained
from coala_eqx.training.api import train as train
from coala_eqx.training.batch import Batch as Batch
from coala_eqx.training.batch import flatten_meta_batch as flatten_meta_batch
from coala_eqx.training.batch import make_batch as make_batch
from coala_eqx.training.batch import subtract_leave_one_out as subtract_leave_one_out
from coala_eqx.training.critics import CriticTraining as CriticTraining
from coala_eqx.training.deprecated import FORMER
from coala_eqx.training.driver import STOP as STOP
from coala_eqx.training.driver import Moment as Moment
from coala_eqx.training.fit import check_symmetric as check_symmetric
from coala_eqx.training.info import PoolInfo as PoolInfo
from coala_eqx.training.kappa import KappaByCosine as KappaByCosine
from coala_eqx.training.layout import Layout as Layout
from coala_eqx.training.layout import make_mesh as make_mesh
from coala_eqx.training.layout import place as place
from coala_eqx.training.noise import GradientNoise as GradientNoise
from coala_eqx.training.noise import gradient_noise as gradient_noise
from coala_eqx.training.play import without_co_players as without_co_players
from coala_eqx.training.pool import Pool as Pool
from coala_eqx.training.state import PoolState as PoolState
from coala_eqx.training.state import members as members
from coala_eqx.training.state import number_of as number_of


def __getattr__(name: str) -> Any:
    """Names of the previous version. They still work, and warn."""
    if name not in FORMER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place, new = FORMER[name].split(":")
    warnings.warn(f"coala_eqx.training.{name} is deprecated: use {place}.{new}.", DeprecationWarning, stacklevel=2)
    return getattr(importlib.import_module(place), new)
