"""Experiments, one readable file each: settings, measurements, and the claims that judge them."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
"""Silence XLA's warnings about long compilation, which would break the progress bar. JAX reads this variable once."""
