"""Recordings of trained agents as animations and film strips, or in words, with curves of measures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coala_eqx.extras import require_matplotlib
from coala_eqx.games.rendering import PLAYERS, Scene, render
from coala_eqx.runs.recordings import Cast, Recording

PATTERN = "meta-episode-*.npz"
"""Names of the files of recordings."""

_CELL, _MARGIN, _HEADER, _LINE = 60, 8, 34, 18
_DISC, _APART = 26, 21
_FRAMES_OF_A_STRIP = 8
_AGAINST = {"naive": "against a naive learner", "meta": "against another agent"}
"""Titles by the kind of the meeting."""
_SEVERAL = {"naive": "against naive learners", "meta": "against other agents"}
_GROUND, _GREY, _TEXT = "#F3F0E8", "#9A9A9A", "#202020"
_WHO = ("agent", "co-player")


def show(folder: Path, out: Path | None = None) -> list[Path]:
    """Draw all recordings of a run's folder.

    A recording is drawn as its game draws itself: as an animation and a film strip, or in words, of the first, the
    middle and the last inner episode of one trajectory. A frame has what is there before a step, what is done in it,
    and rewards up to its end. Curves of the measures of all inner episodes come with it: means over many trajectories,
    if the recording has them. Titles say who plays.

    **Returns** the files, in `out`, or else in the folder itself.

    **Raises** `ValueError` if there are none, `ImportError` without matplotlib.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: name the one of a run.")
    recordings = sorted(folder.glob(PATTERN))
    if not recordings:
        raise ValueError(
            f"{folder} holds no meta-episodes. Runs of games that are no tables, such as fig6, fig7 and coin-game, "
            "keep some when they end."
        )
    require_matplotlib("Showing")  # which brings Pillow
    written = []
    for file in recordings:
        recording, stem = Recording.load(file), (out or folder) / file.stem
        stem.parent.mkdir(parents=True, exist_ok=True)
        title, measures = _title(recording.cast, file), stem.with_name(f"{stem.name}-measures.png")
        written += _show_steps(recording, stem, title)
        _draw_measures(recording, measures, title)
        written.append(measures)
    return written


def _title(cast: Cast, file: Path) -> str:
    """Who plays; of a recording of a former version what the file's name says."""
    part, _, against = file.stem.removeprefix(PATTERN.removesuffix("*.npz")).rpartition("-")
    if not cast.part:
        return f"{part} {_AGAINST.get(against, against)}".strip()
    who = cast.part if cast.estimator in {"", cast.part} else f"{cast.part}: {cast.estimator}"
    words = _AGAINST if len(cast.players) == 2 else _SEVERAL
    return f"{who} {words.get(cast.against, cast.against)}".strip()


def _show_steps(recording: Recording, stem: Path, title: str) -> list[Path]:
    """The files, by what the game makes of its steps."""
    shown = _telling(len(recording.rewards))
    drawn = {episode: _drawn(recording, episode) for episode in shown}
    first = drawn[0][0]
    if not isinstance(first, Scene):
        file = stem.with_suffix(".txt")
        file.write_text(_in_words(recording, drawn, title), encoding="utf-8")
        return [file]
    legend = first.legend
    strips = [_frames(recording, episode, scenes) for episode, scenes in drawn.items()]
    frames = [_captioned(frame, legend, title) for strip in strips for frame in strip]
    animation, strip = stem.with_suffix(".gif"), stem.with_suffix(".png")
    frames[0].save(animation, save_all=True, append_images=frames[1:], duration=250, loop=0)
    _captioned(_strip(strips), legend, title).save(strip)
    return [animation, strip]


def _telling(episodes: int) -> list[int]:
    """The first inner episode, one in the middle, and the last."""
    return sorted({0, episodes // 2, episodes - 1})


def _in_words(recording: Recording, drawn: dict[int, list[Any]], title: str) -> str:
    """All steps of some inner episodes."""
    cast = recording.cast
    who = [f"agent: player {cast.players[0]}, {cast.estimator}"] if cast.estimator else []
    met = zip(cast.co_players, cast.players[1:], strict=False)
    who += [f"co-player: player {player}, {name}" for name, player in met]
    parts = ["\n".join(filter(None, [title, *who, recording.note]))]
    for episode, steps in drawn.items():
        earned = recording.rewards[episode].cumsum(axis=0)
        for number, text in enumerate(steps):
            so_far = ", ".join(f"{reward:g}" for reward in earned[number])
            parts.append(f"inner episode {episode + 1}, step {number + 1}; rewards so far: {so_far}\n{text}")
    return "\n\n".join(parts) + "\n"


def _drawn(recording: Recording, episode: int) -> list[Any]:
    """The steps of an inner episode, all as scenes or all in words; **raises** `ValueError` for a mixture of them."""
    drawn = [render(recording.game, step) for step in recording.steps(episode)]
    if len({isinstance(one, str) for one in drawn}) > 1 or not all(isinstance(one, Scene | str) for one in drawn):
        name = type(recording.game).__name__
        raise ValueError(f"`render` of {name} must return a Scene for all steps, or text for all.")
    return drawn


def _frames(recording: Recording, episode: int, scenes: Sequence[Scene]) -> list[Any]:
    earned = recording.rewards[episode].cumsum(axis=0)
    return [
        _paint(scene, f"inner episode {episode + 1}, step {number + 1}", earned[number])
        for number, scene in enumerate(scenes)
    ]


def _paint(scene: Scene, title: str, earned: np.ndarray) -> Any:
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 (of an optional dependency)

    width = max(scene.columns * _CELL, 190, 80 * len(earned)) + 2 * _MARGIN
    image = Image.new("RGB", (width, scene.rows * _CELL + _HEADER + _MARGIN), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=12)
    pen.text((_MARGIN, 2), title, _TEXT, font=font)
    for player, reward in enumerate(earned):
        who = _WHO[min(player, 1)]
        pen.text((_MARGIN + 80 * player, 17), f"{who} {reward:g}", _colour(player), font=font)

    def corner(cell: int) -> tuple[int, int]:
        row, column = divmod(cell, scene.columns)
        return _MARGIN + column * _CELL, _HEADER + row * _CELL

    for cell in range(scene.rows * scene.columns):
        x, y = corner(cell)
        colour = scene.ground.get(cell % scene.columns, _GROUND)
        pen.rectangle((x, y, x + _CELL, y + _CELL), fill=colour, outline="white")
    for thing in scene.things:
        x, y = corner(thing.cell)
        if thing.shape == "disc":
            pen.ellipse((x + 5, y + 5, x + 23, y + 23), fill=thing.colour)
        else:
            pen.rectangle((x + 5, y + 5, x + 25, y + 25), fill=thing.colour)
    places = []
    apart = _APART / max(1, len(scene.figures) - 1)
    for player, figure in enumerate(scene.figures):
        x, y = corner(figure.cell)
        left, top = x + 6 + round(apart * player), y + 28
        places.append((left + _DISC // 2, top + _DISC // 2))
        fill = _GREY if figure.grey else _colour(player)
        pen.ellipse((left, top, left + _DISC, top + _DISC), fill=fill, outline=_colour(player), width=4)
    for player, figure in enumerate(scene.figures):
        if figure.mark is not None:
            x, y = places[player]
            if figure.towards is not None:
                pen.line((x, y, *places[figure.towards]), fill=figure.mark, width=4)
            pen.ellipse((x - 7, y - 7, x + 7, y + 7), fill=figure.mark)
    return image


def _colour(player: int) -> str:
    return PLAYERS[player % len(PLAYERS)]


def _strip(strips: Sequence[Sequence[Any]]) -> Any:
    """A row for each inner episode: steps at equal distances."""
    from PIL import Image  # noqa: PLC0415

    rows = []
    for frames in strips:
        chosen = np.linspace(0, len(frames) - 1, min(_FRAMES_OF_A_STRIP, len(frames))).round().astype(int)
        rows.append([frames[index] for index in chosen])
    width, height = rows[0][0].size
    image = Image.new("RGB", (width * len(rows[0]), height * len(rows)), "white")
    for y, row in enumerate(rows):
        for x, frame in enumerate(row):
            image.paste(frame, (x * width, y * height))
    return image


def _captioned(image: Any, legend: Sequence[tuple[str, str]], title: str) -> Any:
    """The image with a title above it, and a legend below it in as many lines as it takes."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415

    font = ImageFont.load_default(size=12)
    width = max(image.width, 2 * _MARGIN + int(font.getlength(title)) + 1)
    places, x, y = [], _MARGIN, _LINE + image.height
    for _, what in legend:
        wide = 18 + int(font.getlength(what))
        if x > _MARGIN and x + wide > width - _MARGIN:
            x, y = _MARGIN, y + _LINE
        places.append((x, y))
        x += wide + 16
    page = Image.new("RGB", (width, y + _LINE + 4), "white")
    page.paste(image, (0, _LINE))
    pen = ImageDraw.Draw(page)
    pen.text((_MARGIN, 3), title, _TEXT, font=font)
    for (x, y), (colour, what) in zip(places, legend, strict=True):
        pen.rectangle((x, y + 2, x + 12, y + 14), fill=colour)
        pen.text((x + 18, y + 1), what, _TEXT, font=font)
    return page


def _draw_measures(recording: Recording, picture: Path, title: str) -> None:
    """Draw the measures by inner episode. The trajectory that is shown is pale beside means over many."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    measured = recording.measured()
    rewards = [name for name in ("reward", "other_reward") if name in measured]
    by_game = sorted(
        measured.keys() - {*rewards}, key=lambda name: (name.removeprefix("other_"), name.startswith("other_"))
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
    """The name of a measure, and its colour: the agent's, the co-player's (`other_…`), or that of neither."""
    words = name.removeprefix("other_").replace("_", " ").replace("reward", "reward per step")
    if name.startswith("other_"):
        return f"{words}, {_WHO[1]}", PLAYERS[1]
    return (f"{words}, {_WHO[0]}", PLAYERS[0]) if f"other_{name}" in measured else (words, _TEXT)
