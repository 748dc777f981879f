"""Noise and directions of gradients over training, with a critic that sees the learner."""

from paper_figs.noise import draw

__all__ = ["draw"]
