"""Algorithms: rules by which a meta agent's policy and critic follow its estimator."""

from coala_eqx.training.algorithms.a2c import A2C as A2C
from coala_eqx.training.algorithms.base import AbstractActorCritic as AbstractActorCritic
from coala_eqx.training.algorithms.base import AbstractAlgorithm as AbstractAlgorithm
from coala_eqx.training.algorithms.base import UpdateInfo as UpdateInfo
from coala_eqx.training.algorithms.follow import Follow as Follow
from coala_eqx.training.algorithms.ppo import PPO as PPO
