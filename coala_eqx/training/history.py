"""Records of training, one for each seed, agent and time."""

from collections.abc import Iterable
from typing import Any

from coala_eqx.training.info import PoolInfo

Record = dict[str, Any]


def rows(seen: PoolInfo, every: int, numbers: Iterable[int]) -> list[Record]:
    """The records of these numbers, from 0 on, of each seed and agent; rewards per step, and the game's measures.

    `seen` has leaves `[seeds, records, …]`; `every` is the number of iterations from one record to the next.
    """
    update = seen.update
    seeds, _, agents = seen.vs_meta.shape
    return [
        {
            "seed": seed,
            "agent": agent,
            "iteration": (number + 1) * every,
            "reward": float(seen.ego[seed, number, agent].mean()),
            "naive": float(seen.co_player[seed, number, agent].mean()),
            "together": float(seen.vs_meta[seed, number, agent]),
            "policy_loss": float(update.policy_loss[seed, number, agent]),
            "value_loss": float(update.value_loss[seed, number, agent]),
            "gradient_norm": float(update.gradient_norm[seed, number, agent]),
            "entropy": float(update.entropy[seed, number, agent]),
            "clipped": float(update.clipped[seed, number, agent]),
            "finite": float(seen.finite[seed, number, agent]),
            **{name: float(values[seed, number, agent].mean()) for name, values in seen.measures.items()},
            **{f"{name}_together": float(v[seed, number, agent]) for name, v in seen.measures_vs_meta.items()},
        }
        for seed in range(seeds)
        for agent in range(agents)
        for number in numbers
    ]
