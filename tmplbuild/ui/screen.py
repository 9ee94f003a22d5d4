"""What all renderers share: one event at a time, and a reader that may go away.

A `Screen` is an `Emit`. Enter it with `with`, hand it to the engine, and leave it before anything
else is printed: a live terminal line is then gone whatever happened.
"""

from __future__ import annotations

import errno
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from tmplbuild.events import Event

_READER_GONE = {errno.EPIPE, errno.EIO, errno.EBADF}


class Screen(ABC):
    """Base of the renderers. Safe to call from several threads."""

    def __init__(self) -> None:
        # Re-entrant: a signal handler or a garbage collection may emit while we write.
        self._lock = threading.RLock()
        self._gone = False

    def __call__(self, event: Event) -> None:
        """Show `event`. That nobody reads any more must not fail a build: the rest is dropped."""
        with self._lock:
            if self._gone:
                return
            try:
                self.show(event)
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno not in _READER_GONE:
                    raise
                if isinstance(error, ValueError) and "closed file" not in str(error):
                    raise
                self._gone = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self.close(interrupted=isinstance(error, KeyboardInterrupt))

    @abstractmethod
    def show(self, event: Event) -> None:
        """Render one event; called with the lock held."""

    def close(self, *, interrupted: bool = False) -> None:  # noqa: B027  # most have nothing to tidy
        """Leave the screen tidy, and say what was interrupted; called with the lock held."""


class Lines:
    """Cuts the chunks of a command's output into lines; a carriage return starts the line anew."""

    LIMIT = 4096  # a line longer than this is shown in pieces

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self.LIMIT:
            whole.append(self._rest)
            self._rest = b""
        return [self._text(line) for line in whole]

    def flush(self) -> list[str]:
        """What is left without a line end."""
        rest, self._rest = self._rest, b""
        return [self._text(rest)] if rest else []

    @staticmethod
    def _text(line: bytes) -> str:
        return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "surrogateescape")
