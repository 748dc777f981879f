"""Scenes of the games on grids, from what player 0 sees."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from coala_eqx.games.rendering import PLAYERS, Figure, Scene, Step, Thing

if TYPE_CHECKING:
    from coala_eqx.games.clean_up_lite import CleanUpLite
    from coala_eqx.games.coin_game import CoinGame

ORCHARD, RIVER = "#DCEBD3", "#D3E4F0"
DIRT, APPLE, ZAP, FROZEN = "#7A5B36", "#C62828", "#F5B700", "#9A9A9A"
_CLEAN_UP = (
    (ORCHARD, "orchard"),
    (APPLE, "apple"),
    (RIVER, "river"),
    (DIRT, "dirt"),
    (ZAP, "zaps (line: in reach)"),
    (FROZEN, "frozen"),
)
_COINS = ((PLAYERS[0], "agent (disc), its coin (square)"), (PLAYERS[1], "co-player, its coin"))


def clean_up_scene(game: "CleanUpLite", step: Step) -> Scene:
    """Apples, dirt and players before a step; who zaps in it, and whether that reaches the other one."""
    state = jax.tree.map(np.asarray, game.seen(jnp.asarray(step.observation, bool)))
    apples = [Thing(row * game.columns, "disc", APPLE) for row in np.flatnonzero(state.apples).tolist()]
    dirt = [Thing((row + 1) * game.columns - 1, "square", DIRT) for row in np.flatnonzero(state.dirt).tolist()]
    in_reach = bool(game.in_reach[state.cells[0], state.cells[1]])
    figures = []
    for player, (cell, frozen, action) in enumerate(zip(state.cells, state.frozen, step.actions, strict=True)):
        zaps = game.actions[action] == "zap" and not frozen
        figures.append(
            Figure(int(cell), bool(frozen), ZAP if zaps else None, 1 - player if zaps and in_reach else None)
        )
    ground = {0: ORCHARD, game.columns - 1: RIVER}
    return Scene(game.rows, game.columns, (*apples, *dirt), tuple(figures), ground, _CLEAN_UP)


def coin_scene(game: "CoinGame", step: Step) -> Scene:
    """Players and coins before a step."""
    seen = jax.tree.map(np.asarray, game.seen(jnp.asarray(step.observation, bool)))
    coins = (Thing(int(cell), "square", colour) for cell, colour in zip(seen.coins, PLAYERS, strict=False))
    there = tuple(coin for coin in coins if coin.cell < game.num_cells)
    figures = tuple(Figure(int(cell)) for cell in seen.cells)
    return Scene(game.size, game.size, there, figures, legend=_COINS)
