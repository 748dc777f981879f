"""The alternation that makes a meta-episode: play an inner episode, let the co-players learn, again."""

import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from coala_eqx.learners import AbstractLearner, Experience
from coala_eqx.loops import scan
from coala_eqx.policies import AbstractPolicy
from coala_eqx.policies.base import PolicyState, initial_policy_state

Policies = tuple[AbstractPolicy, ...]
PolicyStates = tuple[PolicyState, ...]
Visit = Callable[[Any, Policies, Any], tuple[Any, tuple[Experience, ...], Any]]


def alternate(
    learners: tuple[AbstractLearner, ...], policies: Policies, visit: Visit, carry: Any, episodes: Any
) -> tuple[Any, Any]:
    """Visit M inner episodes in a row; between two of them every co-player learns from what it saw.

    **Arguments:**

    - `learners`, `policies`: one of each per co-player; the policies before the first update.
    - `visit`: `(carry, policies, episode) → (carry, experiences, record)` with one `Experience` of
      arrays `[batch, steps]` per co-player.
    - `carry`: what lasts from one inner episode to the next.
    - `episodes`: pytree of arrays `[episodes, …]`, one slice for each visit.

    **Returns** the last carry, and the records, arrays `[episodes, …]`. After the last inner episode
    nobody learns, as nobody would see it.
    """
    states = tuple(
        jax.tree.map(_number_to_array, learner.init(policy)) for learner, policy in zip(learners, policies, strict=True)
    )
    arrays, static = eqx.partition((policies, states), eqx.is_array)

    def visit_and_learn(scan_carry: tuple[Any, Any], episode: Any) -> tuple[tuple[Any, Any], Any]:
        carry, arrays = scan_carry
        policies, states = eqx.combine(arrays, static)
        carry, experiences, record = visit(carry, policies, episode)
        learned = [
            _update(learner, policy, state, experience)
            for learner, policy, state, experience in zip(learners, policies, states, experiences, strict=True)
        ]
        policies, states = tuple(p for p, _ in learned), tuple(s for _, s in learned)
        return (carry, eqx.filter((policies, states), eqx.is_array)), record

    count = len(jax.tree.leaves(episodes)[0])
    records = []
    if count > 1:
        but_last = jax.tree.map(lambda leaf: leaf[:-1], episodes)
        (carry, arrays), record = scan(visit_and_learn, (carry, arrays), but_last)
        records.append(record)
    policies, _ = eqx.combine(arrays, static)
    carry, _, record = visit(carry, policies, jax.tree.map(lambda leaf: leaf[-1], episodes))
    records.append(jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], record))
    return carry, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *records)


def initial_policy_states(policies: Policies, batch: int) -> PolicyStates:
    """The states of all players before their first observations."""
    return tuple(initial_policy_state(policy, batch) for policy in policies)


def _update(learner: AbstractLearner, policy: AbstractPolicy, state: Any, experience: Experience) -> tuple[Any, Any]:
    updated = learner.update(policy, state, experience)
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
    """Numbers of a state are carried along as arrays are, or else they would stay as they were at first."""
    return jnp.asarray(leaf) if isinstance(leaf, int | float | np.ndarray | np.generic) else leaf


def _signature(tree: Any) -> tuple:
    """What must not change: the structure, shapes and dtypes, and whatever is no array."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple(f"{leaf.dtype}{list(leaf.shape)}" if eqx.is_array(leaf) else leaf for leaf in leaves)


_FORMER = {"Minds": "PolicyStates", "fresh_minds": "initial_policy_states"}


def __getattr__(name: str) -> Any:
    """Names of the version before, which still work and warn."""
    if name not in _FORMER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{__name__}.{name} is deprecated: use {_FORMER[name]}.", DeprecationWarning, stacklevel=2)
    return globals()[_FORMER[name]]
