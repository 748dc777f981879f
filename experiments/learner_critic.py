"""Beyond the paper: COALA-PG with a critic that sees the learner, against the paper's critic and the other estimators.

All methods train an agent against naive learners in the iterated prisoner's dilemma, with the same settings. They
differ in what is subtracted from sampled returns, or put in their place (`docs/learner_critic.md`). Meta-episodes and
CPU time are both counted, since a critic saves the one and costs the other.

Settings were chosen on two other seeds, the first ones of `seed` 1000. The critic's are the first that were tried, but
for `critic.groups`: 2, 4 and 16 did about equally well, and 4 costs less than 16. The agents' are those of Figure 5A
for every method.
"""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
import polars as pl

from coala_eqx.estimators import MFOS, AbstractScoreFunctionEstimator, BatchUnaware, CoalaHybrid, CoalaPG
from coala_eqx.runs.directory import Part, Record, table_of
from coala_eqx.runs.progress import Progress
from coala_eqx.training import Pool
from coala_eqx.training.driver import programs_of
from coala_eqx.training.layout import place
from experiments import fig5a, sampled, training
from experiments.claims import Ran, final, over_seeds
from experiments.errors import Measured, jackknifed
from experiments.settings import override

SINGLE = True
"""Training is done in single precision."""

PAPER, OTHERS, HYBRID, SCHEDULE = "paper's critic", "leave-one-out", "hybrid", "kappa 0.5 to 1"
ONE, NINE, HALF, NONE = (f"kappa {kappa}" for kappa in ("1", "0.9", "0.5", "0"))
M_FOS, UNAWARE = "M-FOS", "batch-unaware"

ENOUGH = 1.0
"""The reward per step at which methods are compared. An agent that shapes earns it, and one that defects 0."""


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to train."""

    estimator: AbstractScoreFunctionEstimator
    sees_learner: bool = True
    leave_one_out: bool = True


@dataclasses.dataclass(frozen=True)
class Settings(sampled.Settings):
    """Settings of this figure. `agent.leave-one-out`, `critic.use` and `critic.kappa` are set by method."""

    methods: tuple[str, ...] = (OTHERS, HALF, ONE, SCHEDULE, HYBRID, M_FOS, UNAWARE, NONE, PAPER, NINE)
    """Methods. All but "leave-one-out" and "paper's critic" have a critic that sees the learner."""

    def __post_init__(self) -> None:
        super().__post_init__()
        known = self._known()
        if not self.methods or len(set(self.methods)) < len(self.methods) or set(self.methods) - set(known):
            raise ValueError(f"`methods` must be different ones of {', '.join(known)}, but are {self.methods}.")
        dataclasses.replace(self.critic, use=True).check_batch(self.pool.batch)

    def _known(self) -> dict[str, Method]:
        half = self.run.iterations // 2
        rising = optax.linear_schedule(0.5, 1.0, transition_steps=max(1, half), transition_begin=half)
        return {
            PAPER: Method(CoalaPG(), sees_learner=False, leave_one_out=False),
            OTHERS: Method(CoalaPG(), sees_learner=False),
            ONE: Method(CoalaPG()),
            NINE: Method(CoalaPG(kappa=0.9)),
            HALF: Method(CoalaPG(kappa=0.5)),
            NONE: Method(CoalaPG(kappa=0.0)),
            SCHEDULE: Method(CoalaPG(kappa=rising)),
            HYBRID: Method(CoalaHybrid()),
            M_FOS: Method(MFOS(kappa=0.5)),
            UNAWARE: Method(BatchUnaware()),
        }

    def trainings(self) -> dict[str, tuple[sampled.Settings, Pool]]:
        known = self._known()
        return {name: self._training(known[name]) for name in self.methods}

    def _training(self, method: Method) -> tuple[sampled.Settings, Pool]:
        changes = {"agent.leave_one_out": method.leave_one_out, "critic.use": method.sees_learner, "critic.kappa": 1.0}
        settings = self.plain(changes)
        return settings, settings.make_pool((method.estimator,))


PRESETS = {
    "smoke": override(
        Settings(), sampled.SMOKE | {"critic.groups": 2, "critic.steps": 2, "methods": (OTHERS, HALF, SCHEDULE, ONE)}
    ),
    "cpu": override(Settings(), fig5a.SMALL | {"iterations": 200, "every": 5, "seeds": 8}),
    "paper": override(Settings(), {"iterations": 1000}),
}


def parts(settings: Settings) -> list[Part]:
    """One part for each method."""
    return sampled.parts(settings, run)


def run(settings: sampled.Settings, name: str, pool: Pool, progress: Progress) -> list[Record]:
    """Rewards over training, with the number of meta-episodes of each seed and the CPU time that they take."""
    _, seen, _ = training.train(settings, pool, progress)
    each = cpu_time(settings, pool)
    per = settings.pool.meta_batch
    return [
        record | {"method": name, "meta_episodes": record["iteration"] * per, "cpu_seconds": record["iteration"] * each}
        for record in training.all_rows(settings, seen, [name])
    ]


def cpu_time(settings: sampled.Settings, pool: Pool, repeats: int = 3) -> float:
    """CPU seconds of one iteration of one seed: the least of some, for all seeds at once, divided by their number."""
    trained = settings.training(pool)
    with jax.set_mesh(mesh := trained.mesh()):
        programs = programs_of(trained)
        arrays = place(programs.arrays, mesh)
        compiled = programs.iterate.lower(arrays).compile()
        jax.block_until_ready(compiled(arrays))
        seconds = []
        for _ in range(repeats):
            began = time.process_time()
            jax.block_until_ready(compiled(arrays))
            seconds.append(time.process_time() - began)
    return min(seconds) / trained.seeds


def needed(table: pl.DataFrame, method: str, column: str) -> np.ndarray:
    """The smallest value of a column at which each seed's reward has reached `ENOUGH`: `[seeds]`.

    Rewards are interpolated between records. A seed that never gets there counts with its last value, which is too few.
    """
    found = []
    for _, one in table.filter(pl.col("method") == method).sort("iteration").group_by("seed", maintain_order=True):
        at, rewards = one[column].to_numpy(), one["reward"].to_numpy()
        above = np.nonzero(rewards >= ENOUGH)[0]
        if not len(above):
            found.append(at[-1])
            continue
        first = above[0]
        if first == 0:
            found.append(at[0])
            continue
        share = (ENOUGH - rewards[first - 1]) / (rewards[first] - rewards[first - 1])
        found.append(at[first - 1] + share * (at[first] - at[first - 1]))
    return np.array(found)


def claims(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The claims that judge the figure."""
    table = table_of(records)
    ran = Ran(table)

    def ratio(method: str, column: str) -> Measured:
        ours, theirs = needed(table, method, column), needed(table, OTHERS, column)
        if len(ours) != len(theirs):
            return Measured(float("nan"), float("nan"), 0)
        return jackknifed(lambda mine, other: mine / other, ours, theirs)

    def reward(method: str) -> Any:
        return over_seeds(final(table, method=method), "reward")

    both = (HALF, OTHERS)
    return [
        ran.claim(both, f"With κ = 0.5 a reward of {ENOUGH:g} takes fewer meta-episodes: the mean number over that of "
                  "leave-one-out", ratio(HALF, "meta_episodes"), "≤", 1 / 3),
        ran.claim(both, f"With κ = 0.5 a reward of {ENOUGH:g} takes less CPU time: the mean over that of leave-one-out",
                  ratio(HALF, "cpu_seconds"), "≤", 1),
        ran.claim((ONE, OTHERS), "Unbiased, κ = 1: the mean number of meta-episodes over that of leave-one-out",
                  ratio(ONE, "meta_episodes"), "≤", 2 / 3),
        ran.claim((SCHEDULE, ONE), "The schedule ends no lower than κ = 1: difference of mean final rewards",
                  reward(SCHEDULE) - reward(ONE), "≥", 0.0),
        ran.claim((HALF, M_FOS), "κ = 0.5 earns more than M-FOS with the same critic: difference of mean final rewards",
                  reward(HALF) - reward(M_FOS), "≥", 0.2),
        ran.claim((HALF, UNAWARE), "κ = 0.5 earns more than batch-unaware with the same critic: difference of mean "
                  "final rewards", reward(HALF) - reward(UNAWARE), "≥", 0.2),
    ]  # fmt: skip
