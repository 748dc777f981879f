"""Figure 4C: with the partial gradient added, LOLA cooperates at every look-ahead."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from coala_eqx.runs.directory import Part
from experiments import fig4a
from experiments.claims import claim, final, over_seeds
from experiments.fig4a import LOOKAHEADS


@dataclasses.dataclass(frozen=True)
class Settings(fig4a.Settings):
    """Settings of Figure 4C."""

    shares: tuple[float, ...] = (1.0, 1.0, 0.75, 0.6, 0.4)
    """Share of LOLA's gradient (p_naive) for 1, 2, 3, 10 and 20 look-aheads. The rest is the partial gradient's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.shares) != len(LOOKAHEADS) or not all(0 <= share <= 1 for share in self.shares):
            raise ValueError(f"`shares` must be {len(LOOKAHEADS)} numbers from 0 to 1, but is {self.shares}.")


PRESETS = {
    "smoke": Settings(iterations=100, every=50, seeds=2, evaluation_batch=8),
    "cpu": Settings(),
    "paper": Settings(),
}


def parts(settings: Settings) -> list[Part]:
    """One part for each number of look-aheads."""
    return fig4a.parts_by_lookahead(settings, settings.shares)


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims that judge the figure."""
    return [
        claim(f"It cooperates at look-ahead {steps}: mean reward",
              over_seeds(final(records, lookahead=steps), "play_1"), "≥", 0.7)
        for steps in LOOKAHEADS
    ]  # fmt: skip
