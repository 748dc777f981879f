"""What the figures of Section 4 and Appendix C share: settings, meta-training of all seeds at once, and evaluation.

All is exact but for which naive learners are met. Policies have five logits: start, CC, CD, DC, DD. Leaves of stacked
policies are `[seeds, …]`, of two agents that meet `[seeds, 2, …]`.

Source: Meulemans et al. (2025), Section 4 and Appendix C.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import polars as pl
from jaxtyping import Array, Bool, Float, Key

import coala_eqx as ce
from coala_eqx.games import MatrixGame
from coala_eqx.learners import ExactAscent
from coala_eqx.policies import BinaryMemoryOne
from coala_eqx.verification.game_files import load_game
from experiments.records import DILEMMA, Progress

Gradient = Callable[[BinaryMemoryOne, Key[Array, ""]], BinaryMemoryOne]
"""(an agent, or a pair of them with leaves `[2, …]`; key) → what is climbed."""

INITIAL, TRAINING, EVALUATION, LATER = range(4)
"""What keys are for."""

ENTRIES = ("start", "CC", "CD", "DC", "DD")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of all analytic figures. What the paper does not say is marked so."""

    payoffs: str = DILEMMA
    """A game by name or file, two players with two actions each."""

    discount: float = 0.95
    normalise: bool = True
    """Returns times 1 − discount. Not said; without it η_naive = 5 makes the naive learner jump (`docs/errata.md`)."""

    naive_rate: float = 5.0
    """η_naive."""

    naive_steps: int = 20
    """M. Not said, but Fig. 10C shows 20."""

    naive_scale: float = 1.0
    """Standard deviation of the naive learners' initial logits. Not said."""

    meta_batch: int = 16
    """Naive learners met in each iteration. Not said."""

    evaluation_batch: int = 64
    """Naive learners, always the same, that rewards are reported for."""

    average: bool = True
    """Whether one meta agent weighs as much as a learner's whole path, all M + 1 policies of it, in a mixed pool.

    If not, Eq. 17's sum is mixed with one play against the meta agent. Not said.
    """

    rate: float = 0.005
    """η_meta, of AdamW with its other settings as in optax."""

    iterations: int = 2000
    """Not said."""

    every: int = 50
    """Iterations between records."""

    seeds: int = 32
    seed: int = 0
    """Draws all random numbers."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "meta_batch", "evaluation_batch", "iterations", "every", "seeds")
        check_at_least(self, 0, "naive_rate", "naive_steps", "naive_scale", "rate")
        if self.iterations % self.every:
            raise ValueError(
                f"`iterations` must be a multiple of `every`, but {self.iterations} is none of {self.every}."
            )

    def problem(self, **changes: Any) -> ce.IteratedShapingProblem:
        """The first player's shaping problem; `changes` of `naive_rate` and `naive_steps`."""
        settings = dataclasses.replace(self, **changes)
        learner = ExactAscent(rate=settings.naive_rate, steps=settings.naive_steps)
        return ce.IteratedShapingProblem(
            load_payoffs(self.payoffs), self.discount, normalise=self.normalise, learner=learner
        )

    def payoff_table(self) -> list[Any]:
        """Of both players, as nested lists."""
        return load_payoffs(self.payoffs).tolist()

    def keys(self, purpose: int) -> Key[Array, " seeds"]:
        """One key for each seed; different ones for every purpose."""
        return jax.random.split(jax.random.fold_in(jax.random.key(self.seed), purpose), self.seeds)


def check_at_least(settings: Any, least: float, *names: str) -> None:
    """Raises `ValueError` unless these settings are at least that."""
    for name in names:
        if not getattr(settings, name) >= least:
            raise ValueError(f"`{name}` must be at least {least}, but is {getattr(settings, name)}.")


def check_share(settings: Any, name: str) -> None:
    """Raises `ValueError` unless this setting lies between 0 and 1."""
    if not 0 <= getattr(settings, name) <= 1:
        raise ValueError(f"`{name}` must lie between 0 and 1, but is {getattr(settings, name)}.")


def load_payoffs(source: str) -> Array:
    """The payoffs of a two-player game with two actions each; raises `ValueError` if it is none."""
    name, game = load_game(source)
    if not isinstance(game, MatrixGame) or game.payoffs.shape != (2, 2, 2):
        raise ValueError(
            f"The analytic figures need a matrix game of two players with two actions each; {name} is none."
        )
    return jnp.asarray(game.payoffs)


def stacked(logits: Array) -> BinaryMemoryOne:
    """Policies with logits `[…, 5]`."""
    return eqx.tree_at(lambda policy: policy.logits, BinaryMemoryOne(jnp.zeros(5)), logits)


def normal_policies(key: Key[Array, ""], number: int, scale: float) -> BinaryMemoryOne:
    """Stacked policies with normal logits."""
    return stacked(scale * jax.random.normal(key, (number, 5)))


def normal_pairs(settings: Settings) -> Float[Array, "seeds 2 5"]:
    """Independent standard normal logits of the two agents of every seed, to begin with."""
    return jax.vmap(lambda key: jax.random.normal(key, (2, 5)))(settings.keys(INITIAL))


def evaluation_learners(settings: Settings) -> BinaryMemoryOne:
    """`[seeds, evaluation_batch]`: the naive learners that rewards are reported for."""
    draw = jax.vmap(lambda key: normal_policies(key, settings.evaluation_batch, settings.naive_scale).logits)
    return stacked(draw(settings.keys(EVALUATION)))


def shaping_gradient(
    problem: ce.IteratedShapingProblem, policy: BinaryMemoryOne, naive: BinaryMemoryOne
) -> BinaryMemoryOne:
    """∂/∂φ of the shaping return (Eq. 17), its mean over stacked naive learners."""
    return eqx.filter_grad(lambda policy: jax.vmap(lambda one: problem.shaping_return(policy, one))(naive).mean())(
        policy
    )


def lookahead_gradient(
    problem: ce.IteratedShapingProblem, policy: BinaryMemoryOne, other: BinaryMemoryOne
) -> BinaryMemoryOne:
    """∂/∂φ of the return against the other agent, had it learned first (LOLA)."""
    return eqx.filter_grad(problem.lookahead_return)(policy, other)


def partial_gradient(
    problem: ce.IteratedShapingProblem, policy: BinaryMemoryOne, other: BinaryMemoryOne
) -> BinaryMemoryOne:
    """∂J^i/∂φ^i against a fixed policy."""
    return eqx.filter_grad(lambda policy: problem.returns(policy, other)[0])(policy)


def pool_gradient(settings: Settings, p_naive: float) -> Gradient:
    """Of two agents in a pool: p_naive times the shaping gradient, 1 − p_naive times the partial one (App. C)."""
    both = settings.problem()

    def one(
        problem: ce.IteratedShapingProblem, own: BinaryMemoryOne, other: BinaryMemoryOne, key: Key[Array, ""]
    ) -> BinaryMemoryOne:
        naive = normal_policies(key, settings.meta_batch, settings.naive_scale)
        shaping = shaping_gradient(problem, own, naive) if p_naive > 0 else None
        if settings.average:
            shaping = jax.tree.map(lambda leaf: leaf / (settings.naive_steps + 1), shaping)
        partial = partial_gradient(problem, own, other) if p_naive < 1 else None
        return mix(p_naive, shaping, partial)

    return lambda pair, key: of_both(one, both, pair, jax.random.split(key))


def of_both(function: Callable[..., Any], problem: ce.IteratedShapingProblem, pair: BinaryMemoryOne, *more: Any) -> Any:
    """`function` of both agents of a pair, leaves `[2, …]`.

    It is called with an agent's own shaping problem, its policy, the other one's, and its part of `more`.
    """
    payoffs = jnp.stack([problem.payoffs, problem.mirrored().payoffs])
    exchanged = jax.tree.map(lambda leaf: leaf[::-1], pair)

    def one(payoffs: Array, own: BinaryMemoryOne, other: BinaryMemoryOne, *more: Any) -> Any:
        return function(eqx.tree_at(lambda problem: problem.payoffs, problem, payoffs), own, other, *more)

    return jax.vmap(one)(payoffs, pair, exchanged, *more)


def first_and_second(pairs: BinaryMemoryOne) -> tuple[BinaryMemoryOne, BinaryMemoryOne]:
    """The agents of pairs, leaves `[seeds, records, 2, …]`."""
    first, second = (jax.tree.map(lambda leaf, i=i: leaf[:, :, i], pairs) for i in range(2))
    return first, second


def mix(share: float, one: BinaryMemoryOne | None, other: BinaryMemoryOne | None) -> Any:
    """Share · one + (1 − share) · other; what has no share is not needed."""
    if other is None:
        return one
    if one is None:
        return other
    return jax.tree.map(lambda a, b: share * a + (1 - share) * b, one, other)


def train(
    gradient: Gradient, agents: BinaryMemoryOne, keys: Key[Array, " seeds"], settings: Settings, progress: Progress
) -> BinaryMemoryOne:
    """Ascend with AdamW, all seeds at once.

    **Arguments:**

    - `agents`: stacked, leaves `[seeds, …]`.

    **Returns** them at iterations 0, every, 2·every, …: leaves `[seeds, records, …]`.
    """
    optimiser = optax.adamw(settings.rate)
    parameters: Any = agents
    state = jax.vmap(optimiser.init)(parameters)

    def iterate(carry: Any, key: Key[Array, ""]) -> tuple[Any, None]:
        agents, state = carry
        descent = jax.tree.map(jnp.negative, gradient(agents, key))
        updates, state = optimiser.update(descent, state, agents)
        return (optax.apply_updates(agents, updates), state), None

    @jax.jit
    def some(agents: BinaryMemoryOne, state: Any, keys: Key[Array, " seeds"], start: Array) -> tuple[Any, Any]:
        def one(agents: BinaryMemoryOne, state: Any, key: Key[Array, ""]) -> tuple[Any, Any]:
            numbered = jax.vmap(lambda i: jax.random.fold_in(key, start + i))(jnp.arange(settings.every))
            return jax.lax.scan(iterate, (agents, state), numbered)[0]

        return jax.vmap(one)(agents, state, keys)

    path = [agents]
    for start in range(0, settings.iterations, settings.every):
        agents, state = some(agents, state, keys, jnp.asarray(start))
        path.append(jax.block_until_ready(agents))
        progress(settings.every)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *path)


def last(path: BinaryMemoryOne) -> BinaryMemoryOne:
    """The agents of the last record."""
    return jax.tree.map(lambda leaf: leaf[:, -1], path)


class Met(eqx.Module):
    """What agents and learners earn against each other while the learners learn, the mean over learners.

    Leaves `[seeds, records, …]`.
    """

    other: Float[Array, "seeds records points"]
    """The agents' returns."""

    own: Float[Array, "seeds records points"]
    """The learners'."""

    finite: Bool[Array, "seeds records"]
    """Whether all of the learners stayed finite."""


@eqx.filter_jit
def meet_learners(problem: ce.IteratedShapingProblem, policies: BinaryMemoryOne, naive: BinaryMemoryOne) -> Met:
    """How naive learners `[seeds, learners]` learn against policies `[seeds, records]`."""

    def one(policy: BinaryMemoryOne, naive: BinaryMemoryOne) -> Met:
        paths = jax.vmap(lambda learner: problem.learn(policy, learner))(naive)
        return Met(other=paths.other.mean(axis=0), own=paths.own.mean(axis=0), finite=paths.finite.all())

    return jax.vmap(lambda policies, naive: jax.lax.map(lambda policy: one(policy, naive), policies))(policies, naive)


@eqx.filter_jit
def play(problem: ce.IteratedShapingProblem, first: BinaryMemoryOne, second: BinaryMemoryOne) -> Array:
    """Returns of both, `[…, 2]`, for policies stacked along any number of axes."""
    function = problem.returns
    for _ in range(first.logits.ndim - 1):
        function = jax.vmap(function)
    return function(first, second)


def pool_columns(settings: Settings, pairs: BinaryMemoryOne) -> dict[str, Any]:
    """Rewards and logits of two agents, leaves `[seeds, records, 2, …]`; those against learners on their last step."""
    first, second = first_and_second(pairs)
    naive, problem = evaluation_learners(settings), settings.problem()
    met = [meet_learners(side, agent, naive) for side, agent in ((problem, first), (problem.mirrored(), second))]
    together = play(problem, first, second)
    return {
        "shaping_1": met[0].other[..., -1],
        "shaping_2": met[1].other[..., -1],
        "naive_1": met[0].own[..., -1],
        "naive_2": met[1].own[..., -1],
        "play_1": together[..., 0],
        "play_2": together[..., 1],
        **logits_of(first),
        "finite": (met[0].finite & met[1].finite).astype(float),
    }


SMALLER = pl.min_horizontal("play_1", "play_2")
"""What two agents earn against each other, the one that earns less: high only if both cooperate."""


def smaller_reward(table: pl.DataFrame) -> pl.Series:
    """`SMALLER`, of each record."""
    return table.select(SMALLER).to_series()


def rows(iterations: Sequence[int], **columns: Any) -> list[dict[str, Any]]:
    """One record for each seed and record, from arrays `[seeds, records]`; other values are the same in all."""
    arrays = {name: np.asarray(value) for name, value in columns.items() if np.ndim(value) == 2}
    same = {name: value for name, value in columns.items() if np.ndim(value) != 2}
    seeds = len(next(iter(arrays.values())))
    return [
        {
            **same,
            "seed": seed,
            "iteration": iteration,
            **{name: float(array[seed, i]) for name, array in arrays.items()},
        }
        for seed in range(seeds)
        for i, iteration in enumerate(iterations)
    ]


def logits_of(policies: BinaryMemoryOne, prefix: str = "") -> dict[str, Array]:
    """Columns of logits, by entry."""
    return {f"{prefix}{entry}": policies.logits[..., i] for i, entry in enumerate(ENTRIES)}


def path_of(settings: Settings) -> list[int]:
    """The iterations that have a record."""
    return list(range(0, settings.iterations + 1, settings.every))


def are_finite(agents: BinaryMemoryOne) -> Array:
    """1 where all parameters are finite, `[seeds, records]`."""
    finite = [jnp.isfinite(leaf).all(axis=tuple(range(2, leaf.ndim))) for leaf in jax.tree.leaves(agents)]
    return jnp.all(jnp.stack(finite), axis=0).astype(float)
