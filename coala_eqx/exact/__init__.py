"""Ground truth, by enumerating every outcome of a shaping problem."""

from coala_eqx.exact.enumeration import LIMIT as LIMIT
from coala_eqx.exact.enumeration import count_outcomes as count_outcomes
from coala_eqx.exact.expectation import expectation as expectation
from coala_eqx.exact.expectation import expected_return as expected_return
from coala_eqx.exact.expectation import gradient as gradient
from coala_eqx.exact.moments import Moments as Moments
from coala_eqx.exact.moments import moments as moments
from coala_eqx.exact.objectives import OBJECTIVES as OBJECTIVES
from coala_eqx.returns import episode_returns as episode_returns
