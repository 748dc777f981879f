"""Training of a critic that sees the learner, on a replay of recent iterations."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from coala_eqx._checks import check_positive, check_whole
from coala_eqx.estimators import LearnerCritic
from coala_eqx.estimators.bootstrapping import inner_returns, own_futures
from coala_eqx.estimators.critics import fitting_critic, statistics
from coala_eqx.games import AbstractGame
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import AbstractProbe, LearnerFeatures, ShapingProblem, probe_game

_LEAST_SCALE = 1e-4
"""Least standard deviation by which inputs and targets are divided. What varies less is taken to be constant."""


class CriticState(eqx.Module):
    """A critic in training."""

    critic: LearnerCritic
    optimiser: Any

    shown: Float[Array, "replay meetings episodes inputs"]
    """Inputs of recent iterations. The oldest ones are replaced first."""

    targets: Float[Array, "replay meetings episodes 2"]
    """Mean returns from each inner episode on, and of what came after it."""

    updates: Int[Array, ""]
    """Number of updates so far."""


@dataclasses.dataclass(frozen=True)
class CriticTraining:
    """A critic that sees the learner, and how it is trained.

    It predicts returns from what co-players have learned and what the agent remembers (`LearnerCritic`). In each
    iteration its values are used first, and then it learns from what was played. So it never has seen what it is
    subtracted from.

    **Arguments:**

    - `probe`: a function game → probe. By default all observations are shown if they are few, else some that are played
      (`probe_game`). For groups of trajectories: `functools.partial(probe_game, groups=4)`.
    - `width`, `depth`: of the network.
    - `rate`, `steps`, `minibatch`: of its training in each iteration: Adam's learning rate, number of steps, and number
      of meta-episodes in each step.
    - `replay`: number of recent iterations that it learns from.

    **Raises** `ValueError` for numbers that are too small.
    """

    probe: Callable[[AbstractGame], AbstractProbe] = probe_game
    width: int = 64
    depth: int = 2
    rate: float = 3e-3
    steps: int = 40
    minibatch: int = 16
    replay: int = 24

    def __post_init__(self) -> None:
        for name in ("width", "depth", "steps", "minibatch", "replay"):
            check_whole(name, getattr(self, name), 1)
        check_positive("rate", self.rate)
        if not callable(self.probe) or isinstance(self.probe, AbstractProbe):
            raise ValueError(f"`probe` must be a function game → probe, such as probe_game, but is {self.probe!r}.")

    @property
    def optimiser(self) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(self.rate))

    def init(self, problem: ShapingProblem, policy: AbstractPolicy, meetings: int, key: Any) -> CriticState:
        """The state before the first update: it predicts 0.

        **Arguments:**

        - `problem`, `policy`: a meeting with naive learners, and the agent. Only shapes are used.
        - `meetings`: number of meetings in each iteration.
        """
        probe = self.probe(problem.game)
        critic = fitting_critic(problem, policy, probe, width=self.width, depth=self.depth, key=key)
        shape = self.replay, meetings, problem.episodes
        return CriticState(
            critic,
            self.optimiser.init(eqx.filter(critic.network, eqx.is_inexact_array)),
            jnp.zeros((*shape, len(critic.centre))),
            jnp.zeros((*shape, 2)),
            jnp.zeros((), jnp.int32),
        )

    def update(
        self, state: CriticState, features: LearnerFeatures, rewards: Array, discount: Any, key: Key[Array, ""]
    ) -> CriticState:
        """Keep what was played, leaves `[meetings, …]`, and learn from what is kept. `rewards` are those of the agent,
        in the units of the critic.
        """
        place = state.updates % self.replay
        shown = state.shown.at[place].set(jax.vmap(_shown)(features).astype(state.shown.dtype))
        targets = state.targets.at[place].set(
            jax.vmap(_targets, in_axes=(0, None))(rewards, discount).astype(state.targets.dtype)
        )
        filled = jnp.minimum(state.updates + 1, self.replay)
        critic = _standardised(state.critic, shown, targets, filled)
        critic, optimiser = self._learn(critic, state.optimiser, shown, targets, filled, key)
        return CriticState(critic, optimiser, shown, targets, state.updates + 1)

    def _learn(
        self, critic: LearnerCritic, optimiser: Any, shown: Array, targets: Array, filled: Array, key: Key[Array, ""]
    ) -> tuple[LearnerCritic, Any]:
        meetings, episodes = shown.shape[1:3]
        wanted = (targets - critic.means) / critic.deviations
        arrays, rest = eqx.partition(critic.network, eqx.is_inexact_array)

        def loss(arrays: Any, shown: Array, wanted: Array) -> Array:
            network = eqx.combine(arrays, rest)

            def one(shown: Array, number: Array) -> Array:
                return network(critic.inputs(shown, number, episodes))

            made = jax.vmap(jax.vmap(one), in_axes=(0, None))(shown, jnp.arange(episodes))
            return ((made - wanted) ** 2).mean()

        def step(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], None]:
            arrays, optimiser = carry
            number = jax.random.randint(key, (self.minibatch,), 0, filled * meetings)
            some = [leaf.reshape(-1, *leaf.shape[2:])[number] for leaf in (shown, wanted)]
            gradient = jax.grad(loss)(arrays, *some)
            updates, optimiser = self.optimiser.update(gradient, optimiser, arrays)
            return (optax.apply_updates(arrays, updates), optimiser), None

        (arrays, optimiser), _ = jax.lax.scan(step, (arrays, optimiser), jax.random.split(key, self.steps))
        return eqx.tree_at(lambda critic: critic.network, critic, eqx.combine(arrays, rest)), optimiser


def _shown(features: LearnerFeatures) -> Float[Array, "episodes inputs"]:
    return jnp.concatenate([features.before, statistics(features.memories)], axis=1)


def _targets(rewards: Float[Array, "batch episodes steps"], discount: Any) -> Float[Array, "episodes 2"]:
    """The mean return from each inner episode on, and of what comes after it, as seen from the next one's start."""
    later = own_futures(rewards, discount=discount).mean(axis=0)
    this = inner_returns(rewards, discount).mean(axis=0)
    return jnp.stack([this + discount ** rewards.shape[2] * later, later], axis=1)


def _standardised(critic: LearnerCritic, shown: Array, targets: Array, filled: Array) -> LearnerCritic:
    """The critic with units of what is kept."""
    is_filled = jnp.arange(len(shown)) < filled

    def moments(leaf: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
        weights = is_filled.reshape(-1, *(1,) * (leaf.ndim - 1)).astype(leaf.dtype)
        count = weights.sum() * jnp.asarray([leaf.shape[axis] for axis in axes[1:]]).prod()
        mean = (weights * leaf).sum(axis=axes) / count
        deviation = jnp.sqrt((weights * (leaf - mean) ** 2).sum(axis=axes) / count)
        return mean, jnp.where(deviation > _LEAST_SCALE, deviation, 1.0)

    centre, scale = moments(shown, (0, 1, 2))
    means, deviations = moments(targets, (0, 1))
    return eqx.tree_at(
        lambda critic: (critic.centre, critic.scale, critic.means, critic.deviations),
        critic,
        (centre, scale, means, deviations),
    )
