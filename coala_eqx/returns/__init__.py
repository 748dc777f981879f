"""Exact returns of fixed policies, differentiable."""

from coala_eqx.returns.discounted import discounted_returns as discounted_returns
from coala_eqx.returns.discounted import memory_one_returns as memory_one_returns
from coala_eqx.returns.episodic import episode_returns as episode_returns
from coala_eqx.returns.linear_quadratic import quadratic_shaping_return as quadratic_shaping_return
