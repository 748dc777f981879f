"""Shaping in continuous time and in steps: how far apart they are, meta-training, and the learner's path."""

from pathlib import Path
from typing import Any

import polars as pl

from paper_figs.curves import curve, finish, panels, read, rewards_of_note
from paper_figs.style import ROLES, styled

_LINES: dict[str, dict[str, Any]] = {"flow": {"ls": "-"}, "ascent": {"ls": "--"}}
_NAMES = {"flow": "continuous time", "ascent": "steps"}


@styled
def draw(records: Path, picture: Path) -> None:
    """Left: root mean square errors over random pairs. Middle: two agents, each trained against one kind of learner, on
    the last step of a learner of that kind. Right: the agent trained in continuous time against both kinds. Medians and
    quartiles over seeds.
    """
    table = read(records)
    figure, (errors, training, path) = panels(3, height=2.6)
    by_step = table.filter(pl.col("part") == "errors").sort("step")
    errors.loglog(by_step["step"], by_step["return_error"], "o-", color="#000000", ms=3, label="mean return")
    errors.loglog(by_step["step"], by_step["gradient_error"], "s-", color="#CC79A7", ms=3, label="its gradient")
    errors.loglog(by_step["step"], by_step["step"] / 50, color="#999999", lw=0.8, ls=":", label="∝ step")
    finish(errors, "step η of the learner", "error relative to\ncontinuous time")
    for panel, kind_of_record, own in ((training, "training", True), (path, "path", False)):
        rows = table.filter(pl.col("panel") == kind_of_record)
        for other, line in _LINES.items():
            of_agent = rows.filter(pl.col("kind") == (other if own else "flow"))
            for column, role in (("shaping", "shaper"), ("naive", "naive")):
                named = own and other == "flow"
                look = {"color": ROLES[role]["color"], "label": ROLES[role]["label"] if named else None} | line
                curve(panel, of_agent, f"{column}_{other}", **look)
    for other, line in _LINES.items():
        path.plot([], [], color="#666666", label=f"learners in {_NAMES[other]}", **line)
    lines = rewards_of_note(records)
    finish(training, "meta-training iteration\n(each with its own kind)", "reward per step", lines)
    finish(path, "time of the learner / η\n(one agent, both kinds)", "", lines)
    figure.savefig(picture)
