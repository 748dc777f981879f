"""Random cases: games, policies, learners and sizes.

A `Case` consists of small integers and words. It prints as the Python expression that makes it, and `build` makes the
problem and the ego policy from it, so a counterexample can be pasted and run again.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax

import coala_eqx as ce
from coala_eqx.games import AbstractEnumerableGame, MatrixGame, TabularGame
from coala_eqx.learners import AbstractDrawingLearner, AbstractLearner, Experience, PolicyGradient, Static
from coala_eqx.policies import GRU, AbstractPolicy, FullHistory, Hawk, MemoryOne
from proofs_checks.common.programs import forget_programs_at_times


class Nonlinear(AbstractLearner):
    """A learner that is not a gradient of anything: an arbitrary function of the batch, with a state of its own and
    jumps.
    """

    exchangeable: ClassVar[bool] = True

    def init(self, policy: AbstractPolicy, key: Any = None) -> jax.Array:
        return jnp.zeros(())

    def update(
        self, policy: AbstractPolicy, state: jax.Array, experience: Experience, key: Any = None
    ) -> tuple[Any, Any]:
        returns = experience.rewards.sum(axis=1)
        state = 0.5 * state + jnp.prod(jnp.tanh(returns)) + jnp.max(experience.actions)
        shift = jnp.where(jnp.max(returns) > state, jnp.sin(3 * jnp.sum(returns**2)), -jnp.cos(state))
        return _shift_parameters(policy, shift), state


class Ordered(AbstractLearner):
    """A learner that weighs the trajectories of the batch by their position, so that their order matters."""

    exchangeable: ClassVar[bool] = False

    def init(self, policy: AbstractPolicy, key: Any = None) -> None:
        return None

    def update(self, policy: AbstractPolicy, state: None, experience: Experience, key: Any = None) -> tuple[Any, None]:
        weights = 1.0 + jnp.arange(experience.rewards.shape[0])
        return _shift_parameters(policy, jnp.sin(weights @ experience.rewards.sum(axis=1))), None


class Drawing(AbstractDrawingLearner):
    """Weighs the trajectories by their position and by one of three draws, which are not equally likely."""

    def init(self, policy: AbstractPolicy, key: Any = None) -> None:
        return None

    def draw(self, batch: int, key: Any) -> jax.Array:
        draws, probabilities = self.draws(batch)
        return draws[jax.random.categorical(key, jnp.log(probabilities))]

    def num_draws(self, batch: int) -> int:
        return 3

    def draws(self, batch: int) -> tuple[jax.Array, jax.Array]:
        return jnp.array([-2.0, 0.5, 3.0]), jnp.array([0.2, 0.5, 0.3])

    def learn(self, policy: AbstractPolicy, state: None, experience: Experience, draw: jax.Array) -> tuple[Any, None]:
        weights = draw + jnp.arange(experience.rewards.shape[0])
        return _shift_parameters(policy, jnp.sin(weights @ experience.rewards.sum(axis=1) + draw)), None


def _shift_parameters(policy: AbstractPolicy, shift: jax.Array) -> AbstractPolicy:
    arrays, rest = eqx.partition(policy, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(lambda leaf: leaf + shift * jnp.cos(2 * leaf + shift), arrays), rest)


LEARNERS: dict[str, AbstractLearner] = {
    "sgd": PolicyGradient(optimiser=optax.sgd(1.0)),
    "static": Static(),
    "momentum": PolicyGradient(optimiser=optax.sgd(1.0, momentum=0.9), discount=0.9),
    "adam": PolicyGradient(optimiser=optax.adam(0.5, eps_root=1e-4)),
    "normalised": PolicyGradient(optimiser=optax.sgd(1.0), normalise_advantages=True),
    "centred": PolicyGradient(optimiser=optax.sgd(2.0), baseline="batch_mean"),
    "a2c": PolicyGradient(optimiser=optax.adam(0.5, eps_root=1e-4), discount=0.9, baseline="critic"),
    "nonlinear": Nonlinear(),
    "ordered": Ordered(),
}
"""Learners, keyed by name. They are made once, because an optimiser is static and each new one compiles another
program.
"""

EXCHANGEABLE = tuple(name for name, learner in LEARNERS.items() if learner.exchangeable)
"""Names of the learners that do not depend on the order of the trajectories."""

EGOS = ("MemoryOne", "FullHistory", "GRU", "Hawk")

_SIGHTS: dict[str, Callable[[int], int]] = {"all": lambda s: s, "some": lambda s: min(s, 1), "none": lambda s: 0}
"""Observation of state s, keyed by the kind of sight."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A shaping problem and an ego policy, described by words and small numbers."""

    actions: tuple[int, ...] = (2, 2)
    """Number of actions of each player."""

    sights: tuple[str, ...] = ()
    """Sight of each player of a stochastic game's state: `"all"`, `"some"` or `"none"`; empty for a matrix game."""

    states: int = 1
    """Number of states of a stochastic game."""

    ego: str = "MemoryOne"
    learner: str = "sgd"
    population: int = 1
    """Number of policies from which the first co-player is drawn."""

    batch: int = 2
    episodes: int = 2
    steps: int = 1
    seed: int = 0
    """Seed of the numbers: payoffs, transitions and logits. All but a network's have one decimal."""

    def count(self) -> int:
        """Number of outcomes to enumerate. It does not exceed the count of the exact functions."""
        inner = (self.states * math.prod(self.actions)) ** self.steps
        trajectories = inner**self.episodes
        if self.learner in EXCHANGEABLE:
            return self.population * math.comb(trajectories + self.batch - 1, self.batch)
        return self.population * trajectories**self.batch

    def histories(self) -> int:
        """Number of rows of a table of all histories of the ego agent."""
        own, others = self.actions[0], math.prod(self.actions[1:])
        seen = len({_SIGHTS[self.sights[0]](state) for state in range(self.states)}) if self.sights else others + 1
        return sum((seen if self.sights else 1) * (own * seen) ** step for step in range(self.episodes * self.steps))

    def build(self) -> tuple[ce.ShapingProblem, Any]:
        """The problem and the ego policy. **Raises** `RuntimeError` if 64-bit types are off."""
        if jnp.result_type(float) != jnp.float64:
            raise RuntimeError('Checks need 64-bit types: jax.config.update("jax_enable_x64", True).')
        generator = np.random.default_rng(self.seed)
        game = self._game(generator)
        co_players: list[Any] = [self._co_player(game, player, generator) for player in range(1, len(self.actions))]
        if self.population > 1:
            members = [co_players[0], *(self._co_player(game, 1, generator) for _ in range(self.population - 1))]
            co_players[0] = ce.Population(members, _distributions(generator, (self.population,)))
        problem = ce.ShapingProblem(
            game=game,
            co_players=co_players,
            learner=LEARNERS[self.learner],
            batch=self.batch,
            episodes=self.episodes,
            steps=self.steps,
        )
        return problem, self._ego(game, generator)

    def build_with_random_critic(self) -> tuple[ce.ShapingProblem, AbstractPolicy]:
        """The problem, and the ego policy with a random value for every history. A policy with a value head stays as it
        is.
        """
        problem, policy = self.build()
        if isinstance(policy, GRU | Hawk):
            return problem, policy
        table = self._tabulate(problem, policy)
        return problem, table.with_critic(2 * jax.random.normal(jax.random.key(self.seed), table.logits.shape[:1]))

    def build_with_exact_critic(self) -> tuple[ce.ShapingProblem, FullHistory]:
        """The problem, and a table of the ego policy with the exact critic of its own return (Eq. 10)."""
        problem, policy = self.build()
        return problem, ce.exact.exact_critic(problem, self._tabulate(problem, policy), ce.exact.own_return)

    def _tabulate(self, problem: ce.ShapingProblem, policy: AbstractPolicy) -> FullHistory:
        if isinstance(policy, FullHistory):
            return policy
        return FullHistory.tabulate(policy, problem.game, self.episodes * self.steps)

    def describe(self) -> str:
        """All numbers of the case, as text."""
        problem, policy = self.build()
        lines = [f"{self}, with"]
        for name, tree in (("game", problem.game), ("co-players", problem.co_players), ("ego", policy)):
            for path, leaf in jax.tree.leaves_with_path(eqx.filter(tree, eqx.is_array)):
                text = np.array2string(np.asarray(leaf), precision=3, separator=", ", threshold=60)
                lines.append(f"{name}{jax.tree_util.keystr(path)} = {text}")
        return "\n".join(lines)

    def _game(self, generator: np.random.Generator) -> AbstractEnumerableGame:
        players = len(self.actions)
        if not self.sights:
            return MatrixGame(generator.uniform(-2, 2, size=(players, *self.actions)).round(1))
        return TabularGame(
            initial=_distributions(generator, (self.states,)),
            transition=_distributions(generator, (self.states, *self.actions, self.states)),
            rewards=generator.uniform(-2, 2, size=(players, self.states, *self.actions)).round(1),
            observations=[[_SIGHTS[sight](state) for state in range(self.states)] for sight in self.sights],
            num_observations=(self.states,) * players,
        )

    def _co_player(self, game: AbstractEnumerableGame, player: int, generator: np.random.Generator) -> AbstractPolicy:
        shape = game.num_observations[player], game.num_actions[player]
        if self.learner == "a2c":
            return GRU(*shape, width=2, head_scale=2.0, key=jax.random.key(int(generator.integers(2**31))))
        return MemoryOne(generator.uniform(-1.5, 1.5, size=shape).round(1))

    def _ego(self, game: AbstractEnumerableGame, generator: np.random.Generator) -> AbstractPolicy:
        shape = game.num_observations[0], game.num_actions[0]
        key = jax.random.key(int(generator.integers(2**31)))
        if self.ego == "MemoryOne":
            return MemoryOne(generator.uniform(-1.5, 1.5, size=shape).round(1))
        if self.ego == "FullHistory":
            table = FullHistory.random(game, self.episodes * self.steps, key)
            return eqx.tree_at(lambda policy: policy.logits, table, jnp.asarray(np.round(table.logits, 1)))
        if self.ego == "Hawk":
            return Hawk(*shape, width=2, kernel=2, head_scale=2.0, key=key)
        return GRU(*shape, width=3, head_scale=2.0, key=key)


def _distributions(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random distributions along the last axis, in tenths, none of them zero."""
    tenths = generator.multinomial(10 - shape[-1], np.full(shape[-1], 1 / shape[-1]), size=shape[:-1])
    return (1 + tenths) / 10


COVER = {
    "plain": Case(),
    "alone": Case(ego="FullHistory", batch=1, steps=2),
    "steps": Case(ego="FullHistory", steps=2),
    "normalised": Case(actions=(2, 3), ego="FullHistory", learner="normalised", batch=3),
    "three players": Case(actions=(2, 2, 2), ego="FullHistory", learner="momentum"),
    "remembering networks": Case(ego="GRU", steps=2),
    "hidden states": Case(sights=("all", "none"), states=2, ego="FullHistory", learner="centred", batch=1, steps=2),
    "networks": Case(sights=("some", "all"), states=3, ego="GRU", learner="a2c", population=2),
    "adam": Case(ego="Hawk", learner="adam", episodes=3),
    "nonlinear": Case(sights=("none", "all"), states=2, ego="FullHistory", learner="nonlinear", batch=3),
    "static": Case(actions=(3, 2), ego="FullHistory", learner="static", population=3),
    "one player": Case(actions=(3,), ego="FullHistory", steps=2),
    "ordered": Case(ego="FullHistory", learner="ordered", batch=3),
}
"""Cases from simple to intricate, which together cover everything that `cases` can draw. They are few, because each
must be compiled.
"""


def dilemma() -> tuple[ce.ShapingProblem, FullHistory]:
    """The paper's prisoner's dilemma with B, M, T = 2, 2, 2 and a remembering ego agent, against SGD."""
    problem, policy = COVER["steps"].build()
    payoffs = ce.games.iterated_prisoners_dilemma().payoffs
    return eqx.tree_at(lambda p: p.game.payoffs, problem, payoffs), policy


_GAMES = tuple(
    (actions, sights, max(1, states))
    for actions in ((2, 2), (2, 3), (3, 2), (3, 3), (2, 2, 2), (2, 3, 2), (3, 2, 2), (2,), (3,))
    for states in (0, 2, 3)
    for sights in ([()] if states == 0 else itertools.product(_SIGHTS, repeat=len(actions)))
    if states == 3 or "some" not in sights  # with two states, "some" sees as much as "all"
)
_SIZES = tuple(itertools.product((1, 2, 3, 4, 5, 6), (1, 2, 3, 4), (1, 2, 3)))

_MOST_HISTORIES = 2000
"""Largest number of rows of a table. A gradient of that size is computed for every outcome."""

_KINDS = (0, 0, 0, 0, 0, 0, 1, 1, 1, 2)
"""Frequencies of the kinds of cases (see `_fitting`), if cases of the kind exist."""


SCALE = 1.0
"""Factor on the numbers of examples in the deep profile, set by the option `--scale`."""


def is_deep() -> bool:
    """Whether the deep profile is on, which may draw any case and take any time."""
    return hypothesis.settings.get_current_profile_name() == "deep"


def cases(
    *,
    cover: Sequence[str | Case] = tuple(COVER),
    limit: int = 300_000,
    tabulated: bool = False,
    **only: Sequence[Any],
) -> st.SearchStrategy[Case]:
    """A strategy that draws cases: of any kind with up to `limit` outcomes in the deep profile, else `cover` with two
    seeds.

    **Arguments:**

    - `cover`: cases, or names of cases in `COVER`.
    - `limit`: largest number of outcomes in the deep profile.
    - `tabulated`: whether every ego policy is made into a table of all histories, which then must not be too large.
    - `only`: allowed values of some fields of `Case`.
    """
    if is_deep():
        return _any_case(limit, tabulated, only)
    known = [COVER[case] if isinstance(case, str) else case for case in cover]
    allowed = [case for case in known if all(getattr(case, field) in values for field, values in only.items())]
    return st.sampled_from([dataclasses.replace(case, seed=seed) for seed in (0, 1) for case in allowed])


@st.composite
def _any_case(draw: st.DrawFn, limit: int, tabulated: bool, only: dict[str, Sequence[Any]]) -> Case:
    """Draw the learner and the population first, then a game and sizes that fit into the limit, then an ego policy."""
    forget_programs_at_times()
    learner = draw(st.sampled_from([name for name in LEARNERS if name in only.get("learner", LEARNERS)]))
    population = draw(st.sampled_from([size for size in (1, 2, 3) if size in only.get("population", (1, 2, 3))]))
    restricted = tuple(sorted((field, tuple(values)) for field, values in only.items()))
    kinds = _fitting(learner, population, limit, tabulated, restricted)
    hypothesis.assume(kinds)
    case = draw(st.sampled_from(kinds[draw(st.sampled_from(_KINDS)) % len(kinds)]))
    egos = [ego for ego in EGOS if ego in only.get("ego", EGOS)]
    if case.histories() > _MOST_HISTORIES:
        egos = [ego for ego in egos if ego != "FullHistory"]
    hypothesis.assume(egos)
    return dataclasses.replace(case, ego=draw(st.sampled_from(egos)), seed=draw(st.integers(0, 10_000)))


@functools.cache
def _fitting(
    learner: str, population: int, limit: int, tabulated: bool, restricted: tuple[tuple[str, tuple], ...]
) -> list[list[Case]]:
    """All games and sizes within the limit, by number of outcomes, in up to three kinds.

    The first kind has several trajectories, inner episodes and players. The second also has several steps. The third
    has all others. Empty kinds are left out.
    """
    fitting = []
    for (actions, sights, states), (batch, episodes, steps) in itertools.product(_GAMES, _SIZES):
        case = Case(actions, tuple(sights), states, EGOS[0], learner, population, batch, episodes, steps)
        allowed = all(getattr(case, field) in values for field, values in restricted if field != "ego")
        small = case.count() <= limit and not (tabulated and case.histories() > _MOST_HISTORIES)
        if allowed and small and (len(actions) > 1 or population == 1):
            fitting.append(case)
    kinds = [[], [], []]
    for case in sorted(fitting, key=Case.count):
        telling = case.batch > 1 and case.episodes > 1 and len(case.actions) > 1
        kinds[(1 if case.steps > 1 else 0) if telling else 2].append(case)
    return [kind for kind in kinds if kind]


def examples(ci: int, deep: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Set the number of examples of a test: `deep` times `SCALE` in the deep profile, `ci` in all others."""
    return hypothesis.settings(max_examples=max(1, round(SCALE * deep)) if is_deep() else ci)
