"""Figure 4C: Figure 4A with the partial gradient added."""

from pathlib import Path

from paper_figs import fig4a
from paper_figs.style import styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Mean and standard error over seeds, of the first agent."""
    fig4a.draw(records, picture)
