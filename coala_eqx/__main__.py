"""`python -m coala_eqx`: the command `coala-eqx`."""

from coala_eqx.cli import entry_point

if __name__ == "__main__":
    entry_point()
