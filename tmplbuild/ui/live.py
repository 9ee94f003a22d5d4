"""The part of a terminal that moves, and the lines that stay above it. The only module that knows rich."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Literal, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from tmplbuild.ui.style import is_unicode

Line = Sequence[tuple[str, str]]
"""Pieces of one line, each with its style ("" for none)."""

_FRAMES = {True: "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", False: "|/-\\"}
_MARKS = {True: ("✔", "✘", "·"), False: ("+", "x", "-")}  # ran, failed, cached
_FRAMES_A_SECOND = 10


class LivePart:
    """Lines at the bottom of a terminal, drawn anew ten times a second.

    Parameters:
        err: the terminal.
        picture: the lines as they are now; called with the lock held.
        lock: the screen's, so that drawing and printing never meet.
        width: columns; the terminal's own if None.
    """

    def __init__(
        self,
        err: TextIO,
        picture: Callable[[], Sequence[Line]],
        lock: threading.RLock,  # a class by name only: it is a function until Python 3.13
        *,
        colour: bool = True,
        width: int | None = None,
    ) -> None:
        self.unicode = is_unicode(err)
        self.marks = _MARKS[self.unicode]
        self._lock = lock
        self._picture = picture
        self._cut: Literal["ellipsis", "crop"] = "ellipsis" if self.unicode else "crop"
        self._stopped = threading.Event()  # set: nothing draws the live part
        self._stopped.set()
        self._console = Console(
            file=err,
            force_terminal=True,
            no_color=not colour,
            highlight=False,
            markup=False,
            emoji=False,
            width=width,
        )
        self._live = Live(
            get_renderable=self._drawn,
            console=self._console,
            auto_refresh=False,  # rich's own thread may draw while a line is printed, and garble both
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self._console.width

    @property
    def height(self) -> int:
        """Lines of the terminal."""
        return self._console.height

    def frame(self, now: float) -> str:
        """The turning sign at this time (seconds)."""
        frames = _FRAMES[self.unicode]
        return frames[int(now * _FRAMES_A_SECOND) % len(frames)]

    def start(self) -> None:
        """Draw the live part, and go on doing so; every drawing and printing is under the lock."""
        self._live.start()
        self._live.refresh()
        if self._stopped.is_set():
            self._stopped = threading.Event()
            threading.Thread(target=self._draw, args=(self._stopped,), name="screen", daemon=True).start()

    def stop(self) -> None:
        """Take the live part away and show the cursor again."""
        self._stopped.set()
        self._live.stop()

    def say(self, line: Line, *, fold: bool = False) -> None:
        """A line that stays: one line, however narrow the screen is, unless it is to be folded."""
        text = Text.assemble(*line)
        if fold:
            self._console.print(text, overflow="fold")
        else:
            self._console.print(text, no_wrap=True, overflow=self._cut)

    def whole(self, line: Line) -> None:
        """A line that is never cut, so that it can be copied (paths)."""
        self._console.print(Text.assemble(*line), soft_wrap=True)

    def _draw(self, stopped: threading.Event) -> None:
        while not stopped.wait(1 / _FRAMES_A_SECOND):
            with self._lock:
                if not stopped.is_set():
                    self.refresh()

    def refresh(self) -> None:
        """Draw the live part now."""
        try:
            self._live.refresh()
        except OSError:  # the terminal is gone; the next event finds that out
            self._stopped.set()

    def _drawn(self) -> RenderableType:
        return Group(*(self._text(line) for line in self._picture()))

    def _text(self, line: Line) -> Text:
        text = Text.assemble(*line)
        text.no_wrap = True
        text.truncate(max(self._console.width - 1, 1), overflow=self._cut)
        return text
