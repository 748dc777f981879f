"""What the checks share: what is drawn, how large rounding can be, the ledger of what was seen, and score-free gradients."""
