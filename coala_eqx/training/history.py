"""Records of training: one for each seed, agent and time."""

from collections.abc import Iterable
from typing import Any

Record = dict[str, Any]


def rows(seen: Any, watched: Any, every: int, numbers: Iterable[int]) -> list[Record]:
    """The records of each seed and agent: rewards per step, and the game's measures.

    **Arguments:**

    - `seen`: a `PoolInfo` with leaves `[seeds, records, …]`.
    - `watched`: the measurements of `watch`, leaves `[seeds, records, …]`. If it is a dictionary, its numbers and
      arrays `[agents]` become part of the records.
    - `every`: number of iterations from one record to the next.
    - `numbers`: numbers of the records, from 0 on.
    """
    update = seen.update
    seeds, _, agents = seen.vs_meta.shape
    own = watched if isinstance(watched, dict) else {}
    own = {name: values for name, values in own.items() if _is_column(values, agents)}
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
            **{name: _of_agent(values[seed, number], agent) for name, values in own.items()},
        }
        for seed in range(seeds)
        for agent in range(agents)
        for number in numbers
    ]


def _is_column(values: Any, agents: int) -> bool:
    """Whether an array `[seeds, records, …]` holds a number, or one for each agent, in each record."""
    return getattr(values, "ndim", 0) == 2 or (getattr(values, "ndim", 0) == 3 and values.shape[2] == agents)


def _of_agent(value: Any, agent: int) -> float:
    return float(value[agent] if value.ndim else value)
