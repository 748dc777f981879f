"""Evaluate traced functions by NumPy, one operation after the other, without compiling them."""
