"""What the checks share: what is drawn, how large rounding can be, what was seen, gradients without scores."""
