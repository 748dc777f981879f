"""The contribution of the long history to COALA-PG's reward: agents of several networks that forget sooner or later.

An agent that forgets after each inner episode cannot see how far the learner is. It can still act so that the learner
moves to where the agent earns more. The learners are the same networks everywhere.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from coala_eqx.estimators import CoalaPG
from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.progress import Progress
from coala_eqx.training import Pool
from experiments import fig5a, sampled, training
from experiments.claims import Estimate, claim, final, over_seeds
from experiments.settings import override
from experiments.tables import WITHOUT_MEMORY

SINGLE = True
"""Training is done in single precision."""


@dataclasses.dataclass(frozen=True)
class Settings(sampled.Settings):
    """Settings of this figure. `agent.network` and `agent.memory` are set by part."""

    networks: tuple[str, ...] = ("hawk", "gru", WITHOUT_MEMORY)
    """Networks of the agents, with the same choices as `agent.network`."""

    memories: tuple[int, ...] = (1, 2, 5, 20)
    """Numbers of inner episodes after which an agent forgets."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.memories or not all(1 <= memory <= self.pool.episodes for memory in self.memories):
            raise ValueError(
                f"`memories` must lie between 1 and episodes = {self.pool.episodes}, but are {self.memories}."
            )
        if not set(self.networks) - {WITHOUT_MEMORY}:
            raise ValueError(f"`networks` must name one that remembers, but are {self.networks}.")
        for network in self.networks:
            self.plain({"agent.network": network})  # raises for one that is unknown

    def variants(self) -> dict[str, sampled.Settings]:
        """Settings, keyed by part."""
        return {
            network if network == WITHOUT_MEMORY else f"{network} {memory}": self.plain(
                {"agent.network": network, "agent.memory": memory}
            )
            for network in self.networks
            for memory in self.memories
        }

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        return {name: (settings, settings.make_pool((CoalaPG(),))) for name, settings in self.variants().items()}


PRESETS = {
    "smoke": override(Settings(), sampled.SMOKE | {"networks": ("gru", WITHOUT_MEMORY), "memories": (1, 3)}),
    "cpu": override(Settings(), fig5a.SMALL | {"seeds": 2}),
    "paper": Settings(),
}


def parts(settings: Settings) -> list[Part]:
    """One part for each network and memory."""
    return sampled.parts(settings, run)


def run(settings: sampled.Settings, name: str, pool: Pool, progress: Progress) -> list[Record]:
    """Rewards over training."""
    del name
    _, seen, _ = training.train(settings, pool, progress)
    network, memory = settings.agent.network, settings.agent.memory
    about = {"network": network, "memory": 0 if network == WITHOUT_MEMORY else memory}
    return [record | about for record in training.all_rows(settings, seen, ["CoalaPG"])]


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure: mean rewards at the end of training."""
    table = table_of(records)

    def reward(network: str, memory: int) -> Estimate:
        return over_seeds(final(table, network=network, memory=memory), "reward")

    networks = [network for network in table["network"].unique(maintain_order=True) if network != WITHOUT_MEMORY]
    longest, shortest = (table.filter(table["memory"] > 0)["memory"].sort()[at] for at in (-1, 0))
    gains = [
        claim(f"The long history pays for {network}: mean reward with a memory of {longest} inner episodes minus that "
              f"of {shortest}", reward(network, longest) - reward(network, shortest), "≥", 0.2)
        for network in networks
    ]  # fmt: skip
    if (table["network"] == WITHOUT_MEMORY).any():
        without = reward(WITHOUT_MEMORY, 0)
        gains.append(claim("Without any memory there is little to gain: mean reward", without, "≤", 0.5))
    return gains
