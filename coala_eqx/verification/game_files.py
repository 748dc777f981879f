"""Games by name, and games from JSON and TOML files."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coala_eqx import games
from coala_eqx.foreign.loading import is_source, load_object
from coala_eqx.games import AbstractEnumerableGame, TabularGame

GAMES: dict[str, Callable[[], AbstractEnumerableGame]] = {
    "prisoners-dilemma": games.iterated_prisoners_dilemma,
    "chicken": games.chicken,
    "stag-hunt": games.stag_hunt,
    "matching-pennies": games.matching_pennies,
    "battle-of-the-sexes": games.battle_of_the_sexes,
    "public-goods": games.public_goods,
    "ultimatum": games.ultimatum,
    "clean-up": games.small_clean_up,
}
"""Constructors of games, keyed by the names that `--payoffs` accepts."""


def load_game(source: str) -> tuple[str, AbstractEnumerableGame]:
    """Load a game by name, from a JSON or TOML file, or from code (`FILE.py:NAME` or `module:NAME`).

    The file holds `payoffs` as for `MatrixGame`, or the tables `initial`, `transition`, `rewards` and `observations` of
    a `TabularGame`. It may also hold a `name`. A JSON file may be the bare array of payoffs.

    **Returns** the name and the game.

    **Raises** `ValueError` if there is no such name or file, or if its content does not make a game.
    """
    if source in GAMES:
        return source, GAMES[source]()
    if is_source(source) and not Path(source).exists():
        game = load_object(source, AbstractEnumerableGame, "game")
        return source.rpartition(":")[2], game
    content = _read(source)
    name = str(content.pop("name", Path(source).stem))
    try:
        if set(content) == {"payoffs"}:
            return name, games.MatrixGame(**content)
        if set(content) == {"initial", "transition", "rewards", "observations"}:
            return name, TabularGame(**content)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    raise ValueError(
        f"{source}: expected `payoffs`, or `initial`, `transition`, `rewards` and `observations` (and optionally "
        f"`name`), but found {', '.join(sorted(content)) or 'nothing'}."
    )


def _read(source: str) -> dict[str, Any]:
    """The content of a JSON or TOML file as a table. A bare JSON array counts as `payoffs`."""
    path = Path(source)
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{source!r} is neither a known game ({', '.join(GAMES)}) nor a file that can be read: {error}."
        ) from error
    if path.suffix.lower() not in (".json", ".toml"):
        raise ValueError(f"{source!r} must be a .json or .toml file, but ends with {path.suffix!r}.")
    try:
        text = _decode(raw)
    except UnicodeDecodeError as error:
        raise ValueError(f"{source!r} is not text; save it as UTF-8: {error}.") from error
    try:
        content = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source!r} cannot be parsed: {error}.") from error
    if isinstance(content, list):
        content = {"payoffs": content}
    if not isinstance(content, dict):
        raise ValueError(f"{source!r} must hold a table or an array of payoffs, but holds {content!r}.")
    return content


def _decode(raw: bytes) -> str:
    """Decode text from any system, and normalise ends of lines.

    The encoding is UTF-8, UTF-16 or UTF-32, with or without a byte-order mark, or else Windows-1252. Padding at the end
    is removed.
    """
    encoding = json.detect_encoding(raw)
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise
        text = raw.decode("cp1252")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.lstrip("\ufeff").rstrip("\0\x1a \t\n") + "\n"
