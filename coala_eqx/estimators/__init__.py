"""Gradient estimators, one per file."""

from coala_eqx.estimators.base import AbstractEstimator as AbstractEstimator
from coala_eqx.estimators.base import AbstractScoreFunctionEstimator as AbstractScoreFunctionEstimator
from coala_eqx.estimators.base import EstimateInfo as EstimateInfo
from coala_eqx.estimators.base import Inapplicable as Inapplicable
from coala_eqx.estimators.batch_unaware import BatchUnaware as BatchUnaware
from coala_eqx.estimators.coala_hybrid import CoalaHybrid as CoalaHybrid
from coala_eqx.estimators.coala_pg import CoalaPG as CoalaPG
from coala_eqx.estimators.critics import AbstractLearnerCritic as AbstractLearnerCritic
from coala_eqx.estimators.critics import LearnerCritic as LearnerCritic
from coala_eqx.estimators.critics import ShapingValues as ShapingValues
from coala_eqx.estimators.lola_coala import LolaCoala as LolaCoala
from coala_eqx.estimators.lola_dice import LolaDice as LolaDice
from coala_eqx.estimators.lola_exact import LolaExact as LolaExact
from coala_eqx.estimators.m_fos import MFOS as MFOS
from coala_eqx.estimators.reinforce import Reinforce as Reinforce
