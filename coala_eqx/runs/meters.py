"""Meters: they show the progress of a run."""

import abc
from types import TracebackType


class AbstractMeter(abc.ABC):
    """Shows the progress of a run; a context in which the work is done."""

    @abc.abstractmethod
    def begin(self, part: str) -> None:
        """Begin another part of the work."""

    @abc.abstractmethod
    def advance(self, done: int, note: str) -> None:
        """Take in that so much more is done, and a note of what is worth showing."""

    def __enter__(self) -> "AbstractMeter":
        return self

    def __exit__(  # noqa: B027 (nothing need be done)
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Silent(AbstractMeter):
    """Shows nothing."""

    def begin(self, part: str) -> None:
        pass

    def advance(self, done: int, note: str) -> None:
        pass
