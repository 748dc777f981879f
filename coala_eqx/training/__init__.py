"""Training of meta agents: who meets whom, how they learn, on which devices, and the driver."""

from coala_eqx.training.agent import Agent as Agent
from coala_eqx.training.agent import NaiveLearners as NaiveLearners
from coala_eqx.training.algorithms import A2C as A2C
from coala_eqx.training.algorithms import PPO as PPO
from coala_eqx.training.algorithms import AbstractAlgorithm as AbstractAlgorithm
from coala_eqx.training.algorithms import Follow as Follow
from coala_eqx.training.algorithms import UpdateInfo as UpdateInfo
from coala_eqx.training.batch import Batch as Batch
from coala_eqx.training.batch import flatten_meta_batch as flatten_meta_batch
from coala_eqx.training.batch import make_batch as make_batch
from coala_eqx.training.batch import subtract_leave_one_out as subtract_leave_one_out
from coala_eqx.training.fit import check_symmetric as check_symmetric
from coala_eqx.training.info import PoolInfo as PoolInfo
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
