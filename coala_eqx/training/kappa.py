"""κ of TD over inner episodes, driven by what its bias does to the gradient's direction."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from coala_eqx._checks import check_share, check_whole
from coala_eqx.arrays import is_number
from coala_eqx.training.driver import Moment
from coala_eqx.training.fit import check_index
from coala_eqx.training.history import Record
from coala_eqx.training.layout import Layout
from coala_eqx.training.noise import gradient_noise
from coala_eqx.training.pool import Pool
from coala_eqx.training.state import PoolState


@dataclasses.dataclass(frozen=True)
class KappaByCosine:
    """Changes an agent's κ during training. Give `.watch` to `train` as `watch`, and the object itself as a callback.

    At each record the gradients of all values of κ are measured on some meta-batches. If the angle between the gradient
    that is followed and that of κ = 1, which is unbiased, has a cosine below `low`, the next larger κ follows. If the
    cosine of the next smaller κ is above `high`, that one follows. In between κ stays: `low` < `high` keeps it from
    going back and forth. It also stays where the measured gradients do not differ from 0.

    **Arguments:**

    - `kappas`: the values of κ, from the smallest to 1. The agent begins with one of them.
    - `low`, `high`: cosines at which κ changes.
    - `records`: number of records over which ⟨G_κ, G_1⟩, ‖G_κ‖² and ‖G_1‖² are averaged, all of them since κ changed.
    - `measured`: number of meta-batches that are played at each record.
    - `index`: number of the agent.
    - `layout`: sizes of the pieces of work.

    The history has ‖G_κ‖² and ⟨G_κ, G_1⟩ in the columns `square_kappa_0.5`, `product_kappa_0.5` and so on, and κ in
    `kappa`.

    **Raises** `ValueError` for values of κ that do not rise to 1, for cosines that are not in order, and for numbers
    that are too small.
    """

    kappas: tuple[float, ...] = (0.5, 0.8, 1.0)
    low: float = 0.8
    high: float = 0.95
    records: int = 3
    measured: int = 8
    index: int = 0
    layout: Layout = dataclasses.field(default_factory=Layout)

    def __post_init__(self) -> None:
        for kappa in self.kappas:
            check_share("kappas", kappa)
        if len(self.kappas) < 2 or list(self.kappas) != sorted(set(self.kappas)) or self.kappas[-1] != 1:
            raise ValueError(f"`kappas` must rise to 1, as (0.5, 0.8, 1.0) does, but are {self.kappas}.")
        if not -1 <= self.low < self.high <= 1:
            raise ValueError(
                f"`low` must lie below `high`, both between −1 and 1, so that κ does not go back and forth, but they "
                f"are {self.low} and {self.high}."
            )
        check_whole("records", self.records, 1)
        check_whole("measured", self.measured, 2, "as meta-batches are compared")
        check_whole("index", self.index, 0)

    def watch(self, pool: Pool, state: PoolState) -> dict[str, Any]:
        """Measure the gradients: numbers, as `train` expects of `watch`."""
        followed = self.kappas[self._place(pool)]
        agent = pool.agents[self.index]
        estimators = [dataclasses.replace(agent.estimator, kappa=kappa) for kappa in self.kappas]
        noise = gradient_noise(
            pool,
            state,
            estimators,
            self.measured,
            index=self.index,
            by_critic=[True] * len(estimators),
            layout=self.layout,
        )
        products = noise.products
        found: dict[str, Any] = {"kappa": jnp.asarray(followed, products.dtype)}
        for number, kappa in enumerate(self.kappas):
            found |= {f"square_kappa_{kappa:g}": products[number, number]}
            found |= {f"product_kappa_{kappa:g}": products[number, -1]}
        return found

    def __call__(self, moment: Moment) -> Pool | None:
        """Decide with a new record: the pool with another κ, or `None`."""
        place = self._place(moment.pool)
        rows = self._since_change(moment, self.kappas[place])
        if len({row["iteration"] for row in rows}) < self.records:
            return None
        if self._cosine(rows, place) < self.low:
            return self._changed(moment.pool, place + 1)
        if place > 0 and self._cosine(rows, place - 1) > self.high:
            return self._changed(moment.pool, place - 1)
        return None

    def _since_change(self, moment: Moment, kappa: float) -> list[Record]:
        """The agent's last rows, of at most `records` records, in which κ was what it is now."""
        rows = [row for row in moment.history if row["agent"] == self.index]
        before = [row["iteration"] for row in rows if not np.isclose(row["kappa"], kappa)]
        later = sorted({row["iteration"] for row in rows if row["iteration"] > max(before, default=0)})
        return [row for row in rows if row["iteration"] in later[-self.records :]]

    def _cosine(self, rows: list[Record], place: int) -> float:
        """Cosine between the gradients of one κ and of κ = 1, from means over rows; NaN if one is not seen."""

        def mean(kind: str, place: int) -> float:
            return float(np.mean([row[f"{kind}_kappa_{self.kappas[place]:g}"] for row in rows]))

        squares = mean("square", place), mean("square", -1)
        return mean("product", place) / float(np.sqrt(np.prod(squares))) if min(squares) > 0 else float("nan")

    def _place(self, pool: Pool) -> int:
        """The place of the agent's κ among `kappas`. **Raises** `ValueError` if there is none."""
        check_index(pool, self.index)
        agent = pool.agents[self.index]
        kappa = getattr(agent.estimator, "kappa", None)
        if agent.critic is None or not is_number(kappa) or kappa not in self.kappas:
            raise ValueError(
                f"κ is driven for an agent with `critic=CriticTraining(…)` and an estimator whose `kappa` is one of "
                f"{', '.join(f'{one:g}' for one in self.kappas)}, such as CoalaPG(kappa={self.kappas[0]:g}), but it is "
                f"{agent.estimator} with critic = {agent.critic}."
            )
        return self.kappas.index(kappa)

    def _changed(self, pool: Pool, place: int) -> Pool:
        agent = pool.agents[self.index]
        changed = dataclasses.replace(agent, estimator=dataclasses.replace(agent.estimator, kappa=self.kappas[place]))
        return dataclasses.replace(
            pool, agents=tuple(changed if number == self.index else one for number, one in enumerate(pool.agents))
        )
