"""One readable file per experiment: settings, what is measured, and the claims it is judged by."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
"""XLA's alarm of what takes long to compile, as all training does, would run through the bar; JAX reads it once."""
