"""Standard streams that never raise. Text that they cannot show is spelled in ASCII, and a failure is remembered."""

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
"""Characters of this package's texts, spelled in ASCII."""

EVERY = 10.0
"""Seconds between two lines of a countdown where there is no terminal."""


class ReaderGoneError(Exception):
    """Nobody reads standard output any more. It is no `OSError`, which libraries that print might catch."""


class Terminal(io.TextIOBase):
    """A text stream that takes everything. Text that cannot be written is dropped, and the first failure is kept.

    **Arguments:**

    - `stream`: the stream behind it; `None` if it is closed, as `sys.stdout` is in that case.
    """

    def __init__(self, stream: Any):
        self.stream = stream
        self.failure: Exception | None = None
        if stream is None:
            self.failure = OSError(errno.EBADF, os.strerror(errno.EBADF))
        self.stops = False
        """Whether the program ends, by a `ReaderGoneError`, when the reader goes away."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @property
    def encoding(self) -> str:
        return getattr(self.stream, "encoding", None) or "utf-8"

    @property
    def broken(self) -> bool:
        """Whether nobody reads the stream any more."""
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
        """Do nothing: the caller does not own the stream."""

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
    """Shows how far an enumeration is: on a terminal in one line that changes, elsewhere in a line now and then."""

    def __init__(self, stream: Any):
        self._stream = stream
        self._changes = stream.isatty()
        self._shown = False
        self._next = time.monotonic() + (0.1 if self._changes else EVERY)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.clear()
        print(line, file=self._stream, flush=True)

    def show(self, words: str) -> None:
        """Show the progress, unless it was shown a moment ago."""
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
        """Clear the line, for other lines on the same terminal."""
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
