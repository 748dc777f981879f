"""Environments of other libraries as games."""

import copy
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from coala_eqx.games.base import AbstractGame


class _Unfit(ValueError):
    """What an environment lacks, told apart from its own errors."""


class FromEnvironment(AbstractGame):
    """An environment of JaxMARL, or one like Gymnax's for several players, as a game.

    - JaxMARL: `reset(key)` gives observations and state, and `step_env(key, state, actions)` observations, state and
      rewards. Its `step`, which starts anew where an environment is done, is not used; but some `step_env` do so, too.
    - As Gymnax: `reset(key, params)` and `step_env(key, state, actions, params)`, or `step` without a `step_env`.

    Observations, actions and rewards are by the names of `environment.agents`, or sequences with one entry for each
    player. A player's observation is an array or a tree of them, which is flattened to a vector.

    When an environment says that it is done is not looked at: a `ShapingProblem` has inner episodes of a length of its
    own, and the environment should not end, or start anew, within one. (JaxMARL's coin game does after
    `num_inner_steps`, with a reward of 0 in that step.)

    **Arguments:**

    - `environment`: any that is traceable by JAX, and hashable, as it is a static part of compiled programs.
    - `params`: a tree of arrays that is handed to it, as by Gymnax's convention; its `default_params` if it has some.

    **Raises** `ValueError` that says what is missing: a hash, players, numbers of actions, observations that are arrays
    of real numbers, and alike for all players.
    """

    environment: Any = eqx.field(static=True)
    params: Any
    players: tuple[Any, ...] = eqx.field(static=True)
    named: bool = eqx.field(static=True)
    """Whether it has everything by the players' names."""

    num_actions: tuple[int, ...] = eqx.field(static=True)
    num_observations: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, environment: Any, params: Any = None):
        _check_hash(environment)
        self.environment = environment
        self.params = getattr(environment, "default_params", None) if params is None else params
        self.players = _players(environment)
        self.num_actions = tuple(self._number_of_actions(player) for player in self.players)
        name, named = type(environment).__name__, []

        def see(key: Key[Array, ""]) -> tuple[list[Array], Any]:
            observations, state = self._reset(key)
            named.append(isinstance(observations, Mapping))
            return [_as_vector(observation) for observation in self._by_player(observations)], state

        try:
            vectors, state = jax.eval_shape(see, jax.random.key(0))
        except _Unfit:
            raise
        except Exception as error:  # of any kind, as it is somebody else's
            raise _Unfit(f"{name}: `reset` must take a key, and give observations and a state: {error!r}") from error
        self.named, lengths = named[0], [len(vector) for vector in vectors]
        if 0 in lengths:
            raise _Unfit(f"{name}: observations must hold a number or more, but their lengths are {lengths}.")
        if len(set(lengths)) > 1:
            raise _Unfit(
                f"{name}: all players must see vectors of one length, but theirs are {lengths}. Pad the shorter ones."
            )
        self.num_observations = tuple(lengths)
        self._check_step(state)

    def __deepcopy__(self, memo: dict[int, Any]) -> "FromEnvironment":
        # The environment is static and may be compared by identity: a copy with another one would be another game.
        return jax.tree.map(lambda leaf: copy.deepcopy(leaf, memo), self)

    def _check_step(self, state: Any) -> None:
        """**Raises** `ValueError` unless a step gives what is seen, of the same sizes, the next state, and rewards."""
        name, actions = type(self.environment).__name__, jnp.zeros(len(self.players), int)
        try:
            after, seen, _ = jax.eval_shape(lambda state, key: self.step(state, actions, key), state, jax.random.key(0))
        except _Unfit:
            raise
        except Exception as error:  # of any kind, as it is somebody else's
            raise _Unfit(
                f"{name}: a step must take a key, a state and actions, and give observations, a state, and rewards of "
                f"each player: {error!r}"
            ) from error
        if (now := _shapes(after)) != (before := _shapes(state)):
            if jax.tree.leaves(now) == jax.tree.leaves(before):  # in other containers
                before, now = jax.tree.structure(state), jax.tree.structure(after)
            raise _Unfit(
                f"{name}: a step must give a state of the same arrays as it took, but took {before} and gave {now}."
            )
        if seen.shape != (expected := (len(self.players), self.num_observations[0])):
            raise _Unfit(f"{name}: players see {expected} numbers at first, but {seen.shape} after a step.")

    @property
    def num_players(self) -> int:
        return len(self.players)

    def reset(self, key: Key[Array, ""]) -> tuple[Any, Float[Array, "players features"]]:
        observations, state = self._reset(key)
        return state, self._vectors(observations)

    def step(
        self, state: Any, actions: Int[Array, " players"], key: Key[Array, ""]
    ) -> tuple[Any, Float[Array, "players features"], Float[Array, " players"]]:
        given = dict(zip(self.players, actions, strict=True)) if self.named else tuple(actions)
        step = getattr(self.environment, "step_env", None) or self.environment.step
        observations, state, rewards, *_ = step(key, state, given, *self._params())
        earned = [jnp.asarray(reward, float).reshape(()) for reward in self._by_player(rewards)]
        return state, self._vectors(observations), jnp.stack(earned)

    def _reset(self, key: Key[Array, ""]) -> tuple[Any, Any]:
        return self.environment.reset(key, *self._params())

    def _params(self) -> tuple[Any, ...]:
        return () if self.params is None else (self.params,)

    def _by_player(self, values: Any) -> list[Any]:
        if isinstance(values, Mapping) and set(self.players) <= set(values):
            return [values[player] for player in self.players]
        if not isinstance(values, Mapping) and len(values) == len(self.players):
            return list(values)
        raise _Unfit(
            f"{type(self.environment).__name__}: there must be one observation, and one reward, for each of the players"
            f" {', '.join(map(str, self.players))}, but there are {list(values)!r}."
        )

    def _vectors(self, observations: Any) -> Float[Array, "players features"]:
        return jnp.stack([_as_vector(observation) for observation in self._by_player(observations)])

    def _number_of_actions(self, player: Any) -> int:
        environment, spaces = self.environment, []
        for where in (player, *self._params()):
            with suppress(Exception):  # of any kind, as it is somebody else's
                spaces.append(environment.action_space(where))
        sources = [lambda space=space: space.n for space in spaces]
        for source in (*sources, lambda: environment.num_actions):
            with suppress(Exception):
                if (number := int(given := source())) > 0 and number == given:
                    return number
        raise _Unfit(
            f"{type(environment).__name__}: actions must be discrete (0, 1, …), by an `action_space` with a positive "
            f"whole `n`, or `num_actions`{f'; its space of actions is {spaces[0]!r}' if spaces else ''}."
        )


def _players(environment: Any) -> tuple[Any, ...]:
    agents = getattr(environment, "agents", None)
    number = getattr(environment, "num_agents", getattr(environment, "num_players", None))
    if agents is None and number is None:
        raise _Unfit(f"{type(environment).__name__} must say who plays: `agents`, `num_agents` or `num_players`.")
    if agents is None:
        if not isinstance(number, int | np.integer):
            raise _Unfit(f"{type(environment).__name__} must have a whole number of players, but has {number!r}.")
        agents = range(int(number))
    players = tuple(agents)
    if len(players) < 2:
        raise _Unfit(f"{type(environment).__name__} must have two players or more, but has {len(players)}.")
    if len(set(players)) < len(players):
        raise _Unfit(f"{type(environment).__name__} must have players of different names, but has {players}.")
    return players


def _check_hash(environment: Any) -> None:
    try:
        hash(environment)
    except TypeError as error:
        raise _Unfit(
            f"{type(environment).__name__} must be hashable, as it is a static part of compiled programs, but: "
            f"{error}. A dataclass is with `eq=False`."
        ) from error


def _shapes(state: Any) -> Any:
    return jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", state)


def _as_vector(observation: Any) -> Float[Array, " features"]:
    leaves = jax.tree.leaves(observation)
    for leaf in leaves:
        kinds = (jnp.bool_, jnp.integer, jnp.floating)
        if not hasattr(leaf, "dtype") or not any(jnp.issubdtype(leaf.dtype, kind) for kind in kinds):
            raise _Unfit(f"An observation must be an array of real numbers, or a tree of them, but has {leaf!r}.")
    if not leaves:
        raise _Unfit("An observation must be an array of real numbers, or a tree of them, but is empty.")
    return jnp.concatenate([jnp.ravel(leaf).astype(jnp.result_type(float)) for leaf in leaves])
