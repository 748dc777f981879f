"""Traced functions carried out by NumPy, one operation after the other, without compiling them."""
