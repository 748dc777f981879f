"""What trained agents do: meta-episodes that were kept are shown as animations, film strips, and curves of measures."""

import dataclasses
import importlib.util
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from coala_eqx.games import AbstractDrawnGame, CleanUpLite, CoinGame

GAMES: dict[str, type[Any]] = {"CleanUpLite": CleanUpLite, "CoinGame": CoinGame}
"""Games that can be shown."""

PATTERN = "meta-episode-*.npz"
"""Names of files of recordings in a folder."""

_CELL, _MARGIN, _HEADER = 40, 8, 34
_FRAMES_OF_A_STRIP = 8
_BROKEN = (AttributeError, EOFError, KeyError, OSError, TypeError, ValueError)
"""What reading a file can end with that is of another kind, or damaged."""
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


@dataclasses.dataclass(frozen=True)
class Recording:
    """One trajectory of a meta-episode of two players."""

    game: AbstractDrawnGame
    observations: np.ndarray
    """`[episodes, steps, features]`, what player 0 saw before each step, 0 or 1."""

    actions: np.ndarray
    """`[episodes, steps, players]`, whole numbers."""

    rewards: np.ndarray
    """`[episodes, steps, players]`, finite."""

    def save(self, file: Path) -> None:
        """Write it, the same bytes each time."""
        fields = {field.name: getattr(self.game, field.name) for field in dataclasses.fields(self.game)}
        about = json.dumps({"game": type(self.game).__name__, "arguments": fields}, default=lambda value: value.item())
        with file.open("wb") as stream:
            np.savez_compressed(
                stream,
                about=np.array(about),
                observations=self.observations,
                actions=self.actions,
                rewards=self.rewards,
            )

    def check(self) -> None:
        """**Raises** `ValueError` unless it is a meta-episode of its game: by its axes, and what its arrays hold."""
        episodes, steps, *_ = (*self.observations.shape, 0, 0)
        features, actions = self.game.num_observations[0], self.game.num_actions[0]
        expected = ((episodes, steps, features), (episodes, steps, 2), (episodes, steps, 2))
        found = tuple(part.shape for part in (self.observations, self.actions, self.rewards))
        if found != expected or 0 in expected[0]:
            raise ValueError(f"observations, actions and rewards have the shapes {found}, but should have {expected}")
        if not np.isin(self.observations, (0, 1)).all():
            raise ValueError("observations must be 0 or 1")
        if self.rewards.dtype.kind not in "iuf" or not np.isfinite(self.rewards).all():
            raise ValueError("rewards must be finite numbers")
        if self.actions.dtype.kind not in "iu":
            raise ValueError(f"actions must be whole numbers, but are of the type {self.actions.dtype}")
        if not np.isin(self.actions, np.arange(actions)).all():
            found = f"from {self.actions.min()} to {self.actions.max()}"
            raise ValueError(f"actions must be whole numbers from 0 to {actions - 1}, but go {found}")

    @classmethod
    def load(cls, file: Path) -> "Recording":
        """Read one.

        **Raises** `ValueError` if the file holds none.
        """
        try:
            with file.open("rb") as stream, np.load(stream) as held:
                about = json.loads(str(held["about"]))
                arguments = {name: tuple(v) if isinstance(v, list) else v for name, v in about["arguments"].items()}
                game = GAMES[about["game"]](**arguments)
                recording = cls(game, held["observations"], held["actions"], held["rewards"])
            recording.check()
            return recording
        except (*_BROKEN, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{file} holds no meta-episode that can be shown: {error}") from error


def show(folder: Path, out: Path | None = None) -> list[Path]:
    """Draw all recordings of a run's folder: for each an animation and a film strip of the first, the middle and the
    last inner episode, and the measures of all.

    A frame has what is there before a step, who zaps in it, and rewards up to its end. Strips and measures say whose
    it is: the part of the run (the estimator), and whom it meets.

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
    if importlib.util.find_spec("matplotlib") is None:  # which brings Pillow
        raise ImportError("Showing needs matplotlib: pip install 'coala_eqx[figures]'.")
    written = []
    for file in recordings:
        recording, stem = Recording.load(file), (out or folder) / file.stem
        title = file.stem.removeprefix(PATTERN.removesuffix("*.npz"))
        stem.parent.mkdir(parents=True, exist_ok=True)
        shown = _telling(len(recording.rewards))
        frames = [frame for episode in shown for frame in _frames(recording, episode)]
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
    legend: tuple[tuple[str, str], ...]
    """(colour, what it stands for)."""


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
        return _Scene(game.rows, game.columns, ground, apples + dirt, players, in_reach, _CLEAN_UP)
    assert isinstance(game, CoinGame)
    seen = jax.tree.map(np.asarray, game.seen(jnp.asarray(observation, bool)))
    there = [(int(cell), "square", colour) for cell, colour in zip(seen.coins, _PLAYERS, strict=True)]
    coins = [thing for thing in there if thing[0] < game.num_cells]
    players = [(int(cell), False, False) for cell in seen.cells]
    return _Scene(game.size, game.size, {}, coins, players, False, _COINS)


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
            pen.ellipse((x + 3, y + 3, x + 15, y + 15), fill=colour)
        else:
            pen.rectangle((x + 3, y + 3, x + 17, y + 17), fill=colour)
    places = []
    for player, (cell, frozen, _) in enumerate(scene.players):
        x, y = corner(cell)
        left, top = x + 4 + 14 * player, y + 18
        places.append((left + 9, top + 9))
        fill = _FROZEN if frozen else _PLAYERS[player]
        pen.ellipse((left, top, left + 18, top + 18), fill=fill, outline=_PLAYERS[player], width=3)
    for player, (_, _, zapping) in enumerate(scene.players):
        if zapping:
            (x, y), (to_x, to_y) = places[player], places[1 - player]
            if scene.in_reach:
                pen.line((x, y, to_x, to_y), fill=_ZAP, width=3)
            pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=_ZAP)
    return image


def _strip(recording: Recording, episodes: Sequence[int], title: str) -> Any:
    """A row for each inner episode: steps at equal distances; below, whose it is, and what the colours stand for."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415

    rows = []
    for episode in episodes:
        frames = list(_frames(recording, episode))
        chosen = np.linspace(0, len(frames) - 1, min(_FRAMES_OF_A_STRIP, len(frames))).round().astype(int)
        rows.append([frames[index] for index in chosen])
    width, height = rows[0][0].size
    image = Image.new("RGB", (width * len(rows[0]), height * len(rows) + 24), "white")
    for y, row in enumerate(rows):
        for x, frame in enumerate(row):
            image.paste(frame, (x * width, y * height))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=12)
    pen.text((_MARGIN, height * len(rows) + 4), title, _TEXT, font=font)
    x = _MARGIN + 24 + int(pen.textlength(title, font=font))
    for colour, what in _scene(recording.game, recording.observations[0, 0], recording.actions[0, 0]).legend:
        pen.rectangle((x, height * len(rows) + 5, x + 12, height * len(rows) + 17), fill=colour)
        pen.text((x + 18, height * len(rows) + 4), what, _TEXT, font=font)
        x += 40 + int(pen.textlength(what, font=font))
    return image


def _draw_measures(recording: Recording, picture: Path, title: str) -> None:
    """Rewards of both players and what the game measures, by inner episode."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    measured = jax.vmap(recording.game.measures)(
        jnp.asarray(recording.observations, bool), jnp.asarray(recording.actions, int)
    )
    columns = {
        (f"reward per step, {who}", color): recording.rewards[..., me].mean(axis=1)
        for me, (who, color) in enumerate(zip(_WHO, _PLAYERS, strict=True))
    }
    in_pairs = sorted(measured, key=lambda name: (name.removeprefix("other_"), name.startswith("other_")))
    columns |= {_label(name, measured): np.asarray(measured[name]) for name in in_pairs}
    figure = Figure(figsize=(8, 0.2 + 1.6 * -(-len(columns) // 3)), layout="constrained")
    figure.suptitle(title, fontsize=9)
    panels = figure.subplots(-(-len(columns) // 3), 3, squeeze=False).ravel()
    for panel, ((label, color), values) in zip(panels, columns.items(), strict=False):
        panel.plot(np.arange(1, len(values) + 1), values, color=color)
        panel.set_title(label, fontsize=8)
        panel.tick_params(labelsize=7)
        panel.set_xlabel("inner episode", fontsize=7)
        panel.xaxis.get_major_locator().set_params(integer=True)
    for panel in panels[len(columns) :]:
        panel.remove()
    figure.savefig(picture, dpi=150)


def _label(name: str, measured: dict[str, Any]) -> tuple[str, str]:
    """What a measure is called, and its colour: the agent's, the co-player's (`other_…`), or that of neither."""
    words = name.removeprefix("other_").replace("_", " ")
    if name.startswith("other_"):
        return f"{words}, {_WHO[1]}", _PLAYERS[1]
    return (f"{words}, {_WHO[0]}", _PLAYERS[0]) if f"other_{name}" in measured else (words, _TEXT)
