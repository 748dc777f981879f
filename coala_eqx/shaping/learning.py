"""The alternation that makes a meta-episode: play an inner episode, let the co-players learn, again."""

import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from coala_eqx.learners import (
    AbstractDrawingLearner,
    AbstractLearner,
    Draw,
    Experience,
    init_rule,
    update_rule,
    updates_without,
)
from coala_eqx.learners.protocol import NoKey
from coala_eqx.loops import scan
from coala_eqx.policies import AbstractPolicy
from coala_eqx.policies.base import PolicyState, initial_policy_state
from coala_eqx.shaping.probing import AbstractProbe, LearnerFeatures

Policies = tuple[AbstractPolicy, ...]
PolicyStates = tuple[PolicyState, ...]
Visit = Callable[[Any, Policies, Any], tuple[Any, tuple[Experience, ...], Any]]


def alternate(
    learners: tuple[AbstractLearner, ...],
    policies: Policies,
    visit: Visit,
    carry: Any,
    episodes: Any,
    *,
    keys: Key[Array, "episodes learners"] | None = None,
    draws: tuple[Draw, ...] = (),
    probe: AbstractProbe | None = None,
) -> tuple[Any, Any]:
    """Visit M inner episodes in a row. After each but the last every co-player learns from it.

    **Arguments:**

    - `learners`, `policies`: one of each per co-player; the policies before the first update.
    - `visit`: `(carry, policies, episode) → (carry, experiences, record)` with one `Experience` of
      arrays `[batch, steps]` per co-player.
    - `carry`: the value that `visit` passes from one inner episode to the next.
    - `episodes`: pytree of arrays `[episodes, …]`, one slice for each visit.
    - `keys`: keys of the learners that use them, first for `init`, then for each update.
    - `draws`: in place of keys, the draws of all updates, one entry for each learner: leaves `[episodes − 1, …]`, or
      `None` for a learner that draws nothing.
    - `probe`: shows features of the co-players before each inner episode, and after it without each group of its
      trajectories. The records are then pairs with `CoPlayerFeatures`.

    **Returns** the last carry, and the records, arrays `[episodes, …]`.

    **Raises** `ValueError` for learners that break their contract, and where keys are needed and not given.
    """
    draws = draws or (None,) * len(learners)
    firsts = [None if keys is None else keys[0, number] for number in range(len(learners))]
    states = tuple(
        jax.tree.map(_number_to_array, _init(learner, policy, key))
        for learner, policy, key in zip(learners, policies, firsts, strict=True)
    )
    arrays, static = eqx.partition((policies, states), eqx.is_array)

    def visit_and_learn(scan_carry: tuple[Any, Any], inputs: tuple[Any, Any, Any]) -> tuple[tuple[Any, Any], Any]:
        (carry, arrays), (episode, keys, draws) = scan_carry, inputs
        policies, states = eqx.combine(arrays, static)
        carry, experiences, record = visit(carry, policies, episode)
        given = [
            (*one, None if keys is None else keys[number])
            for number, one in enumerate(zip(learners, policies, states, experiences, draws, strict=True))
        ]
        if probe is not None:
            record = record, _shown(probe, learners, policies, states, given, experiences)
        learned = [_update(*one) for one in given]
        policies, states = tuple(p for p, _ in learned), tuple(s for _, s in learned)
        return (carry, eqx.filter((policies, states), eqx.is_array)), record

    count = len(jax.tree.leaves(episodes)[0])
    records = []
    if count > 1:
        but_last = jax.tree.map(lambda leaf: leaf[:-1], episodes)
        inputs = (but_last, None if keys is None else keys[1:], draws)
        (carry, arrays), record = scan(visit_and_learn, (carry, arrays), inputs)
        records.append(record)
    policies, states = eqx.combine(arrays, static)
    carry, experiences, record = visit(carry, policies, jax.tree.map(lambda leaf: leaf[-1], episodes))
    if probe is not None:
        record = record, _shown(probe, learners, policies, states, None, experiences)
    records.append(jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], record))
    return carry, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *records)


class CoPlayerFeatures(eqx.Module):
    """What a probe shows of all co-players around one inner episode, stacked along `episodes`."""

    before: Float[Array, "*episodes features"]
    without: Float[Array, "*episodes groups features"]

    def with_memories(self, memories: Float[Array, "batch episodes memory"]) -> LearnerFeatures:
        """The features of a whole meta-episode, leaves `[episodes, …]`, with the ego agent's memories."""
        return LearnerFeatures(self.before, jnp.moveaxis(self.without, 0, 1), memories)


def _shown(
    probe: AbstractProbe,
    learners: tuple[AbstractLearner, ...],
    policies: Policies,
    states: tuple[Any, ...],
    given: list[Any] | None,
    experiences: tuple[Experience, ...],
) -> CoPlayerFeatures:
    """`given`: the arguments of each update; `None` after the last inner episode, when nobody learns."""
    before = probe.co_players(policies, learners, states)
    groups = probe.groups_of(len(experiences[0].rewards)) if experiences else 1
    if given is None:
        return CoPlayerFeatures(before, jnp.zeros((groups, *before.shape), before.dtype))
    learned = [
        updates_without(learner, policy, state, experience, groups, key=key, draw=draw)
        for learner, policy, state, experience, draw, key in given
    ]
    arrays, rest = eqx.partition(learned, eqx.is_array)

    def of_group(arrays: Any) -> Array:
        policies, states = zip(*eqx.combine(arrays, rest), strict=True)
        return probe.co_players(policies, learners, states)

    return CoPlayerFeatures(before, jax.vmap(of_group)(arrays) if learned else before[None])


def initial_policy_states(policies: Policies, batch: int) -> PolicyStates:
    """The states of all players before their first observations."""
    return tuple(initial_policy_state(policy, batch) for policy in policies)


def _init(learner: AbstractLearner, policy: AbstractPolicy, key: Any) -> Any:
    if isinstance(learner, AbstractDrawingLearner):  # whose first state is not random
        return learner.init(policy, NoKey(type(learner).__name__))
    return init_rule(learner, policy, key)


def _update(
    learner: AbstractLearner, policy: AbstractPolicy, state: Any, experience: Experience, draw: Draw, key: Any
) -> tuple[Any, Any]:
    if draw is not None:
        assert isinstance(learner, AbstractDrawingLearner)  # as others draw nothing
        updated = learner.learn(policy, state, experience, draw)
    else:
        updated = update_rule(learner, policy, state, experience, key)
    if not (isinstance(updated, tuple) and len(updated) == 2):
        raise ValueError(f"{type(learner).__name__}.update must return (policy, state), but returned {updated!r}.")
    for name, old, new in zip(("policy", "state"), (policy, state), updated, strict=True):
        if _signature(old) != _signature(new):
            raise ValueError(
                f"{type(learner).__name__}.update must return a {name} with the structure, shapes and dtypes that it "
                f"was given, {_signature(old)}, but returned {_signature(new)}."
            )
    return updated


def _number_to_array(leaf: Any) -> Any:
    """A number of a state as an array, since numbers are not carried along and would stay as they are."""
    return jnp.asarray(leaf) if isinstance(leaf, int | float | np.ndarray | np.generic) else leaf


def _signature(tree: Any) -> tuple:
    """The parts that must not change: the structure, shapes and dtypes, and all leaves that are no arrays."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple(f"{leaf.dtype}{list(leaf.shape)}" if eqx.is_array(leaf) else leaf for leaf in leaves)


_FORMER = {"Minds": "PolicyStates", "fresh_minds": "initial_policy_states"}


def __getattr__(name: str) -> Any:
    """Names of the version before, which still work and warn."""
    if name not in _FORMER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{__name__}.{name} is deprecated: use {_FORMER[name]}.", DeprecationWarning, stacklevel=2)
    return globals()[_FORMER[name]]
