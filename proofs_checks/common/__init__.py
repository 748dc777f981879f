"""Shared parts of the checks: random cases, rounding bounds, the ledger of comparisons, and gradients without
scores.
"""
