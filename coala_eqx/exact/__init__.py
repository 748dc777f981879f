"""Ground truth, by enumerating every outcome of a shaping problem."""

from coala_eqx.estimators.objectives import OBJECTIVES as OBJECTIVES
from coala_eqx.exact.critics import exact_critic as exact_critic
from coala_eqx.exact.critics import own_return as own_return
from coala_eqx.exact.critics import sums_by_history as sums_by_history
from coala_eqx.exact.enumeration import LIMIT as LIMIT
from coala_eqx.exact.enumeration import count_outcomes as count_outcomes
from coala_eqx.exact.expectation import expectation as expectation
from coala_eqx.exact.expectation import expected_return as expected_return
from coala_eqx.exact.expectation import gradient as gradient
from coala_eqx.exact.moments import Moments as Moments
from coala_eqx.exact.moments import moments as moments
from coala_eqx.returns import discounted_returns as discounted_returns
from coala_eqx.returns import episode_returns as episode_returns
from coala_eqx.returns import quadratic_shaping_return as quadratic_shaping_return
