"""Learners: rules by which co-players learn between inner episodes."""

from coala_eqx.learners.base import AbstractGradientLearner as AbstractGradientLearner
from coala_eqx.learners.base import AbstractLearner as AbstractLearner
from coala_eqx.learners.base import Experience as Experience
from coala_eqx.learners.base import LearnerState as LearnerState
from coala_eqx.learners.base import NoGradientLearner as NoGradientLearner
from coala_eqx.learners.base import check_learner as check_learner
from coala_eqx.learners.base import gradient_learners as gradient_learners
from coala_eqx.learners.clipping import clip_by_global_norm as clip_by_global_norm
from coala_eqx.learners.counterfactual import coast as coast
from coala_eqx.learners.counterfactual import updates_without as updates_without
from coala_eqx.learners.drawing import AbstractDrawingLearner as AbstractDrawingLearner
from coala_eqx.learners.drawing import Draw as Draw
from coala_eqx.learners.exact import AbstractExactLearner as AbstractExactLearner
from coala_eqx.learners.exact import ExactAscent as ExactAscent
from coala_eqx.learners.exact import GradientFlow as GradientFlow
from coala_eqx.learners.exact import LearningPath as LearningPath
from coala_eqx.learners.optimising import check_optimiser as check_optimiser
from coala_eqx.learners.policy_gradient import PolicyGradient as PolicyGradient
from coala_eqx.learners.ppo import PPO as PPO
from coala_eqx.learners.protocol import AbstractUpdateRule as AbstractUpdateRule
from coala_eqx.learners.protocol import init_rule as init_rule
from coala_eqx.learners.protocol import update_rule as update_rule
from coala_eqx.learners.static import Static as Static
