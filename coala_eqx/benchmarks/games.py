"""Steps of games per second with random actions, and a comparison of grid games with JaxMARL's."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from rich import box
from rich.console import Console
from rich.table import Table

from coala_eqx.benchmarks.timing import shortest_seconds
from coala_eqx.extras import how_to_get
from coala_eqx.games.base import AbstractGame
from coala_eqx.games.clean_up_lite import CleanUpLite
from coala_eqx.games.coin_game import CoinGame
from coala_eqx.games.environments import FromEnvironment

GAMES = 1024
"""Number of games that are played in parallel."""

_NEVER = 10**6
"""Number of steps that is never reached."""

_OURS: dict[str, Callable[[], AbstractGame]] = {
    "CleanUpLite": CleanUpLite,
    "CoinGame": CoinGame,
    "CoinGame by JaxMARL's rules": partial(CoinGame, coins="both", stay=True, new_coins="any"),
}


def print_games(console: Console) -> None:
    """Measure the games and print a table. This takes less than a minute."""
    console.print(
        f"I. Steps of games on grids per second, float32, {GAMES} at a time, random actions, with observations",
        soft_wrap=True,
    )
    table = Table("game", "steps per second", "over JaxMARL's coin game", box=box.SIMPLE_HEAD)
    theirs = _jaxmarl()
    reference = random_pace(theirs, GAMES) if theirs else None
    for name, make in _OURS.items():
        pace = random_pace(make(), GAMES)
        table.add_row(name, f"{pace:.2g}", f"{pace / reference:.1f}" if reference else "")
    if reference:
        table.add_row("JaxMARL's coin game", f"{reference:.2g}", "1.0")
    console.print(table)
    if not theirs:
        hint = f"(To compare with JaxMARL's coin game, install it: {how_to_get('gymnax jaxmarl', 'environments')}.)"
        console.print(hint, markup=False, soft_wrap=True)


def random_pace(game: AbstractGame, games: int, *, length: int = 100) -> float:
    """Steps per second of `games` games in parallel. All players draw actions uniformly.

    Observations are computed and summed at every step.
    """
    numbers = jnp.asarray(game.num_actions)

    def step(states: Any, key: Array) -> tuple[Any, Array]:
        key_actions, key_step = jax.random.split(key)
        uniform = jax.random.uniform(key_actions, (games, game.num_players))
        actions = (uniform * numbers).astype(int)
        states, observations, rewards = jax.vmap(game.step)(states, actions, jax.random.split(key_step, games))
        return states, rewards.sum() + observations.sum()

    @jax.jit
    def play(key: Array) -> Array:
        key_reset, key_steps = jax.random.split(key)
        states, _ = jax.vmap(game.reset)(jax.random.split(key_reset, games))
        return jax.lax.scan(step, states, jax.random.split(key_steps, length))[1].sum()

    key = jax.random.key(0)
    return games * length / shortest_seconds(lambda: play(key), repeats=30)


def _jaxmarl() -> AbstractGame | None:
    """JaxMARL's coin game, or `None` if it is not installed. At each step it draws a new start, whether it needs one or
    not.
    """
    try:
        jaxmarl = importlib.import_module("jaxmarl")
    except ImportError:
        return None
    return FromEnvironment(jaxmarl.make("coin_game", num_inner_steps=_NEVER))
