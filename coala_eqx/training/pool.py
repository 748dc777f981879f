"""A pool of meta agents that learn from playing naive learners and each other."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from coala_eqx.arrays import check_whole
from coala_eqx.estimators import AbstractEstimator, AbstractScoreFunctionEstimator, BatchUnaware
from coala_eqx.estimators.base import Gradient
from coala_eqx.games import AbstractDrawnGame, AbstractGame
from coala_eqx.learners import AbstractLearner, Static
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import MetaEpisode, ShapingProblem
from coala_eqx.shaping.problem import size
from coala_eqx.training.batch import Batch, make_batch
from coala_eqx.training.fit import check_makes_policies, check_pool, is_look_ahead, static_number
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
        return jax.random.fold_in(self.key, self.iteration.astype(jnp.uint32) + jnp.uint32(number * 2**30))


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
    """Whether all parameters still are, but for those of −∞, which mask an action and stay so."""


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
    - `discount`, `td_lambda`: per step, of the critic's targets, which are of the return that the estimator's critic is
      of; estimators must discount alike, those without a `discount` at 1.
    - `gae_lambda`: of the advantages against meta agents; against learners estimators have their own.
    - `leave_one_out`: whether advantages are taken less their mean at the same step in the other meta-episodes against
      opponents of the same kind, of which there must be two or more then: a baseline that adds no bias.
    - `centre`: whether advantages are centred, apart for naive and meta opponents; with `leave_one_out` they are.
    - `naive_weight`: multiplies the gradients of meetings with naive learners, so that what they weigh is not tied to
      how many there are: agents climb p_naive · naive_weight times their return against learners plus 1 − p_naive
      times that against meta agents. One for all agents, or one for each.
    - `entropy_until`: if given, the update's entropy coefficient falls to 0 linearly by this iteration.
    - `horizon`: of estimators that are no score functions only. All must be the same then, and all opponents naive; the
      update is one step of the optimiser along the estimate, and no setting of advantages, losses or clips applies. An
      estimator of a look-ahead, such as LOLA-DiCE, sees so many inner episodes, the first ones of each meta-episode,
      which makes horizon − 1 look-aheads; 2 unless given. Any other one sees all of them.
    - `group`: if given, at most so many opponents are met at a time on each device, the same to rounding: a CPU whose
      cache holds their networks is faster so.

    **Raises** `ValueError` for settings that do not fit each other.

    Source: Meulemans et al. (2025), Section 5 and App. A and B.
    """

    game: AbstractGame
    learner: AbstractLearner
    update: AbstractUpdate
    estimators: tuple[AbstractEstimator, ...]
    batch: int = eqx.field(static=True, converter=functools.partial(size, "batch"))
    episodes: int = eqx.field(static=True, converter=functools.partial(size, "episodes"))
    steps: int = eqx.field(static=True, converter=functools.partial(size, "steps"))
    meta_batch: int = eqx.field(static=True, converter=functools.partial(size, "meta_batch"))
    p_naive: float = eqx.field(static=True, default=1.0, converter=static_number)
    dynamic_naive: bool = eqx.field(static=True, default=False)
    reward_scale: float = 1.0
    discount: float = 1.0
    td_lambda: float = 1.0
    gae_lambda: float = 1.0
    leave_one_out: bool = eqx.field(static=True, default=False)
    centre: bool = eqx.field(static=True, default=False)
    naive_weight: float | tuple[float, ...] = 1.0
    entropy_until: int | None = eqx.field(static=True, default=None)
    horizon: int | None = eqx.field(static=True, default=None)
    group: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        check_pool(self)

    @property
    def by_advantages(self) -> bool:
        """Whether the estimators give advantages."""
        return all(isinstance(estimator, AbstractScoreFunctionEstimator) for estimator in self.estimators)

    @property
    def looks_ahead(self) -> bool:
        """Whether the estimators are followed directly, and of a look-ahead, such as LOLA-DiCE."""
        return not self.by_advantages and is_look_ahead(self.estimators[0])

    @property
    def length(self) -> int:
        """How many inner episodes of a meta-episode the estimators see."""
        if self.horizon is not None:
            return self.horizon
        return 2 if self.looks_ahead else self.episodes

    @property
    def num_naive(self) -> int:
        """How many of an agent's opponents are naive learners."""
        return round(self.p_naive * self.meta_batch)

    @property
    def num_meta(self) -> int:
        """How many are meta agents."""
        return self.meta_batch - self.num_naive

    def init(self, make_agent: MakePolicy, make_naive: MakePolicy, num_naive: int, key: Key[Array, ""]) -> PoolState:
        """The state before the first iteration: `num_naive` is the size of the naive population.

        **Raises** `ValueError` for fewer than one, or anything but functions key → policy.
        """
        check_whole("num_naive", num_naive, 1, "as many as the naive population has members")
        check_makes_policies("make_agent", make_agent)
        check_makes_policies("make_naive", make_naive)
        key_agents, key_naive, key = jax.random.split(key, 3)
        agents = eqx.filter_vmap(make_agent)(jax.random.split(key_agents, len(self.estimators)))
        naive = eqx.filter_vmap(make_naive)(jax.random.split(key_naive, num_naive))
        for name, made in (("make_agent", agents), ("make_naive", naive)):
            if not isinstance(made, AbstractPolicy):
                raise ValueError(f"`{name}` must return a policy (an AbstractPolicy), but returned {made!r}.")
        return PoolState(
            agents=agents,
            optimiser=eqx.filter_vmap(self.update.init)(agents),
            naive=naive,
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
            finite=_finite(agents, state.agents),
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
        return naive, meta + (meta >= index).astype(
            meta.dtype
        )  # the numbers from the agent's own on are moved up, so that it is left out

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
        (estimator, *_), length = self.estimators, self.length

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


def _finite(agents: AbstractPolicy, before: AbstractPolicy) -> Bool[Array, " agents"]:
    leaves = [jax.tree.leaves(eqx.filter(policies, eqx.is_inexact_array)) for policies in (agents, before)]
    finite = [
        (jnp.isfinite(new) | jnp.isneginf(new) & jnp.isneginf(old)).all(axis=tuple(range(1, new.ndim)))
        for new, old in zip(*leaves, strict=True)
    ]
    return jnp.stack(finite).all(axis=0)
