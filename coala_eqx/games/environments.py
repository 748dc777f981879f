"""Environments of other libraries as games."""

import copy
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, Shaped

from coala_eqx._checks import check_choice, check_flag
from coala_eqx.games import outside
from coala_eqx.games.base import AbstractGame
from coala_eqx.games.outside import Bounds, Held, Transition, Unfit
from coala_eqx.games.spaces import ActionSpace, Discrete, check_spaces

END, RESTART, IGNORE = "end", "restart", "ignore"


class EnvironmentState(eqx.Module):
    """The state of an environment, and whether it has come to its end in this inner episode."""

    state: Any
    over: Bool[Array, ""]


class FromEnvironment(AbstractGame):
    """An environment of JaxMARL, or one like Gymnax's for any number of players, as a game.

    - JaxMARL: `reset(key)` gives observations and state, and `step_env(key, state, actions)` observations, state,
      rewards, dones and infos. Its `step`, which starts anew after an end, is not used.
    - Gymnax: `reset(key, params)` and `step_env(key, state, actions, params)`, or `step` without a `step_env`.

    Observations, actions and rewards are by the names of `environment.agents`, or sequences with one entry for each of
    `num_agents` players. An environment that names no players has one, who takes a bare action and gets bare values.

    An inner episode has the length that its `ShapingProblem` says, and begins with a `reset`. An environment may come
    to its own end before: by `dones`, or by `infos["inner_episode_done"]` in JaxMARL's coin game, which starts anew by
    itself. `at_end` says what follows.

    - `"end"`: nothing. The reward of the last step counts. From then on players observe zeros and earn 0, and the
      environment stands still, until the inner episode is over.
    - `"restart"`: the environment is reset, and the inner episode goes on with a new start.
    - `"ignore"`: the environment goes on as it does by itself, starting anew or not.

    Gymnax's limit on time (`is_truncated`) is no end where there is a `step_env`.

    **Arguments:**

    - `environment`: any that is traceable by JAX, and hashable, as it is a static part of compiled programs.
    - `params`: a tree of arrays that is handed to it, as by Gymnax's convention; its `default_params` if it has some.
    - `at_end`: see above.
    - `flatten`: whether an observation, an array or a tree of them, becomes a vector; those of players who see less are
      filled up by zeros. If not, arrays pass as they are, such as images `[height, width, channels]`, and so do
      integers that number what is seen.

    Continuous actions are vectors (`Box`), clipped to the bounds of the environment's space. All players must have
    actions of one kind and length.

    **Raises** `ValueError` that says what is missing: a hash, discrete or continuous actions, observations that are
    arrays of real numbers, and a step that gives what it took.
    """

    held: Held = eqx.field(static=True)
    params: Any
    players: tuple[Any, ...] = eqx.field(static=True)
    named: bool = eqx.field(static=True)
    """Whether it has everything by the players' names."""

    at_end: str = eqx.field(static=True)
    flatten: bool = eqx.field(static=True)
    action_spaces: tuple[ActionSpace, ...] = eqx.field(static=True)
    bounds: tuple[Bounds | None, ...]
    """Bounds of each player's actions; `None` where they are discrete."""

    num_observations: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, environment: Any, params: Any = None, *, at_end: Any = END, flatten: Any = True):
        _check_hash(environment)
        check_choice("at_end", at_end, (END, RESTART, IGNORE))
        check_flag("flatten", flatten)
        self.held = Held(environment)
        self.params = getattr(environment, "default_params", None) if params is None else params
        self.at_end = at_end
        self.flatten = flatten
        self.players = outside.players_of(environment)
        actions = [outside.actions_of(environment, one, self._params()) for one in self.players]
        self.action_spaces = tuple(space for space, _ in actions)
        self.bounds = tuple(bounds for _, bounds in actions)
        check_spaces(self)
        named = []

        def see(key: Key[Array, ""]) -> tuple[Array, Any]:
            observations, state = self._reset(key)
            named.append(outside.names_players(environment) and isinstance(observations, Mapping))
            return self._together(observations), state

        try:
            seen, state = jax.eval_shape(see, jax.random.key(0))
        except Unfit:
            raise
        except Exception as error:  # of any kind, as it is somebody else's
            name = type(environment).__name__
            raise Unfit(f"{name}: `reset` must take a key, and give observations and a state: {error!r}") from error
        self.named = named[0]
        one = jax.ShapeDtypeStruct(seen.shape[1:], seen.dtype)
        self.num_observations = tuple(
            outside.number_of_observations(environment, player, self._params(), one) for player in self.players
        )
        self._check_step(state, seen)

    def __deepcopy__(self, memo: dict[int, Any]) -> "FromEnvironment":
        # The environment is static and may be compared by identity: a copy with another one would be another game.
        return jax.tree.map(lambda leaf: copy.deepcopy(leaf, memo), self)

    @property
    def environment(self) -> Any:
        """The environment itself."""
        return self.held.environment

    @property
    def num_players(self) -> int:
        return len(self.players)

    def reset(self, key: Key[Array, ""]) -> tuple[EnvironmentState, Shaped[Array, "players *features"]]:
        observations, state = self._reset(key)
        return EnvironmentState(state, jnp.zeros((), bool)), self._together(observations)

    def step(
        self, state: EnvironmentState, actions: Shaped[Array, "players *action"], key: Key[Array, ""]
    ) -> tuple[EnvironmentState, Shaped[Array, "players *features"], Float[Array, " players"]]:
        key_reset = key
        if self.at_end == RESTART:
            key, key_reset = jax.random.split(key)
        moved = self._step(state.state, actions, key)
        seen, rewards = self._together(moved.observations), self._rewards(moved.rewards)
        if self.at_end == IGNORE:
            return EnvironmentState(moved.state, state.over), seen, rewards
        if self.at_end == RESTART:
            observations, fresh = self._reset(key_reset)
            now = _where(moved.ended, fresh, moved.state)
            return EnvironmentState(now, state.over), _where(moved.ended, self._together(observations), seen), rewards
        over = state.over | moved.ended
        now = EnvironmentState(_where(over, state.state, moved.state), over)
        return now, _where(over, jnp.zeros_like(seen), seen), jnp.where(state.over, 0, rewards)

    def _reset(self, key: Key[Array, ""]) -> tuple[Any, Any]:
        return self.environment.reset(key, *self._params())

    def _step(self, state: Any, actions: Shaped[Array, "players *action"], key: Key[Array, ""]) -> Transition:
        step = getattr(self.environment, "step_env", None) or self.environment.step
        return outside.transition(step(key, state, self._given(actions), *self._params()))

    def _given(self, actions: Shaped[Array, "players *action"]) -> Any:
        fitting = [
            action if bounds is None else bounds.fitting(action)
            for action, bounds in zip(actions, self.bounds, strict=True)
        ]
        if not outside.names_players(self.environment):
            return fitting[0]
        return dict(zip(self.players, fitting, strict=True)) if self.named else tuple(fitting)

    def _params(self) -> tuple[Any, ...]:
        return () if self.params is None else (self.params,)

    def _together(self, observations: Any) -> Shaped[Array, "players *features"]:
        return outside.together(outside.by_player(self.environment, self.players, observations), self.flatten)

    def _rewards(self, rewards: Any) -> Float[Array, " players"]:
        each = outside.by_player(self.environment, self.players, rewards)
        return jnp.stack([jnp.asarray(reward, float).reshape(()) for reward in each])

    def _check_step(self, state: Any, seen: Any) -> None:
        """**Raises** `ValueError` unless a step gives what is seen, of the same sizes, the next state, and rewards."""
        name, space = type(self.environment).__name__, self.action_spaces[0]
        kind = int if isinstance(space, Discrete) else float
        actions = jnp.zeros((len(self.players), *space.shape), kind)

        def step(state: Any, key: Key[Array, ""]) -> tuple[Any, Array, Array]:
            moved = self._step(state, actions, key)
            return moved.state, self._together(moved.observations), self._rewards(moved.rewards)

        try:
            after, then, _ = jax.eval_shape(step, state, jax.random.key(0))
        except Unfit:
            raise
        except Exception as error:  # of any kind, as it is somebody else's
            raise Unfit(
                f"{name}: a step must take a key, a state and actions, and give observations, a state, and rewards of "
                f"each player: {error!r}. Of a wrapper with a state of its own, give the environment inside."
            ) from error
        if (now := _shapes(after)) != (before := _shapes(state)):
            if jax.tree.leaves(now) == jax.tree.leaves(before):  # in other containers
                before, now = jax.tree.structure(state), jax.tree.structure(after)
            raise Unfit(
                f"{name}: a step must give a state of the same arrays as it took, but took {before} and gave {now}."
            )
        if (then.shape, then.dtype) != (seen.shape, seen.dtype):
            first, later = (f"{one.dtype}{list(one.shape)}" for one in (seen, then))
            raise Unfit(f"{name}: players see {first} at first, but {later} after a step.")


def _check_hash(environment: Any) -> None:
    try:
        hash(environment)
    except TypeError as error:
        raise Unfit(
            f"{type(environment).__name__} must be hashable, as it is a static part of compiled programs, but: "
            f"{error}. A dataclass is with `eq=False`."
        ) from error


def _shapes(state: Any) -> Any:
    return jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", state)


def _where(holds: Bool[Array, ""], one: Any, other: Any) -> Any:
    """One of two trees of alike arrays."""
    return jax.tree.map(lambda a, b: jnp.where(holds, a, b), one, other)
