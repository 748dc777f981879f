"""Section H.3: COALA-PG and M-FOS in one pool, and M-FOS alone."""

from pathlib import Path

import polars as pl

from paper_figs.curves import DEVIATION, curve, finish, panels, read, rewards_of_note
from paper_figs.style import look, styled


@styled
def draw(records: Path, picture: Path) -> None:
    """Rewards of meta agents against each other, mean and standard deviation over seeds. On the right each seed is the
    mean of its agents.
    """
    table = read(records)
    pools = table["pool"].unique(maintain_order=True)
    figure, axes = panels(len(pools), height=2.4)
    for panel, pool in zip(axes, pools, strict=True):
        for (name,), rows in table.filter(pl.col("pool") == pool).group_by("estimator", maintain_order=True):
            curve(panel, rows, "together", DEVIATION, **look(name))
        finish(panel, f"meta-training iteration\n(pool: {pool})", "reward, meta against meta", rewards_of_note(records))
    figure.savefig(picture)


def write_table(records: Path, page: Path) -> None:
    """Final rewards as in the paper: mean and standard deviation over seeds (and agents)."""
    table = read(records)
    last = table.filter(pl.col("iteration") == pl.col("iteration").max())
    lines = ["| pool | agent | against each other | against naive learners |", "| --- | --- | ---: | ---: |"]
    for (pool, name), rows in last.group_by("pool", "estimator", maintain_order=True):
        cells = [f"{rows[c].mean():.3f} ± {rows[c].std() or 0:.3f}" for c in ("together", "reward")]
        lines.append(f"| {pool} | {look(name)['label']} | {' | '.join(cells)} |")
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
