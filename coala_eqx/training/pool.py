"""A pool of meta agents that learn from playing naive learners and each other."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from coala_eqx.arrays import check_finite, check_share, concrete
from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator, BatchUnaware
from coala_eqx.estimators.base import Gradient
from coala_eqx.games import AbstractDrawnGame, AbstractGame, MatrixGame
from coala_eqx.learners import AbstractLearner, Static
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, ShapingProblem
from coala_eqx.training.batch import Batch, make_batch
from coala_eqx.training.pieces import map_in_groups
from coala_eqx.training.updates import AbstractUpdate, UpdateInfo

Tree = TypeVar("Tree")

MakePolicy = Callable[[Key[Array, ""]], AbstractPolicy]


class PoolState(eqx.Module):
    """All that changes in training, of one seed."""

    agents: AbstractPolicy
    """The meta agents, leaves `[agents, …]`."""

    optimiser: Any
    """Their optimisers' states, leaves `[agents, …]`."""

    naive: AbstractPolicy
    """What naive agents start from, leaves `[naive, …]`."""

    key: Key[Array, ""]
    """Of which all random numbers of an iteration are made, with its number."""

    iteration: Int[Array, ""]

    def spare_key(self, number: int) -> Key[Array, ""]:
        """One of three, 1 to 3, that no iteration uses: they take the numbers below 2³⁰."""
        return jax.random.fold_in(self.key, self.iteration + jnp.uint32(number * 2**30))


class PoolInfo(eqx.Module):
    """What was seen in one iteration; rewards per step, in the game's own scale."""

    own: Float[Array, "agents episodes"]
    """The agents' rewards against naive learners, in each inner episode."""

    naive: Float[Array, "agents episodes"]
    """The learners' own."""

    own_actions: Float[Array, "agents episodes actions"]
    """How often the agents take each action there."""

    naive_actions: Float[Array, "agents episodes naive_actions"]
    """And the learners."""

    together: Float[Array, " agents"]
    """The agents' rewards against each other; NaN if there are no such meetings."""

    measures: dict[str, Float[Array, "agents episodes"]]
    """What else the game measures, against naive learners."""

    measures_together: dict[str, Float[Array, " agents"]]
    """And against each other."""

    update: UpdateInfo
    """`[agents]`."""

    finite: Bool[Array, " agents"]
    """Whether all parameters still are."""


class Pool(eqx.Module):
    """How one or several meta agents are trained.

    In each iteration every agent meets `meta_batch` opponents, `batch` games each: a share `p_naive` of them naive
    learners, the others meta agents but itself, drawn uniformly. It follows its estimator's advantages against
    learners, and those of the plain policy gradient against meta agents, who do not learn meanwhile.

    **Arguments:**

    - `game`: of two players. Agents learn as player 0 and are met as player 1, so that it must be symmetric, the same
      seen from either seat, unless they only meet naive learners of a population.
    - `learner`: of the naive agents.
    - `estimators`: one for each agent, the very modules that are verified.
    - `update`: A2C or PPO.
    - `batch`, `episodes`, `steps`, `meta_batch`: B, M, T and B̄.
    - `p_naive`: share of naive opponents; p_naive · meta_batch must be a whole number.
    - `dynamic_naive`: whether naive agents start from the parameters of a meta agent, drawn uniformly, and not from
      those of the naive population.
    - `reward_scale`: multiplies rewards in the agents' losses.
    - `discount`, `td_lambda`: per step, of the critic's targets; estimators that discount must do so alike.
    - `gae_lambda`: of the advantages against meta agents; against learners estimators have their own.
    - `leave_one_out`: whether advantages are taken less their mean at the same step in the other meta-episodes against
      opponents of the same kind, of which there must be two or more then: a baseline that adds no bias.
    - `centre`: whether advantages are centred, apart for naive and meta opponents; with `leave_one_out` they are.
    - `naive_weight`: multiplies the gradients of meetings with naive learners, so that what they weigh is not tied to
      how many there are: agents climb p_naive · naive_weight times their return against learners plus 1 − p_naive
      times that against meta agents. One for all agents, or one for each.
    - `entropy_until`: if given, the update's entropy coefficient falls to 0 linearly by this iteration.
    - `horizon`: how many inner episodes an estimator sees that is no score function, such as LOLA-DiCE: the first
      ones of each meta-episode, which makes horizon − 1 look-aheads. All estimators must be the same then, and all
      opponents naive; the update is one step of the optimiser along the estimate.
    - `group`: if given, at most so many opponents are met at a time on each device, the same to rounding: a CPU whose
      cache holds their networks is faster so.

    **Raises** `ValueError` for settings that do not fit each other.

    Source: Meulemans et al. (2025), Section 5 and App. A and B.
    """

    game: AbstractGame
    learner: AbstractLearner
    update: AbstractUpdate
    estimators: tuple[AbstractEstimator, ...]
    batch: int = eqx.field(static=True)
    episodes: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    meta_batch: int = eqx.field(static=True)
    p_naive: float = eqx.field(static=True, default=1.0)
    dynamic_naive: bool = eqx.field(static=True, default=False)
    reward_scale: float = 1.0
    discount: float = 1.0
    td_lambda: float = 1.0
    gae_lambda: float = 1.0
    leave_one_out: bool = eqx.field(static=True, default=False)
    centre: bool = eqx.field(static=True, default=False)
    naive_weight: float | tuple[float, ...] = 1.0
    entropy_until: int | None = eqx.field(static=True, default=None)
    horizon: int = eqx.field(static=True, default=2)
    group: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.game.num_players != 2:
            raise ValueError(f"A pool plays games of two players, but the game has {self.game.num_players}.")
        if not isinstance(self.update, AbstractUpdate):
            raise ValueError(f"`update` must be one of agents, such as PPO(optimiser), but is {self.update!r}.")
        self._check_estimators()
        check_share("p_naive", self.p_naive)
        if self.meta_batch < 1:
            raise ValueError(f"`meta_batch` must be at least 1, but is {self.meta_batch}.")
        if self.entropy_until is not None and self.entropy_until < 1:
            raise ValueError(f"`entropy_until` must be at least 1, but is {self.entropy_until}.")
        if abs(self.p_naive * self.meta_batch - self.num_naive) > 1e-9:
            raise ValueError(
                f"p_naive · meta_batch must be a whole number of opponents, but is {self.p_naive} · {self.meta_batch}; "
                f"{self.num_naive / self.meta_batch:g} would do."
            )
        if self.num_meta and len(self.estimators) < 2:
            raise ValueError(
                f"An agent does not play itself: with p_naive = {self.p_naive} below 1 a pool needs two agents or more."
            )
        check_finite("reward_scale", self.reward_scale)
        weights = self.naive_weight if isinstance(self.naive_weight, tuple) else (self.naive_weight,)
        for weight in weights:
            check_finite("naive_weight", weight)
        if isinstance(self.naive_weight, tuple) and len(weights) != len(self.estimators):
            raise ValueError(
                f"`naive_weight` must be one number, or one for each of {len(self.estimators)} agents, but is "
                f"{self.naive_weight}."
            )
        if self.group is not None and self.group < 1:
            raise ValueError(f"`group` must be at least 1, but is {self.group}.")
        self._check_baselines()
        self._check_discounts()
        if self.num_meta or self.dynamic_naive:
            check_symmetric(self.game)
        if not self.by_advantages:
            self._check_followed_directly()

    def _check_estimators(self) -> None:
        if not isinstance(self.estimators, tuple):
            raise ValueError(f"`estimators` must be a tuple, of one for each agent, but is {self.estimators!r}.")
        if not self.estimators:
            raise ValueError("A pool needs an estimator for each of its agents, but `estimators` is empty.")
        for estimator in self.estimators:
            if not isinstance(estimator, AbstractEstimator):
                raise ValueError(
                    f"`estimators` must be estimators, such as CoalaPG(), but one of them is {estimator!r}."
                )

    def _check_baselines(self) -> None:
        if self.leave_one_out and 1 in {self.num_naive, self.num_meta}:
            raise ValueError(
                "`leave_one_out` needs two opponents of a kind or more, but there are "
                f"{self.num_naive} naive and {self.num_meta} meta opponents."
            )
        if self.leave_one_out and self.centre:
            raise ValueError(
                "With `leave_one_out` the mean of all advantages is 0, and `centre` does nothing: set it False."
            )

    def _check_followed_directly(self) -> None:
        for name in ("leave_one_out", "centre"):
            if getattr(self, name):
                raise ValueError(f"`{name}` is of advantages, which the pool's estimators do not give: set it False.")
        if len(set(map(type, self.estimators))) > 1 or self.num_meta:
            raise ValueError(
                "Estimators that are no score functions are trained in pools of their own against naive learners, "
                f"but the pool has {self.estimators} and p_naive = {self.p_naive}."
            )
        if not 1 < self.horizon <= self.episodes:
            raise ValueError(f"`horizon` must lie between 2 and episodes = {self.episodes}, but is {self.horizon}.")

    def _check_discounts(self) -> None:
        for name in ("discount", "td_lambda", "gae_lambda"):
            check_share(name, getattr(self, name))
        for estimator in self.estimators:
            if (discount := getattr(estimator, "discount", self.discount)) != self.discount:
                raise ValueError(
                    f"{type(estimator).__name__} and the pool, for its critics, must discount alike, but `discount` is "
                    f"{discount} and {self.discount}."
                )

    @property
    def by_advantages(self) -> bool:
        """Whether the estimators give advantages."""
        return all(isinstance(estimator, AbstractScoreFunctionEstimator) for estimator in self.estimators)

    @property
    def num_naive(self) -> int:
        """How many of an agent's opponents are naive learners."""
        return round(self.p_naive * self.meta_batch)

    @property
    def num_meta(self) -> int:
        """How many are meta agents."""
        return self.meta_batch - self.num_naive

    def init(self, make_agent: MakePolicy, make_naive: MakePolicy, num_naive: int, key: Key[Array, ""]) -> PoolState:
        """The state before the first iteration: `num_naive` is the size of the naive population."""
        if num_naive < 1:
            raise ValueError(f"The naive population must have at least one member, but has {num_naive}.")
        key_agents, key_naive, key = jax.random.split(key, 3)
        agents = eqx.filter_vmap(make_agent)(jax.random.split(key_agents, len(self.estimators)))
        return PoolState(
            agents=agents,
            optimiser=eqx.filter_vmap(self.update.init)(agents),
            naive=eqx.filter_vmap(make_naive)(jax.random.split(key_naive, num_naive)),
            key=key,
            iteration=jnp.zeros((), int),
        )

    def iterate(self, state: PoolState) -> tuple[PoolState, PoolInfo]:
        """One iteration of all agents, who update simultaneously: pure, fit for `jit` and for `vmap` over seeds.

        **Raises** `Inapplicable`, a `ValueError`, if an estimator needs what the game or the learner has not.
        """
        self.check_problem(state)
        keys = jax.random.split(jax.random.fold_in(state.key, state.iteration), len(self.estimators))
        update_by = self._update_at(state.iteration)

        def one(agent: AbstractPolicy, optimiser: Any, index: Array, key: Array) -> Any:
            key_play, key_update = jax.random.split(key)
            naive, meta = self.meet(state, agent, index, key_play)
            if self.by_advantages:
                agent, optimiser, update = update_by(agent, optimiser, self._batch(index, naive, meta), key_update)
            else:
                agent, optimiser, update = update_by.follow(agent, optimiser, self._gradient(agent, naive))
            return agent, optimiser, (without_co_players(naive), without_co_players(meta), update)

        agents, optimiser, (naive, meta, update) = eqx.filter_vmap(one)(
            state.agents, state.optimiser, jnp.arange(len(self.estimators)), keys
        )
        info = PoolInfo(
            own=_by_episode(naive.rewards),
            naive=_by_episode(naive.co_players[0].rewards),
            own_actions=_frequencies(naive.actions, self.game.num_actions[0]),
            naive_actions=_frequencies(naive.co_players[0].actions, self.game.num_actions[1]),
            together=meta.rewards.mean(axis=(1, 2, 3, 4)),
            measures={name: by.mean(axis=(1, 2)) for name, by in self.measures(naive).items()},
            measures_together={name: by.mean(axis=(1, 2, 3)) for name, by in self.measures(meta).items()},
            update=update,
            finite=_finite(agents),
        )
        return PoolState(agents, optimiser, state.naive, state.key, state.iteration + 1), info

    def check_problem(self, state: PoolState) -> None:
        """**Raises** `Inapplicable`, a `ValueError`, if an estimator needs what the game or the learner has not."""
        for estimator in self.estimators:
            estimator.check_problem(self._problem(members(state.naive, 0), 1))

    def _update_at(self, iteration: Int[Array, ""]) -> AbstractUpdate:
        if self.entropy_until is None:
            return self.update
        left = jnp.maximum(0, 1 - iteration / self.entropy_until)
        coefficient = (left * self.update.entropy_coefficient).astype(float)
        return eqx.tree_at(lambda update: update.entropy_coefficient, self.update, coefficient)

    def meet(
        self, state: PoolState, agent: AbstractPolicy, index: Int[Array, ""], key: Key[Array, ""]
    ) -> tuple[MetaEpisode, MetaEpisode]:
        """An agent's meta-episodes against naive learners and against meta agents, `[opponents, batch, …]` each."""
        key_draw, key_play = jax.random.split(key)
        starts = state.agents if self.dynamic_naive else state.naive
        naive, meta = self.draw(index, number_of(starts), key_draw)
        others = state.agents if self.num_meta else starts  # who fit the second player's seat
        keys = jax.random.split(key_play, self.meta_batch)
        return (
            self._play(agent, members(starts, naive), keys[: self.num_naive], naive=True),
            self._play(agent, members(others, meta), keys[self.num_naive :], naive=False),
        )

    def draw(
        self, index: Int[Array, ""], starts: int, key: Key[Array, ""]
    ) -> tuple[Int[Array, " naive"], Int[Array, " meta"]]:
        """Whom an agent meets: which of so many starts naive agents have, and which other agents."""
        key_naive, key_meta = jax.random.split(key)
        naive = jax.random.randint(key_naive, (self.num_naive,), 0, starts)
        meta = jax.random.randint(key_meta, (self.num_meta,), 0, max(1, len(self.estimators) - 1))
        return naive, meta + (meta >= index)  # the numbers from the agent's own on are moved up, so that it is left out

    def _play(
        self, agent: AbstractPolicy, opponents: AbstractPolicy, keys: Key[Array, " opponents"], *, naive: bool
    ) -> MetaEpisode:
        def one(entry: tuple[AbstractPolicy, Key[Array, ""]]) -> MetaEpisode:
            opponent, key = entry
            return self._problem(opponent, self.episodes, naive=naive).play(agent, key)

        return map_in_groups(one, (opponents, keys), self.group)

    def measures(self, episodes: MetaEpisode) -> dict[str, Float[Array, "*agents opponents batch episodes"]]:
        """What the game measures in an agent's meta-episodes, or in those of several; nothing if it has no measures."""
        if not isinstance(self.game, AbstractDrawnGame):
            return {}
        actions = jnp.stack([episodes.actions, episodes.co_players[0].actions], axis=-1)
        measure = self.game.measures
        for _ in range(actions.ndim - 2):
            measure = jax.vmap(measure)
        return measure(episodes.observations, actions)

    def _problem(self, opponent: AbstractPolicy, episodes: int, *, naive: bool = True) -> ShapingProblem:
        """Against a naive learner, or else a meta agent, that remembers and does not learn."""
        return ShapingProblem(
            game=self.game,
            co_players=(opponent,),
            learner=self.learner if naive else Static(),
            batch=self.batch,
            episodes=episodes,
            steps=self.steps,
            co_players_remember=not naive,
        )

    def _gradient(self, agent: AbstractPolicy, naive: MetaEpisode) -> Gradient:
        """Of an estimator without advantages, from the first inner episodes of all meta-episodes: their mean."""
        (estimator, *_), length = self.estimators, self.horizon

        def cut(leaf: Array) -> Array:
            return leaf[:, :length]

        def one(episode: MetaEpisode) -> Gradient:
            co_players = episode.co_player_policies
            episode = eqx.tree_at(lambda episode: episode.co_player_policies, episode, ())
            episode = eqx.tree_at(lambda episode: episode.co_player_policies, jax.tree.map(cut, episode), co_players)
            return estimator.from_episode(self._problem(co_players[0], length), agent, episode)

        return jax.tree.map(lambda leaf: leaf.mean(axis=0), eqx.filter_vmap(one)(naive))

    def _batch(self, index: Array, naive: MetaEpisode, meta: MetaEpisode) -> Batch:
        """All trajectories of one agent, with advantages by its estimator."""
        batches = []
        if self.num_naive:
            score_functions = (one for one in self.estimators if isinstance(one, AbstractScoreFunctionEstimator))
            own = [functools.partial(self.batch_by, estimator) for estimator in score_functions]
            batch = jax.lax.switch(index, own, without_co_players(naive))
            weights = jnp.broadcast_to(jnp.asarray(self.naive_weight, float), len(self.estimators))
            advantages = weights[index] * batch.advantages
            batches.append(eqx.tree_at(lambda batch: batch.advantages, batch, advantages))
        if self.num_meta:
            plain = BatchUnaware(discount=self.discount, gae_lambda=self.gae_lambda)
            batches.append(self.batch_by(plain, meta))
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *batches)

    def batch_by(self, estimator: AbstractScoreFunctionEstimator, episodes: MetaEpisode) -> Batch:
        """What an estimator makes of meta-episodes `[opponents, batch, …]`, with the pool's settings."""
        return make_batch(
            estimator,
            episodes,
            reward_scale=self.reward_scale,
            td_lambda=self.td_lambda,
            discount=self.discount,
            leave_one_out=self.leave_one_out,
            centre=self.centre,
        )


def without_co_players(episodes: MetaEpisode) -> MetaEpisode:
    """Without their policies, which are in the state that they were drawn from."""
    return eqx.tree_at(lambda episode: episode.co_player_policies, episodes, ())


def check_symmetric(game: AbstractGame) -> None:
    """**Raises** `ValueError` unless the game is the same for both of its players, as far as can be seen: by numbers of
    observations and actions, and the payoffs of a `MatrixGame`.
    """
    alike = game.num_observations[0] == game.num_observations[1] and game.num_actions[0] == game.num_actions[1]
    if alike and isinstance(game, MatrixGame) and concrete(game.payoffs):
        own, others = np.asarray(game.payoffs)
        alike = np.array_equal(own.T, others)
    if not alike:
        raise ValueError(
            "Agents learn as player 0 and some are met as player 1, so that the game must be symmetric, the same seen "
            f"from either seat, but this {type(game).__name__} is not. Number the second player's actions so that it "
            "is, or let agents meet naive learners only (p_naive = 1) of a population that has not learned before."
        )


def members(stacked: Tree, indices: int | Int[Array, "*members"]) -> Tree:
    """One or several of those that are stacked along the first axis of all arrays."""
    return jax.tree.map(lambda leaf: leaf[indices] if eqx.is_array(leaf) else leaf, stacked)


def number_of(stacked: AbstractPolicy) -> int:
    """How many are stacked along the first axis of all arrays."""
    return len(jax.tree.leaves(eqx.filter(stacked, eqx.is_array))[0])


def _by_episode(rewards: Float[Array, "agents opponents batch episodes steps"]) -> Float[Array, "agents episodes"]:
    return rewards.mean(axis=(1, 2, 4))


def _frequencies(
    actions: Int[Array, "agents opponents batch episodes steps"], number: int
) -> Float[Array, "agents episodes actions"]:
    return jax.nn.one_hot(actions, number).mean(axis=(1, 2, 4))


def _finite(agents: AbstractPolicy) -> Bool[Array, " agents"]:
    finite = [
        jnp.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim)))
        for leaf in jax.tree.leaves(eqx.filter(agents, eqx.is_inexact_array))
    ]
    return jnp.stack(finite).all(axis=0)
