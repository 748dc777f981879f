"""Shared parts of the checks: cases, rounding bounds, the ledger of comparisons, and gradients without scores."""
