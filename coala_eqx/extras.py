"""Packages that only some parts need, and how to get them."""

import importlib
from typing import Any


def how_to_get(packages: str, extra: str) -> str:
    """A command that installs them anywhere, and one for a clone, which pins nothing else."""
    return f"pip install {packages} (in a clone: pip install -e '.[{extra}]')"


def require_matplotlib(who: str) -> None:
    """Import matplotlib.

    **Raises** `ImportError` that says how to get it; `who` begins the sentence.
    """
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 (an optional dependency)
    except ImportError as error:
        raise ImportError(f"{who} needs matplotlib: {how_to_get('matplotlib', 'figures')}; {error}.") from error


def require_polars() -> Any:
    """Polars, which is imported where it is used; **raises** `ImportError` that says how to get it."""
    try:
        return importlib.import_module("polars")
    except ImportError as error:
        raise ImportError(f"Records need polars: {how_to_get('polars', 'training')}; {error}.") from error
