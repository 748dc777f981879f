"""Exact returns of fixed policies, differentiable."""

from coala_eqx.returns.episodic import episode_returns as episode_returns
