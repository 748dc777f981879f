"""What trained agents do: meta-episodes that were kept are shown as animations, film strips, and curves of measures."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from coala_eqx.extras import require_matplotlib
from coala_eqx.games import AbstractDrawnGame, CleanUpLite, CoinGame
from coala_eqx.runs.recordings import Recording

PATTERN = "meta-episode-*.npz"
"""Names of files of recordings in a folder."""

_CELL, _MARGIN, _HEADER, _LINE = 60, 8, 34, 18
_FRAMES_OF_A_STRIP = 8
_AGAINST = {"naive": "against a naive learner", "meta": "against another agent"}
"""By the last part of a recording's name."""
_GROUND, _ORCHARD, _RIVER = "#F3F0E8", "#DCEBD3", "#D3E4F0"
_DIRT, _APPLE, _ZAP, _TEXT = "#7A5B36", "#C62828", "#F5B700", "#202020"
_PLAYERS = ("#0072B2", "#D55E00")
_WHO = ("agent", "co-player")
_FROZEN = "#9A9A9A"
_CLEAN_UP = (
    (_ORCHARD, "orchard"),
    (_APPLE, "apple"),
    (_RIVER, "river"),
    (_DIRT, "dirt"),
    (_ZAP, "zaps (line: in reach)"),
    (_FROZEN, "frozen"),
)
_COINS = ((_PLAYERS[0], "agent (disc), its coin (square)"), (_PLAYERS[1], "co-player, its coin"))


def show(folder: Path, out: Path | None = None) -> list[Path]:
    """Draw all recordings of a run's folder: for each an animation and a film strip of the first, the middle and the
    last inner episode of one trajectory, and the measures of all inner episodes, means over many trajectories if the
    recording has them.

    A frame has what is there before a step, who zaps in it, and rewards up to its end. All say whose it is: the part of
    the run (the estimator), and whom it meets.

    **Returns** the files, in `out`, or else in the folder itself.

    **Raises** `ValueError` if there are none, `ImportError` without matplotlib.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: name the one of a run.")
    recordings = sorted(folder.glob(PATTERN))
    if not recordings:
        raise ValueError(
            f"{folder} holds no meta-episodes. Runs on grids, such as fig6, fig7 and coin-game, keep some, whose games "
            "can be seen."
        )
    require_matplotlib("Showing")  # which brings Pillow
    written = []
    for file in recordings:
        recording, stem = Recording.load(file), (out or folder) / file.stem
        part, _, against = file.stem.removeprefix(PATTERN.removesuffix("*.npz")).rpartition("-")
        title = f"{part} {_AGAINST.get(against, against)}".strip()
        stem.parent.mkdir(parents=True, exist_ok=True)
        shown = _telling(len(recording.rewards))
        frames = [_captioned(frame, recording, title) for episode in shown for frame in _frames(recording, episode)]
        frames[0].save(stem.with_suffix(".gif"), save_all=True, append_images=frames[1:], duration=250, loop=0)
        _strip(recording, shown, title).save(stem.with_suffix(".png"))
        _draw_measures(recording, stem.with_name(f"{stem.name}-measures.png"), title)
        written += [stem.with_suffix(".gif"), stem.with_suffix(".png"), stem.with_name(f"{stem.name}-measures.png")]
    return written


def _telling(episodes: int) -> list[int]:
    """The first inner episode, one in the middle, and the last."""
    return sorted({0, episodes // 2, episodes - 1})


@dataclasses.dataclass(frozen=True)
class _Scene:
    """What is drawn of one step."""

    rows: int
    columns: int
    ground: dict[int, str]
    """Colours of columns."""
    things: list[tuple[int, str, str]]
    """(cell, `disc` or `square`, colour)."""
    players: list[tuple[int, bool, bool]]
    """(cell, frozen, zapping)."""
    in_reach: bool
    """Whether zaps reach the other one."""


def _scene(game: AbstractDrawnGame, observation: np.ndarray, actions: np.ndarray) -> _Scene:
    if isinstance(game, CleanUpLite):
        state = jax.tree.map(np.asarray, game.seen(jnp.asarray(observation, bool)))
        apples = [(row * game.columns, "disc", _APPLE) for row in np.flatnonzero(state.apples).tolist()]
        dirt = [((row + 1) * game.columns - 1, "square", _DIRT) for row in np.flatnonzero(state.dirt).tolist()]
        players = [
            (int(cell), bool(frozen), game.actions[action] == "zap" and not frozen)
            for cell, frozen, action in zip(state.cells, state.frozen, actions, strict=True)
        ]
        ground = {0: _ORCHARD, game.columns - 1: _RIVER}
        in_reach = bool(game.in_reach[state.cells[0], state.cells[1]])
        return _Scene(game.rows, game.columns, ground, apples + dirt, players, in_reach)
    assert isinstance(game, CoinGame)
    seen = jax.tree.map(np.asarray, game.seen(jnp.asarray(observation, bool)))
    there = [(int(cell), "square", colour) for cell, colour in zip(seen.coins, _PLAYERS, strict=True)]
    coins = [thing for thing in there if thing[0] < game.num_cells]
    players = [(int(cell), False, False) for cell in seen.cells]
    return _Scene(game.size, game.size, {}, coins, players, False)


def _frames(recording: Recording, episode: int) -> Iterator[Any]:
    earned = recording.rewards[episode].cumsum(axis=0)
    for step, actions in enumerate(recording.actions[episode]):
        scene = _scene(recording.game, recording.observations[episode, step], actions)
        yield _paint(scene, f"inner episode {episode + 1}, step {step + 1}", earned[step])


def _paint(scene: _Scene, title: str, earned: np.ndarray) -> Any:
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 (of an optional dependency)

    width = max(scene.columns * _CELL, 190) + 2 * _MARGIN
    image = Image.new("RGB", (width, scene.rows * _CELL + _HEADER + _MARGIN), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=12)
    pen.text((_MARGIN, 2), title, _TEXT, font=font)
    for player, (who, color) in enumerate(zip(_WHO, _PLAYERS, strict=True)):
        pen.text((_MARGIN + 80 * player, 17), f"{who} {earned[player]:g}", color, font=font)

    def corner(cell: int) -> tuple[int, int]:
        row, column = divmod(cell, scene.columns)
        return _MARGIN + column * _CELL, _HEADER + row * _CELL

    for cell in range(scene.rows * scene.columns):
        x, y = corner(cell)
        colour = scene.ground.get(cell % scene.columns, _GROUND)
        pen.rectangle((x, y, x + _CELL, y + _CELL), fill=colour, outline="white")
    for cell, shape, colour in scene.things:
        x, y = corner(cell)
        if shape == "disc":
            pen.ellipse((x + 5, y + 5, x + 23, y + 23), fill=colour)
        else:
            pen.rectangle((x + 5, y + 5, x + 25, y + 25), fill=colour)
    places = []
    for player, (cell, frozen, _) in enumerate(scene.players):
        x, y = corner(cell)
        left, top = x + 6 + 21 * player, y + 28
        places.append((left + 13, top + 13))
        fill = _FROZEN if frozen else _PLAYERS[player]
        pen.ellipse((left, top, left + 26, top + 26), fill=fill, outline=_PLAYERS[player], width=4)
    for player, (_, _, zapping) in enumerate(scene.players):
        if zapping:
            (x, y), (to_x, to_y) = places[player], places[1 - player]
            if scene.in_reach:
                pen.line((x, y, to_x, to_y), fill=_ZAP, width=4)
            pen.ellipse((x - 7, y - 7, x + 7, y + 7), fill=_ZAP)
    return image


def _strip(recording: Recording, episodes: Sequence[int], title: str) -> Any:
    """A row for each inner episode: steps at equal distances."""
    from PIL import Image  # noqa: PLC0415

    rows = []
    for episode in episodes:
        frames = list(_frames(recording, episode))
        chosen = np.linspace(0, len(frames) - 1, min(_FRAMES_OF_A_STRIP, len(frames))).round().astype(int)
        rows.append([frames[index] for index in chosen])
    width, height = rows[0][0].size
    image = Image.new("RGB", (width * len(rows[0]), height * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, frame in enumerate(row):
            image.paste(frame, (x * width, y * height))
    return _captioned(image, recording, title)


def _captioned(image: Any, recording: Recording, title: str) -> Any:
    """With whose it is above, and what the colours stand for below, in as many lines as it takes."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415

    font = ImageFont.load_default(size=12)
    entries = _CLEAN_UP if isinstance(recording.game, CleanUpLite) else _COINS
    width = max(image.width, 2 * _MARGIN + int(font.getlength(title)) + 1)
    places, x, y = [], _MARGIN, _LINE + image.height
    for _, what in entries:
        wide = 18 + int(font.getlength(what))
        if x > _MARGIN and x + wide > width - _MARGIN:
            x, y = _MARGIN, y + _LINE
        places.append((x, y))
        x += wide + 16
    page = Image.new("RGB", (width, y + _LINE + 4), "white")
    page.paste(image, (0, _LINE))
    pen = ImageDraw.Draw(page)
    pen.text((_MARGIN, 3), title, _TEXT, font=font)
    for (x, y), (colour, what) in zip(places, entries, strict=True):
        pen.rectangle((x, y + 2, x + 12, y + 14), fill=colour)
        pen.text((x + 18, y + 1), what, _TEXT, font=font)
    return page


def _draw_measures(recording: Recording, picture: Path, title: str) -> None:
    """By inner episode; the trajectory that is shown is faint beside means over many."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    measured = recording.measured()
    rewards = ("reward", "other_reward")
    by_game = sorted(
        measured.keys() - rewards, key=lambda name: (name.removeprefix("other_"), name.startswith("other_"))
    )
    names = [*rewards, *by_game]
    rows = -(-len(names) // 3)
    figure = Figure(figsize=(8, 0.4 + 1.6 * rows), layout="constrained")
    of = f"means over {recording.averaged} trajectories (pale: the one that is animated)"
    figure.suptitle(f"{title}: {of if recording.means else 'one trajectory'}", fontsize=9)
    panels = figure.subplots(rows, 3, squeeze=False).ravel()
    for panel, name in zip(panels, names, strict=False):
        label, color = _label(name, measured)
        episodes = np.arange(1, len(measured[name]) + 1)
        panel.plot(episodes, measured[name], color=color, alpha=0.25 if recording.means else 1, linewidth=1)
        if recording.means:
            panel.plot(episodes, recording.means[name], color=color)
        panel.set_title(label, fontsize=8)
        panel.tick_params(labelsize=7)
        panel.set_xlabel("inner episode", fontsize=7)
        panel.xaxis.get_major_locator().set_params(integer=True)
    for panel in panels[len(names) :]:
        panel.remove()
    figure.savefig(picture, dpi=150)


def _label(name: str, measured: dict[str, Any]) -> tuple[str, str]:
    """What a measure is called, and its colour: the agent's, the co-player's (`other_…`), or that of neither."""
    words = name.removeprefix("other_").replace("_", " ").replace("reward", "reward per step")
    if name.startswith("other_"):
        return f"{words}, {_WHO[1]}", _PLAYERS[1]
    return (f"{words}, {_WHO[0]}", _PLAYERS[0]) if f"other_{name}" in measured else (words, _TEXT)
