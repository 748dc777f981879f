"""Figures, one file each. Each reads the records of an experiment and draws them; nothing is trained."""
