"""Policies with a separate row of logits for every history: the hardest case for a theorem."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from coala_eqx._checks import check_whole
from coala_eqx.arrays import Frozen, floating, in_words
from coala_eqx.games import AbstractEnumerableGame, AbstractGame
from coala_eqx.loops import scan
from coala_eqx.policies.base import AbstractPolicy, Memory, PolicyOutput, shift_actions

_MOST_LOGITS = 40_000_000
"""Limit of the logits of a table, over all rows and actions; 320 MB in float64."""


class FullHistory(AbstractPolicy):
    """A table with one row of logits for every history of observations and own actions up to `max_steps`.

    Histories are the nodes of a tree. Its roots are the observations that an episode can start with; a
    node's children are the pairs (own action, next observation) that can occur in the game, where the
    next observation may also be one that an episode starts with, since the ego agent's memory lasts
    across inner episodes. Rows are numbered level by level: the children of row n are the
    `branches` rows from `roots + n·branches` on.

    Make one with `random`, or with `tabulate` from any other policy. A history outside the tree has NaN
    logits. `critic` may hold a value for every history (see `coala_eqx.exact.exact_critic`); it is 0 unless given.
    """

    logits: Float[Array, "histories actions"]
    critic: Float[Array, " histories"] | None
    max_steps: int = eqx.field(static=True)
    root_of: Frozen = eqx.field(static=True)
    branch_of: Frozen = eqx.field(static=True)

    def __init__(self, logits: Array, steps: int, root_of: Frozen, branch_of: Frozen, critic: Array | None = None):
        self.logits = logits
        self.critic = critic
        self.max_steps = int(steps)
        self.root_of = root_of
        self.branch_of = branch_of

    @classmethod
    def random(
        cls,
        game: AbstractGame,
        steps: int,
        key: Key[Array, ""],
        *,
        player: int = 0,
        scale: float = 1.0,
    ) -> "FullHistory":
        """Independent normal logits of standard deviation `scale`.

        **Arguments:**

        - `game`: the game whose observations the policy tells apart.
        - `steps`: length of the longest history; M·T for an ego agent, T for a co-player.
        - `key`: draws the logits.
        - `player`: number of the player.

        **Raises** `ValueError` if `steps` is no whole number ≥ 1, if the game cannot be tabulated, or if the table
        would have more than 4e7 logits.
        """
        root_of, branch_of = _tree(game, player)
        rows = _count_rows(root_of, branch_of, steps, game.num_actions[player])
        logits = scale * jax.random.normal(key, (rows, game.num_actions[player]))
        return cls(logits, steps, root_of, branch_of)

    @classmethod
    def uniform(cls, game: AbstractGame, steps: int, *, player: int = 0) -> "FullHistory":
        """All actions equally likely after every history. Arguments and errors are those of `random`."""
        root_of, branch_of = _tree(game, player)
        rows = _count_rows(root_of, branch_of, steps, game.num_actions[player])
        return cls(jnp.asarray(np.zeros((rows, game.num_actions[player]))), steps, root_of, branch_of)

    @classmethod
    def tabulate(cls, policy: AbstractPolicy, game: AbstractGame, steps: int, *, player: int = 0) -> "FullHistory":
        """The table of another policy's logits, history by history: the same behaviour, no shared parameters.

        Differentiable in `policy`. Raises as `random` does.
        """
        root_of, branch_of = _tree(game, player)
        _count_rows(root_of, branch_of, steps, game.num_actions[player])
        actions_of, observations_of = np.nonzero(branch_of.array >= 0)
        observations = np.nonzero(root_of.array >= 0)[0][:, None]
        previous_actions = np.full_like(observations, -1)
        levels = []
        for _ in range(steps):
            output = jax.vmap(lambda o, a: policy.unroll(policy.initial_memory(), o, a)[1])(
                jnp.asarray(observations), jnp.asarray(previous_actions)
            )
            levels.append(output.logits[:, -1])
            parents, branches = len(observations), len(actions_of)
            observations = _extend(observations, np.tile(observations_of, parents), branches)
            previous_actions = _extend(previous_actions, np.tile(actions_of, parents), branches)
        return cls(jnp.concatenate(levels), steps, root_of, branch_of)

    def with_critic(self, critic: Any) -> "FullHistory":
        """The policy with a critic: `critic` `[histories]`, a value for every row of the table.

        **Raises** `ValueError` for another shape.
        """
        critic = floating(critic)
        if critic.shape != self.logits.shape[:1]:
            raise ValueError(
                f"`critic` must hold one value for each of the {self.logits.shape[0]} histories, but has shape "
                f"{critic.shape}."
            )
        return FullHistory(self.logits, self.max_steps, self.root_of, self.branch_of, critic)

    def rows(
        self, observations: Int[Array, "batch steps"], actions: Int[Array, "batch steps"]
    ) -> Int[Array, "batch steps"]:
        """The row of every history of sequences that were played; one past the last row outside of the tree."""
        walk = jax.vmap(lambda o, a: self._walk(self.initial_memory(), o, a)[1])
        return walk(observations, shift_actions(actions))

    def check_game(self, game: AbstractGame, player: int, steps: int) -> None:
        """**Raises** `ValueError` unless its tree holds every history of `steps` steps of a game."""
        if self.max_steps < steps:
            raise ValueError(
                f"The FullHistory policy of player {player} can act on histories of {self.max_steps} steps, but the "
                f"problem asks for {steps}; make it with steps={steps}."
            )
        if isinstance(game, AbstractEnumerableGame):
            for has, needs in zip((self.root_of, self.branch_of), _tree(game, player), strict=True):
                if ((has.array < 0) & (needs.array >= 0)).any():
                    raise ValueError(
                        f"The FullHistory policy of player {player} was made for another game: here histories occur "
                        f"that it has no row for. (If the game's transitions are traced, all count as possible.)"
                    )

    @property
    def num_observations(self) -> int:
        return len(self.root_of.array)

    @property
    def num_actions(self) -> int:
        return self.logits.shape[1]

    def initial_memory(self) -> Memory:
        return jnp.asarray(-1)

    def __call__(
        self, memory: Int[Array, ""], observation: Int[Array, ""], previous_action: Int[Array, ""]
    ) -> tuple[Memory, PolicyOutput]:
        row = self._next_row(memory, observation, previous_action)
        return row, self._output(row)

    def unroll(
        self, memory: Int[Array, ""], observations: Int[Array, " steps"], previous_actions: Int[Array, " steps"]
    ) -> tuple[Memory, PolicyOutput]:
        last, rows = self._walk(memory, observations, previous_actions)
        return last, self._output(rows)

    def _walk(self, memory: Array, observations: Array, previous_actions: Array) -> tuple[Array, Array]:
        def step(row: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
            row = self._next_row(row, *inputs)
            return row, row

        return scan(step, memory, (observations, previous_actions))

    def _next_row(self, row: Array, observation: Array, previous_action: Array) -> Array:
        """The row of the history that follows; one past the last row for a history outside the tree."""
        root = jnp.asarray(self.root_of.array)[observation].astype(row.dtype)
        branch = jnp.asarray(self.branch_of.array)[previous_action, observation].astype(row.dtype)
        child = _size(self.root_of) + row * _size(self.branch_of) + branch
        known = jnp.where(row < 0, root, branch) >= 0
        rows = self.logits.shape[0]
        return jnp.where(known & (row < rows), jnp.where(row < 0, root, child), rows)

    def _output(self, rows: Int[Array, " *steps"]) -> PolicyOutput:
        logits = self.logits.at[rows].get(mode="fill", fill_value=jnp.nan)
        if self.critic is None:
            return PolicyOutput(logits=logits, values=jnp.zeros_like(logits[..., 0]))
        return PolicyOutput(logits=logits, values=self.critic.at[rows].get(mode="fill", fill_value=jnp.nan))


def _tree(game: AbstractGame, player: int) -> tuple[Frozen, Frozen]:
    """Number the first observations, `[observations]`, and the pairs, `[actions, observations]`; −1 if impossible."""
    if not isinstance(game, AbstractEnumerableGame):
        raise ValueError(
            f"A FullHistory policy needs a game that can be written as a table, not {type(game).__name__}; use a GRU."
        )
    table = game.table()
    seen = table.seen.array[player]
    starts = np.zeros(game.num_observations[player], dtype=bool)
    starts[seen[table.possible_starts]] = True
    pairs = np.tile(starts, (game.num_actions[player], 1))
    for action, follows in enumerate(table.moves.following(player)):
        pairs[action, seen[follows]] = True
    return Frozen(_numbered(starts)), Frozen(_numbered(pairs))


def _numbered(possible: np.ndarray) -> np.ndarray:
    numbers = np.cumsum(possible.ravel()).reshape(possible.shape) - 1
    return np.where(possible, numbers, -1).astype(np.int32)


def _size(numbered: Frozen) -> int:
    return int(numbered.array.max()) + 1


def _count_rows(root_of: Frozen, branch_of: Frozen, steps: int, actions: int) -> int:
    check_whole("steps", steps, 1)
    rows = sum(_size(root_of) * _size(branch_of) ** level for level in range(int(steps)))
    if rows * actions > _MOST_LOGITS:
        raise ValueError(
            f"A table of every history of {steps} steps would have {in_words(rows)} rows of {actions} logits (limit "
            f"{_MOST_LOGITS:,} in all); lower `steps` (episodes × steps of the problem), or use a GRU."
        )
    return rows


def _extend(sequences: np.ndarray, last: np.ndarray, branches: int) -> np.ndarray:
    return np.concatenate([np.repeat(sequences, branches, axis=0), last[:, None]], axis=1)
