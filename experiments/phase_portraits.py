"""Beyond the paper: why extortion works, seen as the vector field of a learner against fixed opponents.

A learner of five logits moves in five dimensions. Here it moves in two, because some of its logits are equal and move
together. By default it is a reactive strategy (Nowak and Sigmund, 1990): it cooperates with probability x after the
other player's cooperation, and with probability y after its defection and at the start. Its opponents are all-D,
tit-for-tat, and an extortioner that is trained as for Figure 3A.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from jaxtyping import Array, Float

import coala_eqx as ce
from coala_eqx._checks import check_at_least
from coala_eqx.learners import GradientFlow, LearningPath
from coala_eqx.policies import AbstractMemoryOne, BinaryMemoryOne
from coala_eqx.runs.directory import Part, table_of
from coala_eqx.runs.progress import Progress
from experiments import analytic, evaluation, fig3a, fig10
from experiments.analytic import ENTRIES
from experiments.claims import claim, kept
from experiments.errors import Measured, jackknifed, median_of

OPPONENTS = ("all-D", "tit-for-tat", "extortioner")


class TiedMemoryOne(AbstractMemoryOne):
    """A memory-one policy of two actions in which some logits are equal.

    **Arguments:**

    - `logits` `[groups]`: logits of the first action.
    - `groups`: the indices of the entries that share each logit. All other entries are 0.
    """

    logits: Float[Array, " groups"]
    groups: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def __init__(self, logits: Any, groups: tuple[tuple[int, ...], ...]):
        self.logits = jnp.asarray(logits)
        self.groups = groups

    @property
    def action_logits(self) -> Float[Array, "observations 2"]:
        logits = jnp.zeros(len(ENTRIES))
        for group, logit in zip(self.groups, self.logits, strict=True):
            logits = logits.at[jnp.array(group)].set(logit)
        return jnp.stack([logits, jnp.zeros_like(logits)], axis=-1)


@dataclasses.dataclass(frozen=True)
class Settings(fig3a.Settings):
    """Settings of this figure. The extortioner is trained as for Figure 3A."""

    coordinates: tuple[str, str] = ("CC + DC", "CD + DD + start")
    """Two groups of entries that move together, from the learner's side: its own action comes first.
    All other entries have logit 0."""

    grid: int = 31
    """Number of points of the field along each axis."""

    margin: float = 0.02
    """Distance of the field from the edges. Probabilities go from `margin` to 1 − `margin`."""

    starts: int = 5
    """Number of points along each axis of the grid on which paths start."""

    seeds: int = 8
    """Number of extortioners. The one with the median reward is used."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("grid", "starts"):
            check_at_least(name, getattr(self, name), 2)
        if not 0 < self.margin < 0.5:
            raise ValueError(f"`margin` must lie between 0 and 0.5, but is {self.margin}.")
        entries = [entry for group in self.groups() for entry in group]
        if len(self.coordinates) != 2 or len(set(entries)) != len(entries):
            raise ValueError(f"`coordinates` must be two groups with no entry in both, but is {self.coordinates}.")

    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The indices of the entries. **Raises** `ValueError` for one that does not exist."""
        names = [[name.strip() for name in group.split("+")] for group in self.coordinates]
        for name in (name for group in names for name in group):
            if name not in ENTRIES:
                raise ValueError(f"`coordinates` has an entry {name!r}; there are {', '.join(ENTRIES)}.")
        return tuple(tuple(ENTRIES.index(name) for name in group) for group in names)


PRESETS = {
    "smoke": Settings(iterations=100, every=50, seeds=2, meta_batch=4, evaluation_batch=8, grid=5, starts=2),
    "cpu": Settings(),
    "paper": Settings(meta_batch=128, iterations=4000),
}


def parts(settings: Settings) -> list[Part]:
    """One part: an extortioner is trained, then all opponents are met."""
    return [Part("portraits", settings.iterations, lambda progress: run(settings, progress))]


def run(settings: Settings, progress: Progress) -> list[dict[str, Any]]:
    """The field on a grid (`kind` is `field`) and paths (`kind` is `path`, one `seed` each), for each opponent."""
    problem = settings.problem()
    duration = settings.naive_rate * settings.naive_steps
    flow = GradientFlow(duration, points=settings.naive_steps + 1)
    problem = eqx.tree_at(lambda problem: problem.learner, problem, flow)
    axes = dict(zip(("x_is", "y_is"), settings.coordinates, strict=True))
    records = []
    for name, logits in zip(OPPONENTS, opponents(settings, progress), strict=True):
        opponent = BinaryMemoryOne(logits)
        points = _square(settings.margin, settings.grid)
        slopes, own, other = _field(problem, opponent, settings.groups(), points)
        field = {"x": points[:, 0], "y": points[:, 1], "dx": slopes[:, 0], "dy": slopes[:, 1]}
        records += _records(field | {"own": own, "other": other}, panel=name, kind="field", seed=0, finite=1.0, **axes)
        path = _paths(problem, opponent, settings.groups(), _square(0.1, settings.starts))
        assert isinstance(path.policies, TiedMemoryOne)
        along = jax.nn.sigmoid(path.policies.logits)
        columns = {"x": along[..., 0], "y": along[..., 1], "own": path.own, "other": path.other}
        for seed in range(len(along)):
            one = {column: values[seed] for column, values in columns.items()}
            records += _records(one, panel=name, kind="path", seed=seed, finite=float(path.finite[seed]), **axes)
    return records


def opponents(settings: Settings, progress: Progress) -> Float[np.ndarray, "opponents 5"]:
    """Logits of the opponents."""
    agents = fig3a.learn(settings.problem(), dataclasses.replace(settings, every=settings.iterations), progress)
    met = evaluation.meet_learners(settings.problem(), agents, analytic.evaluation_learners(settings))
    rewards = np.asarray(met.other[:, -1, -1])
    if not np.isfinite(rewards).any():
        raise ValueError("No seed of the extortioner stayed finite; try a smaller `rate` or `naive_rate`.")
    typical = np.argsort(rewards)[np.isfinite(rewards).sum() // 2]  # non-finite numbers are sorted to the end
    all_d = np.full(len(ENTRIES), settings.initial_logit)
    return np.stack([all_d, np.asarray(fig10.TIT_FOR_TAT), np.asarray(agents.logits[typical, -1])])


def _square(margin: float, points: int) -> Float[np.ndarray, "points 2"]:
    axis = np.linspace(margin, 1 - margin, points)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


def _logits(points: Any) -> Array:
    return jnp.log(points) - jnp.log1p(-points)


@eqx.filter_jit
def _field(
    problem: ce.IteratedShapingProblem, opponent: BinaryMemoryOne, groups: Any, points: Any
) -> tuple[Array, Array, Array]:
    """Rates of change of the probabilities, and both returns, the learner's first."""

    def one(point: Array) -> tuple[Array, Array, Array]:
        def own(logits: Array) -> tuple[Array, Array]:
            other, own = problem.returns(opponent, TiedMemoryOne(logits, groups))
            return own, other

        (mine, other), slope = jax.value_and_grad(own, has_aux=True)(_logits(point))
        return point * (1 - point) * slope, mine, other

    return jax.vmap(one)(jnp.asarray(points))


@eqx.filter_jit
def _paths(problem: ce.IteratedShapingProblem, opponent: BinaryMemoryOne, groups: Any, points: Any) -> LearningPath:
    return jax.vmap(lambda point: problem.learn(opponent, TiedMemoryOne(_logits(point), groups)))(jnp.asarray(points))


def _records(columns: dict[str, Any], **same: Any) -> list[dict[str, Any]]:
    """One record for each point."""
    arrays = {name: np.asarray(values)[None] for name, values in columns.items()}
    return [record | same for record in evaluation.rows(range(len(columns["x"])), **arrays)]


def claims(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims that judge the figure: where learners from all over the square end. Errors are over these learners."""
    paths = kept(table_of(records).filter(pl.col("kind") == "path")).to_dicts()
    last = max((record["iteration"] for record in paths), default=0)
    ends = {name: [r for r in paths if r["panel"] == name and r["iteration"] == last] for name in OPPONENTS}
    begins = [r for r in paths if r["panel"] == "extortioner" and r["iteration"] == 0]

    def values(of: Sequence[dict[str, Any]], column: str) -> np.ndarray:
        return np.array([record[column] for record in of])

    def mean_of(numbers: np.ndarray) -> Measured:
        return dataclasses.replace(jackknifed(float, numbers), seeds=None)

    extorted = ends["extortioner"]
    return [
        claim("Against the extortioner learners cooperate after cooperation: mean probability in the end",
              mean_of(values(extorted, "x")), "≥", 0.8),
        claim("Against all-D learners defect after defection: mean probability to cooperate in the end",
              mean_of(values(ends["all-D"], "y")), "≤", 0.2),
        claim("Learning pays for the extortioner: median rise of its reward along the paths",
              median_of(values(extorted, "other") - values(begins, "other"), over_seeds=False), "≥", 0.3),
        claim("The extortioner earns more than the learner: median of the difference in the end",
              median_of(values(extorted, "other") - values(extorted, "own"), over_seeds=False), "≥", 0.3),
    ]  # fmt: skip
