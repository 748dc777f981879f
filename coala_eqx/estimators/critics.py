"""Critics that see the learner: what may be subtracted from the sampled future, or put in its place.

X_m is everything that matters from inner episode m on, before it is played: the co-players' parameters ψ_m, their
learners' states, and the ego agent's memories. F_m = Σ_{k>m} r̄_k is the future: rewards of later inner episodes, means
over the batch. A critic W of the learner predicts F_m from X_{m+1}.

The action a of trajectory b in inner episode m changes ψ_{m+1} and the own memory, and nothing else in X_{m+1}. It
follows what may be done with W:

- **Subtracted** from F_m, for any W: E[∇log π(a | h)·W(Y)] = 0 if Y does not depend on a, given h. So Y may be X_m, or
  X_{m+1}^(−b): the co-players as they would be *had trajectory b not been played*, and the *other* trajectories'
  memories. This holds also if W's weights are random, as long as they come from other meta-episodes.
- **Put in its place**, if W(X) = E[F | X]: E[∇log π(a | h)·F_m] = E[∇log π(a | h)·W(X_{m+1})]. Here X_{m+1} must have
  everything in it: the learner's state, and all memories.

Source: this library. Meulemans et al. (2025), Eqs 13–14, is the case of a critic of the own history; Faccio et al.
(2021) for critics of parameters.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from coala_eqx._checks import check_not_negative, check_whole
from coala_eqx.learners.counterfactual import others
from coala_eqx.policies import AbstractPolicy
from coala_eqx.shaping import AbstractProbe, LearnerFeatures, ShapingProblem


class ShapingValues(eqx.Module):
    """Predictions of the future F_m of each inner episode m, by a critic that sees the learner.

    In the last inner episode, after which nothing comes, all should be 0.
    """

    before: Float[Array, "*stacked episodes"]
    """From X_m, before the inner episode is played. It may be subtracted."""

    after: Float[Array, "*stacked episodes"]
    """From X_{m+1}. It may be put in the future's place if it is exact. It must not be subtracted."""

    without: Float[Array, "*stacked batch episodes"]
    """From X_{m+1}^(−b), for each trajectory b: with the others' memories, and the co-players as they would be without
    b. It may be subtracted from what belongs to an action of b."""

    others: Float[Array, "*stacked batch episodes"]
    """From ψ_{m+1}, with the others' memories only: `others` − `without` is what b changed through the co-players."""


class AbstractLearnerCritic(eqx.Module):
    """A critic W that sees what co-players have learned, by the features of a probe.

    The module's docstring states the conditions under which its values may be used. This class sees to it that
    `without` knows nothing of trajectory b. A subclass only writes `predict`.
    """

    probe: eqx.AbstractVar[AbstractProbe]

    @abc.abstractmethod
    def predict(
        self,
        features: Float[Array, " features"],
        memories: Float[Array, " statistics"],
        episode: Any,
        episodes: int,
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Predictions before inner episode `episode`, counted from 0, of `episodes`.

        **Arguments:**

        - `features`: of all co-players.
        - `memories`: mean and standard deviation over trajectories of the ego agent's memory (`statistics`).

        **Returns** the mean return from this inner episode on, and of the later ones only. Discounts count from the
        start of this one and of the next one.
        """

    def values(self, features: LearnerFeatures) -> ShapingValues:
        """The values in one meta-episode. Without counterfactual updates, `without` is `before`."""
        (batch, episodes), groups = features.memories.shape[:2], len(features.without)
        number = jnp.arange(episodes)
        predict = jax.vmap(self.predict, in_axes=(0, 0, 0, None))
        whole, later = predict(features.before, statistics(features.memories), number, episodes)
        nothing = jnp.arange(episodes) == episodes - 1
        before, after = jnp.where(nothing, 0, later), _one_earlier(whole)
        if groups == 1:
            everywhere = jnp.broadcast_to(before, (batch, episodes))
            return ShapingValues(before, after, everywhere, everywhere)
        left = jax.vmap(statistics)(features.memories[others(batch, groups)])
        learned = jnp.concatenate([features.before[1:], features.before[:1]])  # the last one is not used
        next_left = jnp.concatenate([left[:, 1:], left[:, :1]], axis=1)

        def total(features: Array, memories: Array) -> Array:
            return jnp.where(nothing, 0, predict(features, memories, number + 1, episodes)[0])

        without = jax.vmap(total)(features.without, next_left)
        still = jax.vmap(total, in_axes=(None, 0))(learned, next_left)
        each = batch // groups
        return ShapingValues(before, after, jnp.repeat(without, each, axis=0), jnp.repeat(still, each, axis=0))


class LearnerCritic(AbstractLearnerCritic):
    """A small network on standardised features, memories and the number of the inner episode.

    **Arguments:**

    - `probe`: shows the features.
    - `features`, `memory`: their numbers (`fitting_critic` finds them).
    - `episodes`: M, which fixes the units of each inner episode.
    - `width`, `depth`: of the network.
    - `key`: draws its weights. Those of the last layer are scaled by `last`: with 0 it predicts the mean at first.
    """

    probe: AbstractProbe
    network: eqx.nn.MLP
    centre: Float[Array, " inputs"]
    scale: Float[Array, " inputs"]
    """Mean and standard deviation of the inputs."""

    means: Float[Array, "episodes 2"]
    deviations: Float[Array, "episodes 2"]
    """The same of both targets before each inner episode."""

    def __init__(
        self,
        probe: AbstractProbe,
        *,
        features: int,
        memory: int,
        episodes: int,
        width: int = 64,
        depth: int = 2,
        last: float = 0.0,
        key: Key[Array, ""],
    ):
        check_whole("width", width, 1)
        check_whole("depth", depth, 1)
        check_not_negative("last", last)
        inputs = features + 2 * memory
        self.probe = probe
        made = eqx.nn.MLP(inputs + 2, 2, width, depth, activation=jax.nn.tanh, key=key)
        self.network = eqx.tree_at(
            lambda mlp: (mlp.layers[-1].weight, mlp.layers[-1].bias), made, replace_fn=lambda leaf: last * leaf
        )
        self.centre, self.scale = jnp.zeros(inputs), jnp.ones(inputs)
        self.means, self.deviations = jnp.zeros((episodes, 2)), jnp.ones((episodes, 2))

    def predict(
        self, features: Float[Array, " features"], memories: Float[Array, " statistics"], episode: Any, episodes: int
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        shown = jnp.concatenate([features, memories]).astype(self.centre.dtype)
        made = self.network(self.inputs(shown, episode, episodes))
        episode = jnp.minimum(episode, len(self.means) - 1)
        whole, later = self.means[episode] + self.deviations[episode] * made
        return whole, later

    def inputs(self, shown: Float[Array, " inputs"], episode: Any, episodes: int) -> Float[Array, " network_inputs"]:
        """What the network sees: standardised numbers, and the place of the inner episode."""
        place = jnp.asarray(episode, self.centre.dtype) / episodes
        return jnp.concatenate([(shown - self.centre) / self.scale, jnp.stack([place, place**2])])


def statistics(memories: Float[Array, "batch *episodes memory"]) -> Float[Array, "*episodes statistics"]:
    """Mean and standard deviation over trajectories."""
    return jnp.concatenate([memories.mean(axis=0), memories.std(axis=0)], axis=-1)


def fitting_critic(
    problem: ShapingProblem,
    policy: AbstractPolicy,
    probe: AbstractProbe,
    kind: type[LearnerCritic] = LearnerCritic,
    **settings: Any,
) -> LearnerCritic:
    """A critic whose sizes fit what a probe shows in a problem. Nothing is played.

    `kind` is its class, and `settings` are the further arguments.
    """
    shown: Any = jax.eval_shape(lambda: problem.play(policy, jax.random.key(0), probe).features)
    episodes, features = shown.before.shape
    return kind(probe, features=features, memory=shown.memories.shape[-1], episodes=episodes, **settings)


def _one_earlier(values: Float[Array, " episodes"]) -> Float[Array, " episodes"]:
    """Values before each inner episode as values after the one before it; 0 after the last."""
    return jnp.concatenate([values[1:], jnp.zeros_like(values[:1])])


def shapes_of_values(batch: int, episodes: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the fields of `ShapingValues`, by name."""
    return {"before": (episodes,), "after": (episodes,), "without": (batch, episodes), "others": (batch, episodes)}


def check_shaping(shaping: Any, shape: tuple[int, ...]) -> ShapingValues:
    """Values with checked shapes. **Raises** `ValueError` for others.

    **Arguments:**

    - `shaping`: `ShapingValues`, or a tuple (before, after, without) or (before, after, without, others). The estimator
      that needs `others` says so where it is missing.
    - `shape`: (B, M, T).
    """
    wanted = shapes_of_values(*shape[:2])
    if isinstance(shaping, ShapingValues):
        given = {name: getattr(shaping, name) for name in wanted}
    elif isinstance(shaping, tuple | list):
        if len(shaping) not in (3, 4):
            raise ValueError(
                f"`shaping` must be (before, after, without) or (before, after, without, others), but has "
                f"{len(shaping)} entries."
            )
        missing = (jnp.full(shape[:2], np.nan),) * (4 - len(shaping))
        given = dict(zip(wanted, map(jnp.asarray, (*shaping, *missing)), strict=True))
    else:
        raise ValueError(f"`shaping` must be the ShapingValues of a critic, but is {shaping!r}.")
    for name, expected in wanted.items():
        if jnp.shape(given[name]) != expected:
            axes = "[episodes]" if len(expected) == 1 else "[batch, episodes]"
            raise ValueError(f"`shaping.{name}` must have shape {axes} = {expected}, but has {jnp.shape(given[name])}.")
    return ShapingValues(**given)
