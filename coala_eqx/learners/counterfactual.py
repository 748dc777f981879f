"""The updates that a learner would have made without some of its trajectories, and with its momentum alone."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from coala_eqx.learners.actor_critic import moments
from coala_eqx.learners.base import AbstractGradientLearner, AbstractLearner, Experience
from coala_eqx.learners.drawing import AbstractDrawingLearner, Draw
from coala_eqx.learners.optimising import descend
from coala_eqx.learners.policy_gradient import PolicyGradient
from coala_eqx.learners.ppo import PPO
from coala_eqx.learners.protocol import update_rule
from coala_eqx.policies import AbstractPolicy, replay_actions
from coala_eqx.returns.to_go import sums_to_go

Updated = tuple[AbstractPolicy, Any]
"""The policy and the state after an update."""

Tree = TypeVar("Tree")

FEWEST_GROUPS = 5
"""Least number of groups for which the updates of a `PolicyGradient` share their passes. For fewer, updates on the
others cost less."""


@functools.singledispatch
def updates_without(
    learner: AbstractLearner,
    policy: AbstractPolicy,
    state: Any,
    experience: Experience,
    groups: int,
    *,
    key: Any = None,
    draw: Draw = None,
) -> Updated:
    """The updates that would have been made, had one group of trajectories not been played.

    Trajectories are grouped in order. A learner that ignores the order of its batch learns from the others alone. For
    any other one, the next group stands in for the missing one, so that its batch keeps its size and order. All updates
    have the key, or the draw, of the real one. With a single group nothing is left to learn from, and nothing changes.

    A faster way for a learner of your own is registered by its class: `@updates_without.register(MyLearner)`.

    **Arguments:**

    - `policy`, `state`, `experience`, `key`: those of the real update.
    - `groups`: number of groups; it divides the batch.
    - `draw`: the draw of the real update, where it is known.

    **Returns** policies and states, leaves `[groups, …]`. Nothing of a group has a trace in its entry.
    """
    if groups == 1:
        return _repeat((policy, state), 1)
    batch = len(experience.rewards)
    if isinstance(learner, AbstractDrawingLearner):  # a draw is for a batch of one size
        drawn = learner.draw(batch, key) if draw is None else draw
        learn = functools.partial(learner.learn, policy, state)
        return _update_on(lambda some: learn(some, drawn), policy, state, experience, replaced(batch, groups))
    chosen = (others if learner.exchangeable else replaced)(batch, groups)
    return _update_on(lambda some: update_rule(learner, policy, state, some, key), policy, state, experience, chosen)


@updates_without.register
def _(
    learner: PolicyGradient,
    policy: AbstractPolicy,
    state: Any,
    experience: Experience,
    groups: int,
    *,
    key: Any = None,
    draw: Draw = None,
) -> Updated:
    """One backward pass for each group, in place of one for each pair of them.

    Without group b the gradient is (Σ G/σ − μ/σ · Σ S + Σ V) over the others, divided by their number. G, S and V are a
    trajectory's scores times advantages, its scores, and the gradient of its values' fit; μ and σ are the mean and
    deviation of the others' advantages, 0 and 1 unless they are normalised. Where σ is no more than the rounding of the
    advantages, what is left of b is rounding, too.
    """
    del draw
    # A baseline that is a mean at each step changes with each trajectory, and would take as many passes as updates do.
    derived = type(learner).update is not PolicyGradient.update
    if groups < FEWEST_GROUPS or learner.baseline == "batch_mean" or derived:
        return updates_without.dispatch(AbstractLearner)(learner, policy, state, experience, groups, key=key)
    batch, (arrays, rest) = len(experience.rewards), eqx.partition(policy, eqx.is_inexact_array)

    def outputs(arrays: Any, observations: Array, actions: Array) -> tuple[Array, Array]:
        return replay_actions(eqx.combine(arrays, rest), observations, actions)

    def weigh(arrays: Any, some: tuple[Array, Array], weights: Array, errors: Array) -> Any:
        """Σ weight·∇log π + Σ error·∇V."""
        (log_probs, values), pull = jax.vjp(lambda arrays: outputs(arrays, *some), arrays)
        return pull((weights.astype(log_probs.dtype), errors.astype(values.dtype)))[0]

    played = experience.observations, experience.actions
    raw = sums_to_go(learner.reward_scale * experience.rewards, learner.discount)
    errors = jnp.zeros_like(raw)
    if learner.baseline == "critic":
        raw = raw - outputs(arrays, *played)[1]
        errors = 2 * learner.value_coefficient * raw
    shift, scale = jnp.zeros(groups, raw.dtype), jnp.ones(groups, raw.dtype)
    if learner.normalise_advantages:
        raw = raw - raw.mean()  # so that less cancels below
        shift, scale = jax.vmap(moments)(raw[others(batch, groups)])
    nothing, one = jnp.zeros_like(raw), jnp.ones_like(raw)
    everyone = [weigh(arrays, played, *given) for given in ((raw, nothing), (one, nothing), (nothing, errors))]

    def grouped(array: Array) -> Array:
        return array.reshape(groups, batch // groups, *array.shape[1:])

    weights = (grouped(raw) - shift[:, None, None]) / scale[:, None, None]
    some = grouped(experience.observations), grouped(experience.actions)
    own = jax.vmap(weigh, in_axes=(None, 0, 0, 0))(arrays, some, weights, grouped(errors))

    def without(shift: Float[Array, ""], scale: Float[Array, ""], own: Any) -> Updated:
        left = batch - batch // groups
        gradient = jax.tree.map(lambda g, s, v, mine: ((g - shift * s) / scale + v - mine) / left, *everyone, own)
        return eqx.filter(learner.ascend(policy, state, gradient), eqx.is_array)

    updated = jax.vmap(without)(shift, scale, own)
    return eqx.combine(updated, eqx.filter((policy, state), eqx.is_array, inverse=True))


@functools.singledispatch
def coast(learner: AbstractLearner, policy: AbstractPolicy, state: Any) -> AbstractPolicy | None:
    """The policy after a step of the learner's optimiser with gradient 0, as momentum alone would move it.

    It tells a critic what the optimiser's state will do. `None` for a learner without such a state. Another learner is
    registered by its class: `@coast.register(MyLearner)`.
    """
    del learner, policy, state
    return None


@coast.register
def _(learner: AbstractGradientLearner, policy: AbstractPolicy, state: Any) -> AbstractPolicy | None:
    return learner.ascend(policy, state, _no_gradient(policy))[0] if _has_moments(state) else None


@coast.register
def _(learner: PPO, policy: AbstractPolicy, state: Any) -> AbstractPolicy | None:
    return descend(learner.optimiser, policy, state, _no_gradient(policy))[0] if _has_moments(state) else None


def _has_moments(state: Any) -> bool:
    """Whether a learner's state holds numbers that its next update depends on."""
    return bool(jax.tree.leaves(eqx.filter(state, eqx.is_inexact_array)))


def _no_gradient(policy: AbstractPolicy) -> Any:
    return jax.tree.map(jnp.zeros_like, eqx.filter(policy, eqx.is_inexact_array))


def others(batch: int, groups: int) -> Int[np.ndarray, "groups left"]:
    """The numbers of the trajectories outside of each group, in order."""
    members = np.arange(batch).reshape(groups, -1)
    return np.stack([np.delete(np.arange(batch), group) for group in members])


def replaced(batch: int, groups: int) -> Int[np.ndarray, "groups batch"]:
    """The numbers of all trajectories, where those of the next group stand in for one group's."""
    members = np.arange(batch).reshape(groups, -1)
    everyone = np.tile(np.arange(batch), (groups, 1))
    for number, group in enumerate(members):
        everyone[number, group] = members[(number + 1) % groups]
    return everyone


def _update_on(
    update: Callable[[Any], Updated], policy: AbstractPolicy, state: Any, experience: Any, chosen: np.ndarray
) -> Updated:
    """The results of `update` on some trajectories, `[groups, trajectories]`: leaves `[groups, …]`."""

    def one(chosen: Int[Array, " trajectories"]) -> Any:
        return eqx.filter(update(jax.tree.map(lambda leaf: leaf[chosen], experience)), eqx.is_array)

    rest = eqx.filter((policy, state), eqx.is_array, inverse=True)
    return eqx.combine(jax.vmap(one)(jnp.asarray(chosen)), rest)


def _repeat(tree: Tree, number: int) -> Tree:
    """The same arrays several times, along a new first axis."""
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (number, *leaf.shape)) if eqx.is_array(leaf) else leaf, tree
    )
