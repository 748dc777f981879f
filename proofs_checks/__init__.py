"""Every theorem, equation and claim of the paper, as a check that can fail; one file each.

The head of a file states what is claimed and why it is true. Its functions `check_…` take an estimator, or a formula,
and what it is tried on, so that other estimators can be put to the same question; its tests draw what they are tried
on with hypothesis, and enumerate every outcome.
"""
