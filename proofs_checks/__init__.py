"""Checks of every theorem, equation and claim of the paper, one file each. Each check can fail.

The head of a file states the claim and why it is true. Its functions `check_…` take an estimator or a formula, and the
case to try it on, so that other estimators can be put to the same question. Its tests draw cases with hypothesis and
enumerate every outcome.
"""
