"""Runs on disk: folders, checkpoints, progress, writers, agents, and the processes that share them."""

from coala_eqx.runs.agents import load_agents as load_agents
from coala_eqx.runs.checkpoints import Checkpoints as Checkpoints
from coala_eqx.runs.checkpoints import CorruptCheckpointWarning as CorruptCheckpointWarning
from coala_eqx.runs.directory import Part as Part
from coala_eqx.runs.meters import AbstractMeter as AbstractMeter
from coala_eqx.runs.meters import Silent as Silent
from coala_eqx.runs.run import Run as Run
from coala_eqx.runs.stopping import Stopped as Stopped
from coala_eqx.runs.writers import AbstractWriter as AbstractWriter
from coala_eqx.runs.writers import TensorBoard as TensorBoard
from coala_eqx.runs.writers import WeightsAndBiases as WeightsAndBiases
