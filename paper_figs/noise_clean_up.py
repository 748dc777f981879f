"""Noise and directions of gradients over training, in CleanUp-lite."""

from paper_figs.noise import draw

__all__ = ["draw"]
