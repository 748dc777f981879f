"""Optional dependencies, and how to install them."""

import importlib
from typing import Any


def how_to_get(packages: str, extra: str) -> str:
    """The command that installs packages anywhere, and the one for a clone."""
    return f"pip install {packages} (in a clone: pip install -e '.[{extra}]')"


def require_matplotlib(who: str) -> None:
    """Check that matplotlib can be imported.

    **Raises** `ImportError` that says how to install it. The message begins with `who`.
    """
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 (an optional dependency)
    except ImportError as error:
        raise ImportError(f"{who} needs matplotlib: {how_to_get('matplotlib', 'figures')}; {error}.") from error


def require_polars() -> Any:
    """Polars, imported on first use. **Raises** `ImportError` that says how to install it."""
    try:
        return importlib.import_module("polars")
    except ImportError as error:
        raise ImportError(f"Records need polars: {how_to_get('polars', 'training')}; {error}.") from error
