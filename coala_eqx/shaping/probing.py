"""Probes: numbers that tell what co-players have learned, and what the ego agent remembers.

A critic that sees the learner (`coala_eqx.estimators.critics`) is a function of these numbers. A co-player's parameters
are too many for it, and mean nothing by themselves. Its outputs on a few observations say what it does.

Source: Harb et al. (2020), policy evaluation networks; Faccio et al. (2021), parameter-based value functions.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from coala_eqx._checks import check_flag, check_whole
from coala_eqx.arrays import concrete
from coala_eqx.games import AbstractGame, ActionSpace, Discrete
from coala_eqx.learners import AbstractLearner, coast
from coala_eqx.policies import AbstractPolicy
from coala_eqx.policies.base import PolicyOutput, PolicyState, initial_policy_state
from coala_eqx.policies.distributions import Categorical

_LEAST_LOG_PROB = -20.0
"""Log-probabilities are cut here, so that a masked action is a finite number."""

FEW_OBSERVATIONS = 32
"""Largest number of observations that are all shown."""


class LearnerFeatures(eqx.Module):
    """What a critic may know of co-players and memories around each inner episode."""

    before: Float[Array, "episodes features"]
    """All co-players' features before each inner episode."""

    without: Float[Array, "groups episodes features"]
    """The same after the inner episode, had one group of its trajectories not been played. 0 for the last one, after
    which nobody learns."""

    memories: Float[Array, "batch episodes memory"]
    """The ego agent's memory before each inner episode, on each trajectory."""


class AbstractProbe(eqx.Module):
    """A function of co-players and of the ego agent's memory.

    **Arguments:**

    - `groups`: number of groups of trajectories that are left out one after the other. It must divide the batch. `None`
      leaves out each trajectory alone. 1 leaves out all: there are no counterfactual updates.
    """

    groups: eqx.AbstractVar[int | None]

    @abc.abstractmethod
    def co_player(
        self, number: int, policy: AbstractPolicy, learner: AbstractLearner, state: Any
    ) -> Float[Array, " features"]:
        """Features of a co-player and of its learner's state. `number` is that of the player, 1 for the first."""

    @abc.abstractmethod
    def memory(self, policy: AbstractPolicy, state: PolicyState) -> Float[Array, "batch memory"]:
        """Features of what the ego agent remembers on each trajectory."""

    @abc.abstractmethod
    def check(self, game: AbstractGame) -> None:
        """Check that the probe fits a game; raises `ValueError` that says why not."""

    def groups_of(self, batch: int) -> int:
        """The number of groups in a batch. **Raises** `ValueError` if it does not divide the batch."""
        groups = self.groups or batch
        if batch % groups:
            raise ValueError(f"`groups` must divide batch = {batch}, but is {groups}.")
        return groups

    def co_players(
        self, policies: tuple[AbstractPolicy, ...], learners: tuple[AbstractLearner, ...], states: tuple[Any, ...]
    ) -> Float[Array, " features"]:
        """Features of all co-players, one after the other."""
        found = [
            self.co_player(number, *one) for number, one in enumerate(zip(policies, learners, states, strict=True), 1)
        ]
        return jnp.concatenate([jnp.zeros(0), *found])


class OutputProbe(AbstractProbe):
    """Outputs of all players on probing observations: what they would do, and what their critics say.

    Co-players answer with the fresh memory of an inner episode. The ego agent answers with the memory that it has.
    Log-probabilities are centred and cut at −20; Gaussians answer by mean and log-deviation.

    **Arguments:**

    - `observations`: one array `[probes, *observation]` for each player, the ego agent's first.
    - `momentum`: whether the change of a co-player's outputs by a step of its optimiser with gradient 0 is shown, too.
      It tells what the optimiser's state will do. Learners without an optimiser have no such step.
    - `groups`: as in `AbstractProbe`.

    **Raises** `ValueError` for arrays without probes, a flag that is none, or a number of groups that is not positive.
    """

    observations: tuple[Shaped[Array, "probes *observation"], ...]
    momentum: bool = eqx.field(static=True, default=True)
    groups: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if not isinstance(self.observations, tuple):
            raise ValueError(
                f"`observations` must be a tuple with an array for each player, but is {self.observations!r}."
            )
        for player, one in enumerate(self.observations):
            if jnp.ndim(one) == 0 or not len(one):
                raise ValueError(
                    f"observations[{player}] must be an array [probes, …] with one probe or more, but has shape "
                    f"{jnp.shape(one)}."
                )
        check_flag("momentum", self.momentum)
        if self.groups is not None:
            check_whole("groups", self.groups, 1)

    def check(self, game: AbstractGame) -> None:
        """**Raises** `ValueError` unless the observations are the game's."""
        if len(self.observations) != game.num_players:
            raise ValueError(
                f"`observations` of the probe must have an array for each of {game.num_players} players, but has "
                f"{len(self.observations)}."
            )
        for player, (one, space) in enumerate(zip(self.observations, game.observation_spaces, strict=True)):
            if jnp.shape(one)[1:] != space.shape:
                raise ValueError(
                    f"observations[{player}] of the probe must have shape [probes, *{list(space.shape)}], as the game "
                    f"shows {space} to this player, but has shape {jnp.shape(one)}."
                )
            if isinstance(space, Discrete) and concrete(one) and not ((one >= 0) & (one < space.n)).all():
                raise ValueError(
                    f"observations[{player}] of the probe must be numbers from 0 to {space.n - 1}, but are {one}."
                )

    def co_player(
        self, number: int, policy: AbstractPolicy, learner: AbstractLearner, state: Any
    ) -> Float[Array, " features"]:
        outputs = self._outputs(policy, number)
        coasted = coast(learner, policy, state) if self.momentum else None
        if coasted is None:
            return outputs
        return jnp.concatenate([outputs, self._outputs(coasted, number) - outputs])

    def memory(self, policy: AbstractPolicy, state: PolicyState) -> Float[Array, "batch memory"]:
        def one(state: PolicyState) -> Array:
            return jax.vmap(lambda seen: _numbers(policy(state.memory, seen, state.previous_actions)[1]))(
                self.observations[0]
            ).ravel()

        return jax.vmap(one)(state)

    def _outputs(self, policy: AbstractPolicy, player: int) -> Float[Array, " features"]:
        start = jax.tree.map(lambda leaf: leaf[0], initial_policy_state(policy, 1))
        return jax.vmap(lambda seen: _numbers(policy(start.memory, seen, start.previous_actions)[1]))(
            self.observations[player]
        ).ravel()


def probe_game(
    game: AbstractGame, *, momentum: bool = True, groups: int | None = None, probes: int = 16, steps: int = 64
) -> OutputProbe:
    """A probe for a game: it shows all observations if each player has `FEW_OBSERVATIONS` numbers at most.

    Otherwise it shows `probes` observations of each player, at equal distances from `steps` steps in which all players
    act at random. They are the same whenever it is made.

    **Raises** `ValueError` for sizes that are not positive, or more probes than steps.
    """
    check_whole("probes", probes, 1)
    check_whole("steps", steps, probes, "as many as there are probes")
    spaces = game.observation_spaces
    if all(isinstance(space, Discrete) and space.n <= FEW_OBSERVATIONS for space in spaces):
        shown = tuple(jnp.arange(space.n) for space in spaces if isinstance(space, Discrete))
        return OutputProbe(groups=groups, observations=shown, momentum=momentum)
    seen = _observations_of_random_play(game, steps)[:: steps // probes][:probes]
    return OutputProbe(groups=groups, observations=tuple(jnp.moveaxis(seen, 1, 0)), momentum=momentum)


def _observations_of_random_play(game: AbstractGame, steps: int) -> Shaped[Array, "steps players *observation"]:
    key_reset, key_steps = jax.random.split(jax.random.key(0))

    def act(space: ActionSpace, key: Array) -> Array:
        if isinstance(space, Discrete):
            return jax.random.randint(key, (), 0, space.n)
        return jax.random.normal(key, space.shape)

    def step(carry: tuple[Any, Array], key: Array) -> tuple[tuple[Any, Array], Array]:
        state, observations = carry
        key_game, *keys = jax.random.split(key, 1 + game.num_players)
        actions = jnp.stack([act(space, one) for space, one in zip(game.action_spaces, keys, strict=True)])
        state, after, _ = game.step(state, actions, key_game)
        return (state, after), observations

    return jax.lax.scan(step, game.reset(key_reset), jax.random.split(key_steps, steps))[1]


def _numbers(output: PolicyOutput) -> Float[Array, " numbers"]:
    """The parameters of an output's distribution, and its value. What is NaN or infinite counts as 0: a table may have
    no row for an observation that cannot follow what the ego agent remembers.
    """
    if isinstance(output.distribution, Categorical):
        log_probs = jnp.maximum(jax.nn.log_softmax(output.distribution.logits), _LEAST_LOG_PROB)
        parameters = [log_probs - log_probs.mean()]
    else:
        parameters = [leaf for leaf in jax.tree.leaves(output.distribution) if eqx.is_inexact_array(leaf)]
    numbers = jnp.concatenate([jnp.ravel(one) for one in (*parameters, output.values)])
    return jnp.where(jnp.isfinite(numbers), numbers, 0)
