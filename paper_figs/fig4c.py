"""Figure 4C: as Figure 4A, with the partial gradient added."""

from pathlib import Path

from paper_figs import fig4a
from paper_figs.style import styled


@styled
def draw(records: Path, picture: Path) -> None:
    """As Figure 4A."""
    fig4a.draw(records, picture)
