"""The batched co-player shaping POMDP."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Key

from coala_eqx._checks import check_flag, whole
from coala_eqx.games import AbstractGame, Discrete
from coala_eqx.games.spaces import check_spaces
from coala_eqx.learners import AbstractLearner, Static, check_learner
from coala_eqx.learners.optimising import is_optimiser
from coala_eqx.policies import AbstractPolicy, FullHistory
from coala_eqx.shaping.episode import MetaEpisode
from coala_eqx.shaping.fit import check_observations
from coala_eqx.shaping.population import CoPlayer, Population, draw_co_player
from coala_eqx.shaping.probing import AbstractProbe
from coala_eqx.shaping.roll_out import roll_out


class ShapingProblem(eqx.Module):
    """One ego agent against co-players that learn from what it does.

    A meta-episode: `batch` copies of the game are played for `episodes` inner episodes of `steps` steps
    against the same co-players. After every inner episode the games are reset and each co-player updates
    its policy from its `batch` trajectories, by its learner. The ego agent (player 0) acts on each
    trajectory by the same policy and keeps its memory across inner episodes; co-players start every
    inner episode with a fresh memory, unless they are meta agents, too. The objective is J̄(φ) = E[(1/B) Σ_b Σ_l r_l^b].

    **Arguments:**

    - `game`: the game.
    - `co_players`: one per player but the first: a policy, a `Population`, or a function key → policy.
    - `learner`: the learner of all co-players, or a tuple with one each.
    - `batch`, `episodes`, `steps`: B, M and T, each at least 1.
    - `co_players_remember`: whether co-players keep their memory across inner episodes, as meta agents do; for all of
      them, or a tuple with one each. Those that do are not learning meanwhile: their learner must be `Static`.

    **Raises** `ValueError` if co-players both remember and learn, the numbers of players do not agree, a policy
    does not fit the game, or a size is not an integer ≥ 1.

    Source: Meulemans et al. (2025), Section 2 and Eq. 2.
    """

    game: AbstractGame
    co_players: tuple[CoPlayer, ...]
    learner: AbstractLearner | tuple[AbstractLearner, ...]
    batch: int = eqx.field(static=True)
    episodes: int = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    co_players_remember: bool | tuple[bool, ...] = eqx.field(static=True)

    def __init__(
        self,
        *,
        game: AbstractGame,
        co_players: Any,
        learner: AbstractLearner | tuple[AbstractLearner, ...],
        batch: int,
        episodes: int,
        steps: int,
        co_players_remember: bool | tuple[bool, ...] = False,
    ):
        self.game = game
        self.co_players = tuple(co_players) if isinstance(co_players, list | tuple) else (co_players,)
        self.learner = learner
        self.batch = whole("batch", batch)
        self.episodes = whole("episodes", episodes)
        self.steps = whole("steps", steps)
        self.co_players_remember = co_players_remember
        if not isinstance(game, AbstractGame):
            raise ValueError(f"`game` must be a game (an AbstractGame), but is {game!r}.")
        check_spaces(game)
        others = game.num_players - 1
        if len(self.co_players) != others:
            raise ValueError(
                f"The game has {game.num_players} players, so `co_players` must have {others} entries, "
                f"but has {len(self.co_players)}."
            )
        if not isinstance(learner, tuple) or is_optimiser(learner):  # which is a tuple, too
            check_learner("learner", learner)
        elif len(learner) != others:
            raise ValueError(f"`learner` is a tuple: it must have {others} entries, one per co-player, not {learner}.")
        if isinstance(co_players_remember, tuple) and len(co_players_remember) != others:
            raise ValueError(
                f"`co_players_remember` is a tuple: it must have {others} entries, one per co-player, not "
                f"{co_players_remember}."
            )
        for one, remembers in zip(self.learners, self.remembering, strict=True):
            check_learner("learner", one)
            check_flag("co_players_remember", remembers)
            if remembers and not isinstance(one, Static):
                raise ValueError(
                    "Co-players that remember earlier inner episodes are meta agents, which do not learn: with "
                    f"`co_players_remember` the learner must be Static(), but is {one}."
                )
        for player, co_player in enumerate(self.co_players, start=1):
            members = co_player.policies if isinstance(co_player, Population) else (co_player,)
            for member in members:
                if isinstance(member, AbstractPolicy):
                    self._check_fit(member, player)
                elif not callable(member) or isinstance(member, type):
                    raise ValueError(
                        f"co_players[{player - 1}] must be a policy, a Population or a function key → policy, "
                        f"but is {member!r}."
                    )

    @property
    def learners(self) -> tuple[AbstractLearner, ...]:
        """One learner per co-player."""
        if isinstance(self.learner, tuple):
            return self.learner
        return (self.learner,) * len(self.co_players)

    @property
    def remembering(self) -> tuple[bool, ...]:
        """Whether each co-player keeps its memory across inner episodes."""
        if isinstance(self.co_players_remember, tuple):
            return self.co_players_remember
        return (self.co_players_remember,) * len(self.co_players)

    @eqx.filter_jit
    def play(self, policy: AbstractPolicy, key: Key[Array, ""], probe: AbstractProbe | None = None) -> MetaEpisode:
        """Sample one meta-episode of the ego agent `policy`: compiled, and fit for `vmap` over keys and problems.

        With a `probe`, the meta-episode also holds `features` for a critic that sees the learner. They include what
        co-players would have become without each group of trajectories. Play stays the same.

        (`eqx.filter_vmap`, where a co-player has leaves that are no arrays. To map over problems, build them
        inside the mapped function, or stack their arrays with one optimiser object in all of them.)

        Where a parameter of some policy's distribution is NaN, so are all rewards of that step.

        **Raises** `ValueError` if the policy does not fit the game or the length of the meta-episode, or the probe does
        not fit the game or the batch.
        """
        self.check_policy(policy)
        if probe is not None:
            self.check_probe(probe)
        random = any(learner.uses_key for learner in self.learners)
        key_co_players, key_play, *key_learn = jax.random.split(key, 3 if random else 2)
        keys = jax.random.split(key_co_players, max(1, len(self.co_players)))
        drawn = tuple(draw_co_player(co_player, k) for co_player, k in zip(self.co_players, keys, strict=False))
        for player, co_player in enumerate(drawn, start=1):
            self._check_fit(co_player, player)
        return roll_out(
            self.game,
            policy,
            drawn,
            self.learners,
            batch=self.batch,
            episodes=self.episodes,
            steps=self.steps,
            remembering=self.remembering,
            key=key_play,
            key_learn=key_learn[0] if random else None,
            probe=probe,
        )

    def check_probe(self, probe: Any) -> None:
        """Check that `probe` fits the game and the batch; raises `ValueError` that says why not."""
        if not isinstance(probe, AbstractProbe):
            raise ValueError(f"`probe` must be a probe, such as probe_game(game), but is {probe!r}.")
        probe.groups_of(self.batch)
        probe.check(self.game)

    def check_policy(self, policy: AbstractPolicy) -> None:
        """Check that `policy` can be the ego agent; raises `ValueError` that says why not."""
        self._check_fit(policy, 0)

    def _check_fit(self, policy: Any, player: int) -> None:
        if not isinstance(policy, AbstractPolicy):
            raise ValueError(f"The policy of player {player} must be an AbstractPolicy, but is {policy!r}.")
        name, game = type(policy).__name__, self.game
        actions = game.action_spaces[player]
        if policy.action_space != actions:
            has, needs = policy.action_space, actions
            words = f"{has} as its action space, but the game has {needs}"
            if isinstance(has, Discrete) and isinstance(needs, Discrete):
                has, needs = has.n, needs.n
                words = f"{has} actions, but the game has {needs}"
            raise ValueError(
                f"The policy of player {player}, a {name}, is made for {words} for this player; make the policy with "
                f"actions={needs}."
            )
        check_observations(policy, player, game)
        if isinstance(policy, FullHistory):
            remembers = player == 0 or self.remembering[player - 1]
            policy.check_game(game, player, self.steps * (self.episodes if remembers else 1))
