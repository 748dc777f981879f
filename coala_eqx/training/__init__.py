"""Training on an estimator's advantages."""

from coala_eqx.training.batch import Batch as Batch
from coala_eqx.training.batch import in_a_row as in_a_row
from coala_eqx.training.batch import less_the_others as less_the_others
from coala_eqx.training.batch import make_batch as make_batch
from coala_eqx.training.checkpoints import Checkpoints as Checkpoints
from coala_eqx.training.checkpoints import CorruptCheckpointWarning as CorruptCheckpointWarning
from coala_eqx.training.fit import check_symmetric as check_symmetric
from coala_eqx.training.mesh import make_mesh as make_mesh
from coala_eqx.training.mesh import place as place
from coala_eqx.training.noise import GradientNoise as GradientNoise
from coala_eqx.training.noise import gradient_noise as gradient_noise
from coala_eqx.training.pieces import chunk_for_cache as chunk_for_cache
from coala_eqx.training.pieces import group_for_cache as group_for_cache
from coala_eqx.training.pool import Pool as Pool
from coala_eqx.training.pool import PoolInfo as PoolInfo
from coala_eqx.training.pool import PoolState as PoolState
from coala_eqx.training.pool import members as members
from coala_eqx.training.pool import number_of as number_of
from coala_eqx.training.pool import without_co_players as without_co_players
from coala_eqx.training.updates import A2C as A2C
from coala_eqx.training.updates import PPO as PPO
from coala_eqx.training.updates import AbstractUpdate as AbstractUpdate
from coala_eqx.training.updates import UpdateInfo as UpdateInfo
from coala_eqx.training.updates import entropy_of as entropy_of
