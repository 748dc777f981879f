"""Standard streams that never cost a result: text they cannot show is spelled in ASCII, and a failure is remembered."""

import errno
import io
import os
import time
import unicodedata
from typing import Any

_SPELLED = {
    "−": "-", "–": "-", "—": "-", "─": "-", "━": "-", "╸": "-", "╺": "-", "│": "|", "‖": "||", "×": "x", "·": "*",
    "…": "...", "→": "->", "≥": ">=", "≤": "<=", "≠": "!=", "≈": "~", "±": "+-", "√": "sqrt ", "∞": "inf", "∇": "grad ",
    "Σ": "sum ", "π": "pi", "λ": "lambda", "µ": "u", "²": "^2", "‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ",
}  # fmt: skip
"""How characters of this package are spelled in ASCII."""

EVERY = 10.0
"""Seconds between lines on what is done, where there is no terminal."""


class ReaderGoneError(Exception):
    """Nobody reads standard output any more; no `OSError`, which libraries that print would take for their own."""


class Terminal(io.TextIOBase):
    """A text stream that takes everything: what cannot be written is dropped, and the first failure kept.

    **Arguments:**

    - `stream`: the stream behind it; `None` if it is closed, as `sys.stdout` is then.
    """

    def __init__(self, stream: Any):
        self.stream = stream
        self.failure: Exception | None = None
        if stream is None:
            self.failure = OSError(errno.EBADF, os.strerror(errno.EBADF))
        self.stops = False
        """Whether a reader that went away ends the program, by a `ReaderGoneError`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @property
    def encoding(self) -> str:
        return getattr(self.stream, "encoding", None) or "utf-8"

    @property
    def broken(self) -> bool:
        """Whether nobody reads it any more."""
        return isinstance(self.failure, BrokenPipeError)

    def write(self, text: str, /) -> int:
        if self.stream is not None and self.failure is None:
            try:
                self.stream.write(spell(text, self.encoding))
            except (OSError, ValueError) as error:
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        if self.stream is not None and self.failure is None:
            try:
                self.stream.flush()
            except (OSError, ValueError) as error:
                self._fail(error)

    def close(self) -> None:
        """Nothing: whoever is given it does not own the stream."""

    def isatty(self) -> bool:
        return self.stream is not None and self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno() if self.stream is not None else -1

    def writable(self) -> bool:
        return True

    def _fail(self, error: Exception) -> None:
        self.failure = error
        if self.stops and self.broken:
            raise ReaderGoneError from error


class Countdown:
    """Says how far an enumeration is: on a terminal in one line that changes, else in a line now and then."""

    def __init__(self, stream: Any):
        self._stream = stream
        self._changes = stream.isatty()
        self._shown = False
        self._next = time.monotonic() + (0.1 if self._changes else EVERY)

    def say(self, line: str) -> None:
        """A line that stays."""
        self.clear()
        print(line, file=self._stream, flush=True)

    def show(self, words: str) -> None:
        """What is done, unless it was shown a moment ago."""
        now = time.monotonic()
        if now < self._next:
            return
        if self._changes:
            print(f"\r\x1b[K  {words}", end="", file=self._stream, flush=True)
            self._shown = True
        else:
            print(f"  {words}", file=self._stream, flush=True)
        self._next = now + (0.1 if self._changes else EVERY)

    def clear(self) -> None:
        """Make room for lines on the same terminal."""
        if self._shown:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
            self._shown = False


def spell(text: str, encoding: str) -> str:
    """The text, with every character that the encoding lacks spelled in ASCII."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_spell_character(character, encoding) for character in text)
    except LookupError:  # an encoding that nobody knows
        return spell(text, "ascii")
    return text


def _spell_character(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        letter = unicodedata.normalize("NFD", character)[0]
        if unicodedata.combining(character):
            return ""  # an accent of the letter before it
        spelled = _SPELLED.get(character, letter if letter.isascii() else "")
        return spelled or character.encode("ascii", "backslashreplace").decode("ascii")
    return character
