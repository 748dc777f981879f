"""The benchmarks of `coala-eqx bench`.

They report ratios of quantities measured in one run, because machines differ and are noisy.
"""

import jax
from rich.console import Console

from coala_eqx.benchmarks.enumeration import print_enumeration
from coala_eqx.benchmarks.games import print_games
from coala_eqx.benchmarks.scaling import print_scaling
from coala_eqx.benchmarks.training import print_training
from coala_eqx.benchmarks.verify import print_verify


def print_all(console: Console) -> None:
    """Run all benchmarks and print a table for each. This takes about ten minutes on two cores."""
    with jax.enable_x64(True):
        print_enumeration(console)
    with jax.enable_x64(False):
        print_training(console)
        print_scaling(console)
        print_games(console)
    print_verify(console)
